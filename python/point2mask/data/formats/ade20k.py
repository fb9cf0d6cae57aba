"""ADE20K in the layout of its scene parsing and instance challenges, as a COCO panoptic data set.

``annotations/*.png`` has a category 1 to 150 a pixel, 0 = other. ``annotations_instance/*.png`` has
one of the 100 categories of things in red and the number of the instance in green. Instances lie
over stuff, as the published panoptic set has it; what neither tells is void.
"""

from functools import partial
from pathlib import Path

import numpy as np

from point2mask.data.errors import DataError
from point2mask.data.files import as_utf8, is_text, read_bounded, resolve_inside
from point2mask.data.formats.conversion import Labelled, LabelledPicture, Split, list_files
from point2mask.data.frames import FRAMES, Size
from point2mask.data.png import read_ids, read_indices
from point2mask.data.records import Category, Segment, default_color

NUM_CATEGORIES = 150
# The category of annotations/ for each category 1 to 100 of annotations_instance/.
THINGS = (
    8, 9, 11, 13, 15, 16, 19, 20, 21, 23, 24, 25, 28, 31, 32, 33, 34, 36, 37, 38, 39, 40, 42, 43,
    44, 45, 46, 48, 50, 51, 54, 56, 57, 58, 59, 63, 65, 66, 67, 68, 70, 71, 72, 73, 74, 75, 76, 77,
    79, 81, 82, 83, 84, 86, 87, 88, 89, 90, 91, 93, 94, 96, 98, 99, 103, 104, 105, 108, 109, 111,
    112, 113, 116, 117, 119, 120, 121, 122, 124, 125, 126, 127, 128, 130, 131, 133, 134, 135, 136,
    137, 138, 139, 140, 143, 144, 145, 147, 148, 149, 150,
)  # fmt: skip
STUFF_SEGMENT = 256  # plus the category; a thing keeps its number, which is a byte
MAX_NAMES = 2**16  # bytes of the list of names


def read_splits(folder: Path) -> list[Split]:
    """``train`` and ``val``; ``folder`` is ``ADEChallengeData2016``.

    Raises:
        DataError: a folder or the list of names is missing or broken.
    """
    categories = read_names(folder / "objectInfo150.txt")
    splits = []
    for name, long_name in (("train", "training"), ("val", "validation")):
        images = folder / "images" / long_name
        pictures = [
            LabelledPicture(
                Path(file_name).stem,
                file_name,
                images,
                partial(read_segments, folder, long_name, Path(file_name).stem),
                map=folder / "annotations" / long_name / f"{Path(file_name).stem}.png",
            )
            for file_name in list_files(images, "*.jpg", "pictures")
        ]
        stem = f"ade20k_panoptic_{name}"
        splits.append(
            Split(name, stem, categories, pictures, trained=name == "train", frame=FRAMES["ade20k"])
        )
    return splits


def read_names(path: Path) -> dict[int, Category]:
    """The categories, named by the first of the synonyms in ``objectInfo150.txt``."""
    expected = f"{NUM_CATEGORIES} rows of numbers and names"
    text = as_utf8(read_bounded(path, expected, MAX_NAMES)).decode("utf-8", "replace")
    names: dict[int, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.split("\t")
        if number == 1 or not line.strip():  # the titles of the columns
            continue
        name = cells[-1].partition(",")[0].strip()
        if cells[0].strip() != str(len(names) + 1) or not is_text(name):
            raise DataError(
                f"{path}:{number}: expected the number {len(names) + 1} and a name between tabs, "
                f"got {line[:60]!r}"
            )
        names[len(names) + 1] = name
    if len(names) != NUM_CATEGORIES:
        raise DataError(f"{path}: expected {expected}, got {len(names)}")
    things = set(THINGS)
    return {key: Category(key, n, key in things, default_color(key)) for key, n in names.items()}


def read_segments(folder: Path, split: str, name: str, size: Size) -> Labelled:
    """Segments of a picture: its stuff, and its instances over that."""
    semantic_path = resolve_inside(folder / "annotations" / split, f"{name}.png")
    instance_path = resolve_inside(folder / "annotations_instance" / split, f"{name}.png")
    semantic = read_indices(semantic_path, *size).astype(np.int32)
    if semantic.max() > NUM_CATEGORIES:
        raise DataError(
            f"{semantic_path}: expected categories in [0, {NUM_CATEGORIES}], got {semantic.max()}"
        )
    packed = read_ids(instance_path, *size)
    category, number = packed & 0xFF, packed >> 8 & 0xFF
    stuff = (semantic > 0) & ~np.isin(semantic, THINGS)
    ids = np.where(number > 0, number, np.where(stuff, STUFF_SEGMENT + semantic, 0))
    pairs = np.unique(number[number > 0] * 256 + category[number > 0])
    segments: list[Segment] = []
    for instance, kind in (divmod(pair, 256) for pair in pairs.tolist()):
        if not 1 <= kind <= len(THINGS):
            raise DataError(
                f"{instance_path}: expected categories of things in [1, {len(THINGS)}], "
                f"got {kind} of instance {instance}"
            )
        if segments and segments[-1].id == instance:
            raise DataError(f"{instance_path}: expected one category of instance {instance}")
        segments.append(Segment(instance, THINGS[kind - 1]))
    visible = np.unique(ids[ids > STUFF_SEGMENT])
    segments += [Segment(key, key - STUFF_SEGMENT) for key in visible.tolist()]
    return ids.astype(np.int32), segments
