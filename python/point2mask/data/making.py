"""Making a folder of results: the pictures of a run or of a part of it, spread over processes."""

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
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
from point2mask.workers import spread

Task = TypeVar("Task")
# Segment map [H, W], its segments, and the picture tinted by them [H, W, 3] if that is wanted.
MadePicture = tuple[NDArray[np.integer], Sequence[Segment], NDArray[np.uint8] | None]


@dataclass(frozen=True)
class Spreading:
    """Which pictures of a list are done, and by whom.

    Attributes:
        workers: processes, None for one a CPU. The result does not depend on it.
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


def make_pictures(
    folder: ResultFolder,
    making: Making,
    categories: Mapping[int, Category],
    records: Sequence[ImageRecord],
    inputs: Sequence[Sequence[object]],
    make: Callable[[], Sequence[MadePicture | BrokenPictureError]],
) -> list[Outcome]:
    """Makes the results of a few pictures that go together, unless all of them are there.

    Args:
        folder: of the results.
        making: how.
        categories: by id.
        records: the pictures.
        inputs: plain values of each; where one of them is another than before, the result is made
            again.
        make: does it, for all the pictures, so that they always keep each other company.
    """
    pairs = zip(records, inputs, strict=True)
    signatures = [making.signature(image_to_json(record), *values) for record, values in pairs]
    there = [
        folder.has(record, signature, making.overlays)
        for record, signature in zip(records, signatures, strict=True)
    ]
    if None not in there:
        return [Outcome(r, n or 0, kept=True) for r, n in zip(records, there, strict=True)]
    outcomes = []
    for record, signature, count, made in zip(records, signatures, there, make(), strict=True):
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
    work: Callable[[Sequence[Task]], list[Outcome]],
    tasks: Sequence[Task],
    spreading: Spreading = ONE_PROCESS,
    progress: Progress = ignore,
    on_broken: Callable[[BrokenPictureError], None] | None = None,
) -> Made:
    """Makes the results of a list of pictures, or of a part of it, in a folder.

    Args:
        out: the folder, see :func:`~point2mask.data.results.open_results`.
        making: how the pictures are made.
        categories: by id.
        records: all pictures.
        work: makes a batch, by :func:`make_pictures`, in any process.
        tasks: what ``work`` is handed for every picture.
        spreading: which pictures, by whom.
        progress: called after every picture.
        on_broken: called for every picture that cannot be used; None makes the first an error.

    Raises:
        BrokenPictureError: a picture cannot be used.
        DataError: the folder cannot be used, ``work`` raises it, or no picture can be used.
    """
    start = time.perf_counter()
    made = Made()
    positions = spreading.shard.positions(len(records))
    with open_results(
        out, making, categories, records, spreading.shard, spreading.resume
    ) as folder:
        batches = ([tasks[i] for i in batch] for batch in batched(records, positions, spreading))
        with closing(_spread(work, batches, spreading, len(positions))) as results:
            for done, outcome in enumerate(chain.from_iterable(results), start=1):
                _count(made, outcome, folder, on_broken)
                progress(done, len(positions))
        if positions and len(made.left_out) == len(positions):
            raise DataError(f"{out}: none of the {len(positions)} pictures can be used")
        if spreading.shard.whole:
            run = run_records(folder)[spreading.shard]
            remove_stale(folder, run, made.left_out)
            gathered = write_index(folder, run)
            write_json(out / SUMMARY, _summary(making, gathered, time.perf_counter() - start))
    return made


def _spread(
    work: Callable[[Sequence[Task]], list[Outcome]],
    batches: Iterator[list[Task]],
    spreading: Spreading,
    pictures: int,
) -> Generator[list[Outcome], None, None]:
    if spreading.cluster is not None:
        return spread_on_ray(work, batches, spreading.cluster)
    return spread(work, batches, min(spreading.workers or os.cpu_count() or 1, pictures))


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
