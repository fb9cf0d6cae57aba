"""Making a folder of results: the pictures of a run or of a part of it, spread over processes."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

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
    """

    workers: int | None = 1
    shard: Shard = WHOLE
    resume: bool = False


ONE_PROCESS = Spreading()


@dataclass(frozen=True)
class Outcome:
    """What became of one picture."""

    record: ImageRecord
    segments: int = 0
    kept: bool = False  # it was there already
    broken: str = ""  # why it cannot be used


@dataclass
class Made:
    """What a run made."""

    images: int = 0
    segments: int = 0
    kept: int = 0  # images that were there already
    left_out: dict[str, str] = field(default_factory=dict)  # why images are broken, by name


def make_picture(
    folder: ResultFolder,
    making: Making,
    categories: Mapping[int, Category],
    record: ImageRecord,
    inputs: Sequence[object],
    make: Callable[[], MadePicture],
) -> Outcome:
    """Makes the result of one picture, unless it is there.

    Args:
        folder: of the results.
        making: how.
        categories: by id.
        record: the picture.
        inputs: plain values; where one of them is another than before, the result is made again.
        make: does it. A :class:`BrokenPictureError` becomes part of the outcome.
    """
    signature = making.signature(image_to_json(record), *inputs)
    segments = folder.has(record, signature, making.overlays)
    if segments is not None:
        return Outcome(record, segments, kept=True)
    try:
        ids, found, overlay = make()
    except BrokenPictureError as error:
        return Outcome(record, broken=str(error))
    return Outcome(record, folder.put(record, signature, ids, found, categories, overlay))


def make_results(
    out: Path,
    making: Making,
    categories: Mapping[int, Category],
    records: Sequence[ImageRecord],
    work: Callable[[Task], Outcome],
    task: Callable[[int], Task],
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
        work: makes one, by :func:`make_picture`, in any process.
        task: what ``work`` is handed for the picture at a position.
        spreading: which pictures, by whom.
        progress: called after every picture.
        on_broken: called for every picture that cannot be used; None makes the first an error.

    Raises:
        BrokenPictureError: a picture cannot be used.
        DataError: the folder cannot be used, ``work`` raises it, or no picture can be used.
    """
    start = time.perf_counter()
    made = Made()
    positions = spreading.shard.of(len(records))
    workers = min(spreading.workers or os.cpu_count() or 1, len(positions))
    with open_results(
        out, making, categories, records, spreading.shard, spreading.resume
    ) as folder:
        outcomes = spread(work, map(task, positions), workers)
        for done, outcome in enumerate(outcomes, start=1):
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
