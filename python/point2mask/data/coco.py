"""Instances as COCO has them (one JSON), alone, over stuff or before a background, as panoptic.

Instances may overlap; a panoptic map cannot. Every instance lies over the larger ones, of equals
the later one, and crowds under all of them; stuff is under all things. What is hidden wholly has no
segment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from point2mask.data.conversion import Labelled, Picture, Size, Split
from point2mask.data.errors import DataError
from point2mask.data.files import Fields, Place, check_relative, read_json
from point2mask.data.outlines import Mask, fill_polygons, fill_runs, read_counts
from point2mask.data.png import DEFAULT_LIMIT, SizeLimit
from point2mask.data.records import (
    MAX_SEGMENT_ID,
    Category,
    ImageId,
    Segment,
    default_color,
    read_categories,
    read_images,
)
from point2mask.data.segments import segment_areas

OTHER = "other"  # the class of COCO's stuff that means "things": void where there is none
MAX_CORNERS = 100_000  # numbers in the polygons of an instance


@dataclass(slots=True)
class _Annotations:
    """What is known of one image; masks are made when it is its turn."""

    things: list[Fields] = field(default_factory=list)
    stuff: list[Fields] = field(default_factory=list)


def read_split(
    instances: Path,
    images: Path,
    name: str,
    stuff: Path | None = None,
    background: str | None = None,
    limit: SizeLimit = DEFAULT_LIMIT,
) -> Split:
    """The images of a JSON of instances; all of them are for training.

    Args:
        instances: COCO instances JSON.
        images: the folder of pictures.
        name: of the folder of pictures in the converted set, whose JSON is panoptic_NAME.json.
        stuff: JSON of the same layout, of stuff; its class "other" is void.
        background: the name of one class of stuff that is all pixels without instance.
        limit: the largest image accepted.

    Raises:
        DataError: a file is not of the layout; the message names the entry.
    """
    if len(Path(check_relative(name, "the name of the set")).parts) != 1:
        raise DataError(f"the name of the set: expected one folder, got {name!r}")
    root = read_json(instances, "a COCO instances JSON")
    categories = {
        key: replace(category, isthing=True)
        for key, category in read_categories(root, isthing=True).items()
    }
    records = read_images(root, limit)
    found: dict[ImageId, _Annotations] = {key: _Annotations() for key in records}
    for fields in root.objects("annotations"):
        _image(fields, found).things.append(_checked(fields, categories))
    below: dict[int, Category] = {}
    if stuff is not None:
        stuff_root = read_json(stuff, "a COCO JSON of stuff")
        below = {
            key: replace(category, isthing=False)
            for key, category in read_categories(stuff_root, isthing=False).items()
        }
        for fields in stuff_root.objects("annotations"):
            _image(fields, found).stuff.append(_checked(fields, below))
        for key in below.keys() & categories.keys():
            raise DataError(f"{stuff}: expected other category ids than in {instances}, got {key}")
    elif background is not None:
        key = max(categories, default=0) + 1
        below = {key: Category(key, background, isthing=False, color=default_color(key))}
    void = {key for key, category in below.items() if stuff is not None and category.name == OTHER}
    pictures = [
        Picture(
            record.id,
            record.file_name,
            images,
            partial(_segments, found[record.id], void, None if background is None else max(below)),
            (record.height, record.width),
        )
        for record in records.values()
    ]
    kept = {key: category for key, category in below.items() if key not in void}
    return Split(name, f"panoptic_{name}", {**categories, **kept}, pictures, trained=True)


def _image(fields: Fields, found: Mapping[ImageId, _Annotations]) -> _Annotations:
    identity = fields.identifier("image_id")
    if identity not in found:
        raise fields.error("image_id", "the id of one of the images")
    return found[identity]


def _checked(fields: Fields, categories: Mapping[int, Category]) -> Fields:
    if fields.integer("category_id", 0, 2**31 - 1) not in categories:
        raise fields.error("category_id", "the id of one of the categories")
    fields.flag("iscrowd", default=False)
    return fields


def read_mask(fields: Fields, size: Size) -> Mask:
    """The mask ``bool [H, W]`` of an annotation: polygons, or runs as a list or as text."""
    place = Place(fields.place, "segmentation")
    if fields.has("segmentation", list):
        polygons = fields.number_lists("segmentation")
        for polygon in polygons:
            if len(polygon) < 6 or len(polygon) % 2:
                raise DataError(f"{place}: expected polygons [x, y, ...] of at least 3 corners")
        if sum(map(len, polygons)) > MAX_CORNERS:
            raise DataError(f"{place}: expected at most {MAX_CORNERS} numbers, got more")
        return fill_polygons(polygons, size)
    if not fields.has("segmentation", dict):
        raise fields.error("segmentation", "polygons or run lengths")
    runs = fields.child("segmentation")
    pixels = size[0] * size[1]
    if runs.integers("size", 1, DEFAULT_LIMIT.side) != list(size):
        raise runs.error("size", f"{list(size)}, the size of the image")
    if runs.has("counts", str):
        counts = read_counts(runs.text("counts"), pixels, place)
    else:
        counts = runs.integers("counts", 0, pixels)
    return fill_runs(counts, size, place)


def _segments(
    annotations: _Annotations, void: set[int], background: int | None, size: Size
) -> Labelled:
    """Segments are numbered as they stand in the file, things first."""
    ids = np.zeros(size, np.int32)
    segments: dict[int, Segment] = {}
    classes: dict[int, int] = {}  # the segment of each class of stuff
    first = len(annotations.things) + 1
    if first + len(annotations.stuff) > MAX_SEGMENT_ID:
        raise DataError(f"expected at most {MAX_SEGMENT_ID} annotations an image, got more")
    for fields in annotations.stuff:
        category = fields.integer("category_id", 0, 2**31 - 1)
        number = classes.setdefault(category, first + len(classes))
        if category not in void:
            segments[number] = Segment(number, category)
        ids[read_mask(fields, size)] = 0 if category in void else number
    if background is not None:
        segments[first] = Segment(first, background)
        ids[:] = first
    # The area of what lies on top so far, so that one mask is in memory at a time.
    top = np.full(size, np.iinfo(np.int64).max)
    for number, fields in enumerate(annotations.things, start=1):
        crowd = fields.flag("iscrowd", default=False)
        mask = read_mask(fields, size)
        area = int(mask.sum()) + crowd * mask.size
        mask &= area <= top
        ids[mask], top[mask] = number, area
        segments[number] = Segment(number, fields.integer("category_id", 0, 2**31 - 1), crowd)
    visible = segment_areas(ids)
    return ids, [segments[number] for number in sorted(segments) if number in visible]
