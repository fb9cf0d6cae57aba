"""Pascal VOC 2012, alone or with SBD, as a COCO panoptic data set.

The 20 classes are things. Background is the one class of stuff, and the last one. Borders and
what VOC leaves open (255) are void.
"""

import re
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.files import as_utf8, read_bounded, resolve_inside
from point2mask.data.formats import sbd
from point2mask.data.formats.conversion import Labelled, LabelledPicture, Split
from point2mask.data.frames import FRAMES, Size
from point2mask.data.png import read_indices
from point2mask.data.records import Category, Segment, default_color

THINGS = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
BACKGROUND = len(THINGS) + 1  # the last also by id; a thing's id is VOC's own number of its class
CATEGORIES = {
    key: Category(key, name, isthing=key != BACKGROUND, color=default_color(key))
    for key, name in enumerate((*THINGS, "background"), start=1)
}
# Things keep the number that the source gives them, which is a byte.
BACKGROUND_SEGMENT = 256
VOID = 255


def _colors() -> list[tuple[int, int, int]]:
    """VOC's colours: bits 0, 1, 2 of the number from the highest bit of red, green, blue down."""
    numbers = np.arange(256)
    colors = np.zeros((256, 3), np.int64)
    for level in range(8):
        for channel in range(3):
            colors[:, channel] |= ((numbers >> (3 * level + channel)) & 1) << (7 - level)
    return [(red, green, blue) for red, green, blue in colors.tolist()]


COLORS = _colors()  # of the numbers of classes and objects, by number
_SPLITS = ("train", "val")
MAX_LIST = 2**24  # bytes of a list of names
_NAME = re.compile(r"\w[\w.-]*")


def read_splits(voc: Path, sbd_folder: Path | None = None) -> list[Split]:
    """Which pictures there are to convert, for ``train`` and ``val``.

    Args:
        voc: ``VOCdevkit/VOC2012``.
        sbd_folder: ``benchmark_RELEASE/dataset``. With it, the pictures of ``train`` are those of
            VOC and, with SBD's instances, those of SBD's two lists that are new (10 582 together).

    Pictures of VOC's ``val`` are never in ``train``.

    Raises:
        DataError: a list is missing, has no names, or has names that are none.
    """
    train, val = (read_names(voc / "ImageSets" / "Segmentation" / f"{x}.txt") for x in _SPLITS)
    more: list[str] = []
    if sbd_folder is not None:
        more = [name for x in _SPLITS for name in read_names(sbd_folder / f"{x}.txt")]
    held_out, known = {*val}, {*train, *val}
    pictures = [_voc_picture(voc, name) for name in train if name not in held_out]
    for name in dict.fromkeys(more):
        if sbd_folder is not None and name not in known:
            segments = partial(sbd_segments, sbd_folder, name)
            pictures.append(LabelledPicture(name, f"{name}.jpg", sbd_folder / "img", segments))
    if not pictures:
        raise DataError(f"{voc}: expected pictures to train with that are not in val, got none")
    stem = "voc_panoptic_train" if sbd_folder is None else "voc_panoptic_train_aug"
    held = [_voc_picture(voc, name) for name in val]
    return [
        Split("train", stem, CATEGORIES, pictures, trained=True, frame=FRAMES["voc"]),
        Split("val", "voc_panoptic_val", CATEGORIES, held, trained=False, frame=FRAMES["voc"]),
    ]


def _voc_picture(voc: Path, name: str) -> LabelledPicture:
    return LabelledPicture(
        name,
        f"{name}.jpg",
        voc / "JPEGImages",
        partial(voc_segments, voc, name),
        map=voc / "SegmentationClass" / f"{name}.png",
    )


def read_names(path: Path) -> list[str]:
    """The names in a list, one a line, in its order and each once."""
    content = read_bounded(path, "a list of the names of images", MAX_LIST)
    lines = as_utf8(content).decode("utf-8", "replace").splitlines()
    names = dict.fromkeys(line.strip() for line in lines if line.strip())
    for name in names:
        # Names become names of files.
        if not _NAME.fullmatch(name):
            raise DataError(
                f"{path}: expected names of images (letters, digits, '_', '.' and '-'), "
                f"got {name[:60]!r}"
            )
    if not names:
        raise DataError(f"{path}: expected names of images, got none")
    return list(names)


def voc_segments(voc: Path, name: str, size: Size) -> Labelled:
    """Segments of a picture by VOC's two maps.

    An object is a thing of the class that most of its pixels have, of equals the first. Pixels
    without object are background, but void where they have a class.
    """
    class_path, object_path = (
        resolve_inside(voc / folder, f"{name}.png")
        for folder in ("SegmentationClass", "SegmentationObject")
    )
    classes = read_indices(class_path, *size, colors=COLORS)
    if not object_path.exists():
        raise DataError(
            f"{object_path}: expected the objects of {name}, but there is no such file; "
            "SegmentationClass alone does not tell objects of a class apart"
        )
    objects = read_indices(object_path, *size, colors=COLORS)
    if ((classes >= BACKGROUND) & (classes != VOID)).any():
        raise DataError(f"{class_path}: expected numbers in [0, {len(THINGS)}] and {VOID}")
    known = (classes != VOID) & (objects != VOID)
    pairs = objects[known].astype(np.uint16) * BACKGROUND + classes[known]
    votes = np.bincount(pairs, minlength=VOID * BACKGROUND).reshape(VOID, BACKGROUND)
    things = {}
    for number in (np.flatnonzero(votes[1:].any(1)) + 1).tolist():
        if not votes[number, 1:].any():
            raise DataError(
                f"{object_path}: expected a class for every object, but no pixel of object "
                f"{number} has one in {class_path}"
            )
        things[number] = int(votes[number, 1:].argmax()) + 1
    ids = np.where(known, objects, 0).astype(np.int32)
    ids[(objects == 0) & (classes == 0)] = BACKGROUND_SEGMENT
    return ids, _segments(ids, things)


def sbd_segments(folder: Path, name: str, size: Size) -> Labelled:
    """Segments of a picture by SBD, which knows no void."""
    ids, things = sbd.read_instances(folder, name, size, len(THINGS))
    ids[ids == 0] = BACKGROUND_SEGMENT
    return ids, _segments(ids, things)


def _segments(ids: NDArray[np.int32], things: dict[int, int]) -> list[Segment]:
    """The segments of a map, without instances that have no pixels."""
    present = np.bincount(ids.ravel(), minlength=BACKGROUND_SEGMENT + 1).tolist()
    categories = {**things, BACKGROUND_SEGMENT: BACKGROUND}
    return [Segment(key, category) for key, category in categories.items() if present[key]]
