"""Making a folder of results: the pictures of a run or of a part of it, spread over processes."""

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from point2mask.cluster import spread_on_ray
from point2mask.data.errors import BrokenPictureError, DataError
from point2mask.data.files import write_json
from point2mask.data.gathering import Gathered, remove_stale, write_index
from point2mask.data.records import Category, ImageRecord, Segment, image_to_json
from point2mask.data.results import (
    SUMMARY,
    WHOLE,
    Making,
    ResultFolder,
    Shard,
    open_results,
    run_records,
)
from point2mask.progress import Progress, ignore
from point2mask.workers import Stages, spread, spread_around

MOST_TOGETHER = 16  # batches that a worker is handed at once; of short lists fewer
Task = TypeVar("Task")
Picture = TypeVar("Picture")
Result = TypeVar("Result")
Work = Callable[[Sequence[Task]], "list[Outcome]"] | Stages[Sequence[Task], "list[Outcome]"]
# Segment map [H, W], its segments, and the picture tinted by them [H, W, 3] if that is wanted.
MadePicture = tuple[NDArray[np.integer], Sequence[Segment], NDArray[np.uint8] | None]


@dataclass(frozen=True)
class Spreading:
    """Which pictures of a list are done, and by whom.

    Attributes:
        workers: processes, None for one a CPU. The result does not depend on it. With a network,
            which has a process of its own, they read and write.
        shard: the part of the list.
        resume: whether results that are there are gone on with, rather than an error.
        batch: pictures that are handed to a worker at once.
        cluster: address of a Ray cluster that does the work in place of processes of this machine,
            see :func:`point2mask.cluster.spread_on_ray`. It sees the same files at the same paths.
    """

    workers: int | None = 1
    shard: Shard = WHOLE
    resume: bool = False
    batch: int = 1
    cluster: str | None = None


ONE_PROCESS = Spreading()


@dataclass(frozen=True)
class Outcome:
    """What became of one picture."""

    record: ImageRecord
    segments: int = 0
    kept: bool = False  # it was there already
    broken: str = ""  # why it cannot be used
    note: str = ""  # what a person should know of the result


@dataclass
class Made:
    """What a run made."""

    images: int = 0
    segments: int = 0
    kept: int = 0  # images that were there already
    left_out: dict[str, str] = field(default_factory=dict)  # why images are broken, by name
    notes: dict[str, str] = field(default_factory=dict)  # about results, by names of images
    empty: list[str] = field(default_factory=list)  # names of images without a segment


@dataclass(frozen=True)
class Known:
    """A few pictures that go together, and what is there of their results.

    Attributes:
        records: the pictures.
        signatures: of how they would be made.
        there: segments of every picture that is there so, None for those that have to be made.
    """

    records: Sequence[ImageRecord]
    signatures: Sequence[str]
    there: Sequence[int | None]

    @property
    def all_there(self) -> bool:
        """Otherwise all are made, so that they always keep each other company."""
        return None not in self.there


def look_up(
    folder: ResultFolder,
    making: Making,
    records: Sequence[ImageRecord],
    inputs: Sequence[Sequence[object]],
) -> Known:
    """What is there of a few pictures.

    Args:
        folder: of the results.
        making: how they would be made.
        records: the pictures.
        inputs: plain values of each; where one of them is another than before, the result is made
            again.
    """
    pairs = zip(records, inputs, strict=True)
    signatures = [making.signature(image_to_json(record), *values) for record, values in pairs]
    there = [
        folder.has(record, signature, making.overlays)
        for record, signature in zip(records, signatures, strict=True)
    ]
    return Known(records, signatures, there)


def unless_broken(read: Callable[[], Picture]) -> Picture | BrokenPictureError:
    """What is read, or why it cannot be."""
    try:
        return read()
    except DataError as error:
        return BrokenPictureError(str(error))


def of_whole(
    make: Callable[[list[Picture]], Iterable[Result]],
    pictures: Sequence[Picture | BrokenPictureError],
) -> list[Result | BrokenPictureError]:
    """What is made of the pictures that are not broken, if any; the others stay in their places."""
    whole = [picture for picture in pictures if not isinstance(picture, BrokenPictureError)]
    made = iter(make(whole) if whole else ())
    return [
        picture if isinstance(picture, BrokenPictureError) else next(made) for picture in pictures
    ]


def put_pictures(
    folder: ResultFolder,
    categories: Mapping[int, Category],
    known: Known,
    results: Sequence[MadePicture | BrokenPictureError],
) -> list[Outcome]:
    """Writes the results of a few pictures; of none where all are there."""
    if known.all_there:
        pairs = zip(known.records, known.there, strict=True)
        return [Outcome(record, count or 0, kept=True) for record, count in pairs]
    outcomes = []
    table = zip(known.records, known.signatures, known.there, results, strict=True)
    for record, signature, count, made in table:
        if count is not None:
            outcomes.append(Outcome(record, count, kept=True))
        elif isinstance(made, BrokenPictureError):
            outcomes.append(Outcome(record, broken=str(made)))
        else:
            count = folder.put(record, signature, *made, categories=categories)
            outcomes.append(Outcome(record, count))
    return outcomes


def make_results(
    out: Path,
    making: Making,
    categories: Mapping[int, Category],
    records: Sequence[ImageRecord],
    work: Work[Task],
    tasks: Sequence[Task],
    spreading: Spreading = ONE_PROCESS,
    progress: Progress = ignore,
    on_broken: Callable[[BrokenPictureError], None] | None = None,
    gpus: float = 0.0,
) -> Made:
    """Makes the results of a list of pictures, or of a part of it, in a folder.

    Args:
        out: the folder, see :func:`~point2mask.data.results.open_results`.
        making: how the pictures are made.
        categories: by id.
        records: all pictures.
        work: makes a batch, by :func:`look_up` and :func:`put_pictures`: in any process, or, in
            stages, with the middle one in this process.
        tasks: what ``work`` is handed for every picture.
        spreading: which pictures, by whom.
        progress: called after every picture.
        on_broken: called for every picture that cannot be used; None makes the first an error.
        gpus: that ``work`` needs where a cluster does it.

    Raises:
        BrokenPictureError: a picture cannot be used.
        DataError: the folder cannot be used, ``work`` raises it, or no picture of the whole list
            can be used; of a part that is no error.
    """
    start = time.perf_counter()
    made = Made()
    positions = spreading.shard.positions(len(records))
    with open_results(
        out, making, categories, records, spreading.shard, spreading.resume
    ) as folder:
        batches = ([tasks[i] for i in batch] for batch in batched(records, positions, spreading))
        with closing(_spread(work, batches, spreading, len(positions), gpus)) as results:
            for done, outcome in enumerate(chain.from_iterable(results), start=1):
                _count(made, outcome, folder, on_broken)
                progress(done, len(positions))
        if spreading.shard.whole:
            run = run_records(folder)[spreading.shard]
            gathered = write_index(folder, run)
            remove_stale(folder, run, made.left_out)
            write_json(out / SUMMARY, _summary(making, gathered, time.perf_counter() - start))
    return made


def _spread(
    work: Work[Task],
    batches: Iterator[list[Task]],
    spreading: Spreading,
    pictures: int,
    gpus: float,
) -> Generator[list[Outcome], None, None]:
    workers = max(1, min(spreading.workers or os.cpu_count() or 1, pictures))
    shares = 100 * spreading.batch * (workers if spreading.cluster is None else 1)
    together = max(1, min(MOST_TOGETHER, pictures // shares))
    if spreading.cluster is not None:
        return spread_on_ray(work, batches, spreading.cluster, gpus, together)
    if isinstance(work, Stages):
        return spread_around(work, batches, workers)
    return spread(work, batches, workers, together)


def batched(
    records: Sequence[ImageRecord], positions: range, spreading: Spreading
) -> Iterator[list[int]]:
    """Positions of pictures of near sizes, so that little of a batch is padding.

    What is there already plays no part: the batches of a run that is resumed are the same.
    """
    window = 32 * spreading.batch
    for start in range(0, len(positions), window):
        near = sorted(positions[start : start + window], key=lambda i: _shape(records[i]))
        for first in range(0, len(near), spreading.batch):
            yield near[first : first + spreading.batch]


def _shape(record: ImageRecord) -> tuple[float, int]:
    return record.height / record.width, record.height


def _count(
    made: Made,
    outcome: Outcome,
    folder: ResultFolder,
    on_broken: Callable[[BrokenPictureError], None] | None,
) -> None:
    if not outcome.broken:
        made.images += 1
        made.segments += outcome.segments
        made.kept += outcome.kept
        if not outcome.segments:
            made.empty.append(outcome.record.file_name)
        if outcome.note:
            made.notes[outcome.record.file_name] = outcome.note
        return
    error = BrokenPictureError(outcome.broken)
    if on_broken is None:
        raise error
    on_broken(error)
    folder.put_broken(outcome.record, outcome.broken)
    made.left_out[outcome.record.file_name] = outcome.broken


def _summary(making: Making, gathered: Gathered, seconds: float) -> dict[str, object]:
    return {
        "images": gathered.images,
        "left_out": len(gathered.left_out),
        "segments": gathered.segments,
        "things": gathered.things,
        "stuff": gathered.segments - gathered.things,
        "version": making.version,
        **making.settings,
        "seconds": round(seconds, 3),
    }
