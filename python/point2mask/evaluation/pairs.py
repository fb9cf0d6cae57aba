"""Overlaps of two segment maps, and walking over the images of two data sets."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from point2mask.data.compact import Positions
from point2mask.data.errors import DataError
from point2mask.data.panoptic import PanopticDataset, PanopticImage, read_panoptic
from point2mask.data.places import is_folder, path_of
from point2mask.data.records import Category, ImageRecord, Segment
from point2mask.data.segments import runs
from point2mask.messages import shown
from point2mask.progress import Progress, ignore
from point2mask.workers import spread

OnBroken = Callable[[DataError], None]  # called for an image that is left out
CHUNK = 16  # images that a worker does at a time


class Addable(Protocol):
    def __add__(self, other: Self, /) -> Self: ...


Sum = TypeVar("Sum", bound=Addable)
Part = TypeVar("Part")
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
    return path / "panoptic.json" if is_folder(path) else path


def open_pair(
    truth: PanopticDataset | str | Path, predictions: PanopticDataset | str | Path
) -> tuple[PanopticDataset, PanopticDataset]:
    """Both as data sets, read where paths are given."""
    if not isinstance(truth, PanopticDataset):
        truth = read_truth(truth)
    if not isinstance(predictions, PanopticDataset):
        predictions = read_predictions(predictions, truth)
    return truth, predictions


@dataclass(frozen=True)
class ImagePairs:
    """Every image of the truth with its prediction, by their numbers in their data sets.

    Attributes:
        truth: the true data set.
        predictions: the predicted one.
        numbers: of a true image and its prediction, in the order of the truth.
        by_name: images that were found by their file names, as their ids differ.
        renamed: indices of pairs of one id and two file names.
        turned: of those whose masks are on the picture in two frames.
        unused: numbers of predictions for other images.
    """

    truth: PanopticDataset
    predictions: PanopticDataset
    numbers: tuple["array[int]", "array[int]"]
    by_name: int
    renamed: Sequence[int]
    turned: Sequence[int]
    unused: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers[0])

    def records(self, index: int) -> tuple[ImageRecord, ImageRecord]:
        """The true image of a pair, and the predicted one."""
        true_number, predicted_number = (numbers[index] for numbers in self.numbers)
        return self.truth.records[true_number], self.predictions.records[predicted_number]

    def images(self, index: int) -> ImagePair:
        """The same with their segments."""
        true_number, predicted_number = (numbers[index] for numbers in self.numbers)
        return self.truth.images[true_number], self.predictions.images[predicted_number]


def pair_images(
    truth: PanopticDataset, predictions: PanopticDataset, on_broken: OnBroken | None = None
) -> ImagePairs:
    """Pairs images of the same id and file name, else of the same file name, else of the same id.

    Raises:
        DataError: an image of the truth has no prediction, unless ``on_broken`` takes it.
    """
    records = predictions.records
    by_id = Positions(len(records), lambda number: records[number].id)
    by_file = Positions(len(records), lambda number: records[number].file_name)
    wanted = Positions(len(truth.records), lambda number: truth.records[number].file_name)
    numbers, used = (array("i"), array("i")), bytearray(len(records))
    by_name, renamed, turned = 0, array("i"), array("i")
    for number, record in enumerate(truth.records):
        # Most lists have one order.
        following = numbers[1][-1] + 1 if numbers[1] else 0
        found = following if following < len(records) else None
        other = None if found is None else records[found]
        if other is None or (other.id, other.file_name) != (record.id, record.file_name):
            named, found = by_file.find(record.file_name), by_id.find(record.id)
            if named is not None and named != found:
                found, by_name = named, by_name + 1
            other = None if found is None else records[found]
            if named is None and other is not None and wanted.find(other.file_name) is not None:
                found = other = None  # it is of another image of the truth
        if found is None or other is None:
            error = DataError(
                f"{predictions.masks_dir}: expected a prediction for every image, got none for "
                f"image {shown(record.id)} ({record.file_name})"
            )
            if on_broken is None:
                raise error
            on_broken(error)
            continue
        if other.file_name != record.file_name:
            renamed.append(len(numbers[0]))
        if other.frame != record.frame:
            turned.append(len(numbers[0]))
        numbers[0].append(number)
        numbers[1].append(found)
        used[found] = 1
    unused = array("i", (number for number, is_used in enumerate(used) if not is_used))
    return ImagePairs(truth, predictions, numbers, by_name, renamed, turned, unused)


def sum_over_images(
    function: ImageFunction[Sum],
    zero: Sum,
    pairs: ImagePairs,
    workers: int | None = None,
    progress: Progress = ignore,
    on_broken: OnBroken | None = None,
) -> Sum:
    """Sum of ``function`` over every image of the truth with its prediction.

    Sums of chunks of images are added in order: the same bits for any number of workers.
    Predictions of other images are not looked at. Images that cannot be used are left out where
    ``on_broken`` takes the error.
    """
    if on_broken is None and not (
        pairs.predictions.categories.keys() <= pairs.truth.categories.keys()
    ):
        for index in range(len(pairs)):  # before any mask is read
            _check_categories(pairs.images(index)[1], pairs.predictions, pairs.truth)
    chunks = [range(len(pairs))[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    tasks = ((number, [*map(pairs.images, chunk)]) for number, chunk in enumerate(chunks))
    work = partial(
        _sum_chunk,
        function,
        zero,
        replace(pairs.truth, images=[]),
        replace(pairs.predictions, images=[]),
        on_broken is not None,
    )
    # Processes, as decoding PNGs keeps Python's lock.
    workers = 1 if workers is None else min(workers, len(chunks))
    total, done = zero, 0
    for chunk, (part, broken) in zip(chunks, _in_order(spread(work, tasks, workers)), strict=True):
        total = total + part
        for reason in broken:
            assert on_broken is not None
            on_broken(DataError(reason))
        done += len(chunk)
        progress(done, len(pairs))
    return total


def _in_order(results: Iterable[tuple[int, Part]]) -> Iterator[Part]:
    """Numbered results without their numbers."""
    waiting: dict[int, Part] = {}
    next_number = 0
    for number, result in results:
        waiting[number] = result
        while next_number in waiting:
            yield waiting.pop(next_number)
            next_number += 1


def _sum_chunk(
    function: ImageFunction[Sum],
    zero: Sum,
    truth: PanopticDataset,
    predictions: PanopticDataset,
    skip_broken: bool,
    task: tuple[int, list[ImagePair]],
) -> tuple[int, tuple[Sum, list[str]]]:
    """The number of a chunk, the sum over it, and why images are left out."""
    number, chunk = task
    total, broken = zero, []
    for true_image, predicted_image in chunk:
        try:
            _check_categories(predicted_image, predictions, truth)
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
    return number, (total, broken)


def _check_categories(
    image: PanopticImage, predictions: PanopticDataset, truth: PanopticDataset
) -> None:
    for segment in image.segments:
        if segment.category_id not in truth.categories:
            raise DataError(
                f"{predictions.masks_dir}: expected categories of the truth, got "
                f"{segment.category_id} in image {shown(image.record.id)}"
            )
