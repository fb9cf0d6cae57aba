"""Overlaps of two segment maps, and walking over the images of two data sets."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.panoptic import PanopticDataset, PanopticImage, read_panoptic
from point2mask.data.places import path_of
from point2mask.data.records import Category, Segment
from point2mask.data.segments import runs
from point2mask.progress import Progress, ignore

OnBroken = Callable[[DataError], None]  # called for an image that is left out
CHUNK = 16  # images that a worker does at a time


class Addable(Protocol):
    def __add__(self, other: Self, /) -> Self: ...


Sum = TypeVar("Sum", bound=Addable)
ImagePair = tuple[PanopticImage, PanopticImage]
# Truth map and segments, prediction map and segments, categories
ImageFunction = Callable[
    [
        NDArray[np.integer],
        Sequence[Segment],
        NDArray[np.integer],
        Sequence[Segment],
        Mapping[int, Category],
    ],
    Sum,
]


class SegmentPairs(NamedTuple):
    """Which segments meet where: parallel lists, ascending by truth id, then by prediction id."""

    truth: list[int]  # ids, 0 = void
    prediction: list[int]  # ids, 0 = void
    pixels: list[int]  # of the intersection, > 0


def segment_pairs(truth: NDArray[np.integer], prediction: NDArray[np.integer]) -> SegmentPairs:
    """Intersections in pixels of two segment maps ``[H, W]`` of ids in [0, 2^24).

    >>> segment_pairs(np.array([[1, 1, 0]]), np.array([[5, 0, 0]]))
    SegmentPairs(truth=[0, 1, 1], prediction=[0, 0, 5], pixels=[1, 1, 1])
    """
    if truth.shape != prediction.shape:
        raise DataError(
            "expected segment maps of one size, "
            f"got truth {list(truth.shape)} and prediction {list(prediction.shape)}"
        )
    values, lengths = runs((truth.astype(np.int64) << 24) | prediction)
    packed, inverse = np.unique(values, return_inverse=True)
    pixels = np.bincount(inverse, weights=lengths, minlength=len(packed))  # exact below 2^53
    return SegmentPairs(
        (packed >> 24).tolist(),
        (packed & 0xFFFFFF).tolist(),
        pixels.astype(np.int64).tolist(),
    )


def read_truth(path: str | Path, masks_dir: str | Path | None = None) -> PanopticDataset:
    """A data set to score against: a panoptic JSON, or a folder with ``panoptic.json`` in it.

    Args:
        path: of the JSON or the folder.
        masks_dir: the PNGs; by default the folder beside the JSON that has its stem.
    """
    return read_panoptic(_json_of(path), masks_dir)


def read_predictions(
    path: str | Path, truth: PanopticDataset, masks_dir: str | Path | None = None
) -> PanopticDataset:
    """Predictions for a data set: a panoptic JSON, or a folder with ``panoptic.json`` in it.

    The PNGs lie in ``masks_dir``, by default in the folder beside the JSON that has its stem. A
    JSON of annotations alone, as COCO result files are, takes images and categories from the truth.
    """
    return read_panoptic(_json_of(path), masks_dir, layout_of=truth)


def _json_of(path: str | Path) -> Path:
    path = path_of(path)
    return path / "panoptic.json" if path.is_dir() else path


def open_pair(
    truth: PanopticDataset | str | Path, predictions: PanopticDataset | str | Path
) -> tuple[PanopticDataset, PanopticDataset]:
    """Both as data sets, read where paths are given."""
    if not isinstance(truth, PanopticDataset):
        truth = read_truth(truth)
    if not isinstance(predictions, PanopticDataset):
        predictions = read_predictions(predictions, truth)
    return truth, predictions


class ImagePairs(NamedTuple):
    """Every image of the truth with its prediction.

    ``by_name`` counts those that were found by their file names, as their ids differ; ``renamed``
    has those of one id and two file names, ``unused`` the predictions of other images.
    """

    pairs: list[ImagePair]
    by_name: int
    renamed: list[ImagePair]
    unused: list[PanopticImage]


def pair_images(
    truth: PanopticDataset, predictions: PanopticDataset, on_broken: OnBroken | None = None
) -> ImagePairs:
    """Pairs images of the same id and file name, else of the same file name, else of the same id.

    Raises:
        DataError: an image of the truth has no prediction, unless ``on_broken`` takes it.
    """
    by_id = {image.record.id: image for image in predictions.images}
    by_file: dict[str, list[PanopticImage]] = {}
    for image in predictions.images:
        by_file.setdefault(image.record.file_name, []).append(image)
    pairs, by_name, renamed = [], 0, []
    for image in truth.images:
        found, named = by_id.get(image.record.id), by_file.get(image.record.file_name, [])
        if len(named) == 1 and found is not named[0]:
            found, by_name = named[0], by_name + 1
        if found is None:
            error = DataError(
                f"{predictions.masks_dir}: expected a prediction for every image, got none for "
                f"image {image.record.id!r} ({image.record.file_name})"
            )
            if on_broken is None:
                raise error
            on_broken(error)
            continue
        if found.record.file_name != image.record.file_name:
            renamed.append((image, found))
        pairs.append((image, found))
    used = {id(found) for _, found in pairs}
    unused = [image for image in predictions.images if id(image) not in used]
    return ImagePairs(pairs, by_name, renamed, unused)


def sum_over_images(
    function: ImageFunction[Sum],
    zero: Sum,
    truth: PanopticDataset,
    predictions: PanopticDataset,
    workers: int | None = None,
    progress: Progress = ignore,
    on_broken: OnBroken | None = None,
) -> Sum:
    """Sum of ``function`` over every image of the truth with its prediction.

    Sums of chunks of images are added in order: the same bits for any number of workers.
    Predictions of other images are not looked at. Images that cannot be used are left out where
    ``on_broken`` takes the error.
    """
    pairs = pair_images(truth, predictions, on_broken).pairs
    for _, prediction in pairs:
        _check_categories(truth, prediction, predictions.masks_dir)
    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    work = partial(
        _sum_chunk,
        function,
        zero,
        replace(truth, images=[]),
        replace(predictions, images=[]),
        on_broken is not None,
    )
    total, done = zero, 0
    with ExitStack() as stack:
        if workers is None or min(workers, len(chunks)) < 2:
            sums: Iterable[tuple[Sum, list[str]]] = map(work, chunks)
        else:
            # Processes, as decoding PNGs keeps Python's lock; fresh ones, as forking a process
            # with threads (torch's, say) can hang.
            pool = stack.enter_context(
                ProcessPoolExecutor(min(workers, len(chunks)), get_context("spawn"))
            )
            sums = pool.map(work, chunks)
        for chunk, (part, broken) in zip(chunks, sums, strict=True):
            total = total + part
            for reason in broken:
                assert on_broken is not None
                on_broken(DataError(reason))
            done += len(chunk)
            progress(done, len(pairs))
    return total


def _sum_chunk(
    function: ImageFunction[Sum],
    zero: Sum,
    truth: PanopticDataset,
    predictions: PanopticDataset,
    skip_broken: bool,
    chunk: list[ImagePair],
) -> tuple[Sum, list[str]]:
    """The sum over a chunk, and why images are left out of it."""
    total, broken = zero, []
    for true_image, predicted_image in chunk:
        try:
            true_map = truth.segment_map(true_image)
            predicted_map = predictions.segment_map(predicted_image)
            if true_map.shape != predicted_map.shape:
                path = predictions.mask_path(predicted_image)
                (height, width), (found_height, found_width) = true_map.shape, predicted_map.shape
                raise DataError(
                    f"{path}: expected {width} x {height} pixels as in the truth, "
                    f"got {found_width} x {found_height}"
                )
            part = function(
                true_map,
                true_image.segments,
                predicted_map,
                predicted_image.segments,
                truth.categories,
            )
        except DataError as error:
            if not skip_broken:
                raise
            broken.append(str(error))
            continue
        total = total + part
    return total, broken


def _check_categories(truth: PanopticDataset, prediction: PanopticImage, place: object) -> None:
    for segment in prediction.segments:
        if segment.category_id not in truth.categories:
            raise DataError(
                f"{place}: expected categories of the truth, got {segment.category_id} in image "
                f"{prediction.record.id!r}"
            )
