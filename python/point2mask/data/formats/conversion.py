"""What converters of data sets share: pictures, the way to their segments, and writing both."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from point2mask.data.claims import claimed
from point2mask.data.errors import DataError
from point2mask.data.files import link_or_copy, resolve_inside
from point2mask.data.frames import (
    SHOWN,
    STORED,
    UPRIGHT,
    Frame,
    Size,
    decide_frame,
    orientation,
    to_stored,
    turned_size,
)
from point2mask.data.panoptic import PanopticDataset, check_mask_names, write_panoptic
from point2mask.data.png import picture_size, read_rgb
from point2mask.data.records import Category, ImageId, ImageRecord, Segment
from point2mask.data.report import Report
from point2mask.progress import Progress, counted, ignore

Labelled = tuple[NDArray[np.int32], list[Segment]]


@dataclass(frozen=True)
class LabelledPicture:
    """A picture and what tells its segments, given its height and width."""

    id: ImageId
    file_name: str  # relative, in its folder and in the converted set
    folder: Path
    segments: Callable[[Size], Labelled]
    size: Size | None = None  # that it must have; None if its own is right
    map: Path | None = None  # a picture of numbers, whose size tells the frame where that can


@dataclass(frozen=True)
class Split:
    images: str  # the folder of its pictures
    stem: str  # of its JSON, and the name of its folder of masks
    categories: Mapping[int, Category]
    pictures: list[LabelledPicture]
    trained: bool  # whether it is for training, so that points are wanted
    frame: Frame  # of its segments, where sizes do not tell; see frames.FRAMES


def convert_split(
    split: Split,
    out: Path,
    progress: Progress = ignore,
    report: Report | None = None,
    frame: Frame | None = None,
    beside: Sequence[str] = (),
) -> PanopticDataset:
    """Writes pictures to ``out/IMAGES``, masks and, at the end, the JSON, all of the stored frame.

    Pictures are hard links where the file system can make them, else copies; see
    :func:`~point2mask.data.files.link_or_copy`.

    Args:
        split: what to convert.
        out: the folder that everything goes to.
        progress: called after every picture.
        report: gets what is left out: with ``skip_broken`` also pictures that cannot be used.
        frame: that the segments are in; None where it follows from sizes and format.
        beside: names of what else will be made in ``out``, which must be free as well.

    Raises:
        DataError: before any work, two pictures whose masks would have one name, or files of
            somebody else, see :func:`~point2mask.data.claims.claimed`; a picture or a
            mask that is missing, broken, too large or of another size. The message names the file.
    """
    report = report or Report()
    check_mask_names(
        [ImageRecord(picture.id, picture.file_name, 1, 1) for picture in split.pictures],
        out / f"{split.stem}.json",
    )

    def items() -> Iterator[tuple[ImageRecord, NDArray[np.int32], list[Segment]]]:
        for picture in counted(split.pictures, progress):
            try:
                record, ids, segments = _read(picture, split.frame, frame, report)
            except DataError as error:
                report.broken(error, "pictures")
                continue
            source = resolve_inside(picture.folder, picture.file_name)
            link_or_copy(source, resolve_inside(out / split.images, picture.file_name))
            report.read["pictures"] += 1
            report.read["segments"] += len(segments)
            yield record, ids, segments

    names = [split.stem, f"{split.stem}.json", *beside]
    images = (out / split.images).resolve()
    if any(picture.folder.resolve() != images for picture in split.pictures):
        names.append(Path(split.images).parts[0])
    with claimed(out, "convert", names):
        dataset = write_panoptic(out / f"{split.stem}.json", None, split.categories, items())
    if not dataset.images:
        more = report.after()
        raise DataError(f"{out / split.stem}: expected pictures to convert, got none{more}")
    return dataset


def _read(
    picture: LabelledPicture, default: Frame, asked: Frame | None, report: Report
) -> tuple[ImageRecord, NDArray[np.int32], list[Segment]]:
    source = resolve_inside(picture.folder, picture.file_name)
    # All of it is decoded: a file that ends early is found now and not in training.
    stored = read_rgb(source).shape[:2]
    tag = orientation(source)
    known = picture.size or _size_of(picture.map)
    frame = decide_frame(known, stored, tag, default, asked)
    size = stored if frame == STORED else turned_size(stored, tag)
    if picture.size not in (None, size):
        raise DataError(
            f"{source}: expected {picture.size[1]} x {picture.size[0]} pixels, "
            f"got {size[1]} x {size[0]}"
        )
    if tag != UPRIGHT and asked is None:
        report.note(
            "pictures with an EXIF orientation, whose masks are taken for those of the picture as "
            f"it is {frame}, unless --frame says otherwise",
            source,
        )
    ids, segments = picture.segments(size)
    if frame == SHOWN:
        ids = np.ascontiguousarray(to_stored(ids, tag))
    return ImageRecord(picture.id, picture.file_name, *stored), ids, segments


def _size_of(path: Path | None) -> Size | None:
    """Of a map, if it can be read; what is wrong with it is said when it is."""
    try:
        return None if path is None else picture_size(path)
    except DataError:
        return None


def list_files(folder: Path, pattern: str, expected: str) -> list[str]:
    """Relative names of the files in a folder that fit a pattern, sorted; none is an error."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with {expected}")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern))
    if not names:
        raise DataError(f"{folder}: expected {expected} ({pattern}), got none")
    return names
