"""What converters of data sets share: pictures, the way to their segments, and writing both."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.files import link_or_copy, resolve_inside
from point2mask.data.panoptic import PanopticDataset, write_panoptic
from point2mask.data.png import read_rgb
from point2mask.data.records import Category, ImageId, ImageRecord, Segment
from point2mask.progress import Progress, counted, ignore

Size = tuple[int, int]  # height and width in pixels
Labelled = tuple[NDArray[np.int32], list[Segment]]


@dataclass(frozen=True)
class Picture:
    """A picture and what tells its segments, given its height and width."""

    id: ImageId
    file_name: str  # relative, in its folder and in the converted set
    folder: Path
    segments: Callable[[Size], Labelled]
    size: Size | None = None  # that it must have; None if its own is right


@dataclass(frozen=True)
class Split:
    images: str  # the folder of its pictures
    stem: str  # of its JSON, and the name of its folder of masks
    categories: Mapping[int, Category]
    pictures: list[Picture]
    trained: bool  # whether it is for training, so that points are wanted


def convert_split(split: Split, out: Path, progress: Progress = ignore) -> PanopticDataset:
    """Writes pictures to ``out/IMAGES``, masks and, at the end, the JSON.

    Pictures are hard links where the file system can make them, else copies; see
    :func:`~point2mask.data.files.link_or_copy`.

    Raises:
        DataError: a picture or a mask is missing, broken, too large or of another size; the message
            names the file.
    """

    def items() -> Iterator[tuple[ImageRecord, NDArray[np.int32], list[Segment]]]:
        for picture in counted(split.pictures, progress):
            source = resolve_inside(picture.folder, picture.file_name)
            # All of it is decoded: a file that ends early is found now and not in training.
            height, width = read_rgb(source, picture.size).shape[:2]
            ids, segments = picture.segments((height, width))
            link_or_copy(source, resolve_inside(out / split.images, picture.file_name))
            yield ImageRecord(picture.id, picture.file_name, height, width), ids, segments

    return write_panoptic(out / f"{split.stem}.json", None, split.categories, items())


def list_files(folder: Path, pattern: str, expected: str) -> list[str]:
    """Relative names of the files in a folder that fit a pattern, sorted; none is an error."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with {expected}")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern))
    if not names:
        raise DataError(f"{folder}: expected {expected} ({pattern}), got none")
    return names
