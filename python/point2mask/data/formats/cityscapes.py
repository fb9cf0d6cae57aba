"""Cityscapes as a COCO panoptic data set, by the rules of its own panoptic benchmark.

Only ``gtFine/*_instanceIds.png`` is read: a number below 1000 is a label, ``1000 label + k`` the
instance k of a label. The 19 labels that are evaluated are the categories and keep their numbers;
all others are void. A thing without instance number is a crowd.
"""

from functools import partial
from pathlib import Path

import numpy as np

from point2mask.data.errors import DataError
from point2mask.data.files import resolve_inside
from point2mask.data.formats.conversion import Labelled, LabelledPicture, Split, list_files
from point2mask.data.frames import FRAMES, Size
from point2mask.data.png import read_wide_indices
from point2mask.data.records import Category, Segment
from point2mask.data.segments import segment_areas

LABELS = 33  # the largest label; 0 is "unlabeled"
INSTANCES = 1000  # numbers of a label
_FIRST_THING = 24
CATEGORIES = {
    key: Category(key, name, isthing=key >= _FIRST_THING, color=color)
    for key, name, color in (
        (7, "road", (128, 64, 128)),
        (8, "sidewalk", (244, 35, 232)),
        (11, "building", (70, 70, 70)),
        (12, "wall", (102, 102, 156)),
        (13, "fence", (190, 153, 153)),
        (17, "pole", (153, 153, 153)),
        (19, "traffic light", (250, 170, 30)),
        (20, "traffic sign", (220, 220, 0)),
        (21, "vegetation", (107, 142, 35)),
        (22, "terrain", (152, 251, 152)),
        (23, "sky", (70, 130, 180)),
        (24, "person", (220, 20, 60)),
        (25, "rider", (255, 0, 0)),
        (26, "car", (0, 0, 142)),
        (27, "truck", (0, 0, 70)),
        (28, "bus", (0, 60, 100)),
        (31, "train", (0, 80, 100)),
        (32, "motorcycle", (0, 0, 230)),
        (33, "bicycle", (119, 11, 32)),
    )
}
_PICTURE, _MASK = "_leftImg8bit.png", "_gtFine_instanceIds.png"


def read_splits(folder: Path) -> list[Split]:
    """``train`` and ``val``; ``folder`` holds ``leftImg8bit`` and ``gtFine``.

    Raises:
        DataError: a folder is missing or has no masks.
    """
    splits = []
    for name in ("train", "val"):
        masks = folder / "gtFine" / name
        pictures = []
        for mask in list_files(masks, f"*/*{_MASK}", "masks of instances"):
            stem = mask.removesuffix(_MASK)
            segments = partial(read_segments, masks, mask)
            images = folder / "leftImg8bit" / name
            pictures.append(
                LabelledPicture(
                    Path(stem).name, stem + _PICTURE, images, segments, map=masks / mask
                )
            )
        stem = f"cityscapes_panoptic_{name}"
        splits.append(
            Split(
                name,
                stem,
                CATEGORIES,
                pictures,
                trained=name == "train",
                frame=FRAMES["cityscapes"],
            )
        )
    return splits


def read_segments(folder: Path, name: str, size: Size) -> Labelled:
    """Segments of a picture; they keep the numbers of the file."""
    path = resolve_inside(folder, name)
    ids = read_wide_indices(path, *size)
    present = np.array(list(segment_areas(ids)))
    labels = np.where(present < INSTANCES, present, present // INSTANCES)
    if (labels > LABELS).any():
        number = present[labels > LABELS][0]
        raise DataError(f"{path}: expected labels in [0, {LABELS}], got the number {number}")
    segments = []
    for number, label in zip(present.tolist(), labels.tolist(), strict=True):
        category = CATEGORIES.get(label)
        if category is None:
            continue
        if number >= INSTANCES and not category.isthing:
            raise DataError(f"{path}: expected no instances of {category.name}, got {number}")
        segments.append(Segment(number, label, category.isthing and number < INSTANCES))
    evaluated = np.isin(ids, [segment.id for segment in segments])
    return np.where(evaluated, ids, 0).astype(np.int32), segments
