"""Records that the panoptic and the point files share, and their part of the JSON."""

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from msgspec import Struct, structs

from point2mask.data.errors import DataError
from point2mask.data.files import normal_name
from point2mask.data.frames import STORED, Frame
from point2mask.data.json_files import (
    MAX_SEGMENT_ID,
    Area,
    CategoryId,
    Color,
    Flag,
    Identifier,
    Pixels,
    SegmentId,
    Text,
    read_json,
)
from point2mask.data.png import SizeLimit
from point2mask.messages import shown

ImageId = int | str


@dataclass(frozen=True, slots=True)
class Category:
    id: int
    name: str
    isthing: bool
    color: tuple[int, int, int]  # red, green, blue in [0, 255]


class ImageRecord(Struct, frozen=True, gc=False, rename={"frame": "exif_frame"}):
    id: Identifier
    file_name: Text  # relative to the folder of images, in normal form
    height: Pixels  # as in the frame
    width: Pixels
    frame: Frame = STORED  # that the image's points and masks are in


class Segment(Struct, frozen=True, gc=False):
    id: SegmentId  # unique in its image
    category_id: CategoryId
    iscrowd: Flag = False
    # Pixels; None where a file does not say.
    area: Area | None = None


class CategoryEntry(Struct):
    """A category as files have it."""

    id: CategoryId
    name: Text
    isthing: Flag | None = None
    color: Color | None = None


class CategoryFile(Struct):
    """Any JSON that has categories."""

    categories: list[CategoryEntry]


def default_color(category_id: int) -> tuple[int, int, int]:
    """A colour for a category without one; consecutive ids get hues far apart."""
    hue = category_id * 0.6180339887498949 % 1  # golden ratio: no two of few hues are close
    lightness = 0.45 + 0.1 * (category_id % 3)
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)


def read_categories(path: Path) -> dict[int, Category]:
    """The categories of a panoptic or a point JSON by id."""
    return categories_by_id(
        read_json(path, CategoryFile, "a JSON with categories").categories, path
    )


def categories_by_id(entries: Iterable[CategoryEntry], place: object) -> dict[int, Category]:
    """Categories by id."""
    categories: dict[int, Category] = {}
    for index, entry in enumerate(entries):
        if entry.id in categories:
            raise DataError(
                f"{place}: categories[{index}]: expected unique category ids, got {entry.id} again"
            )
        if entry.isthing is None:
            raise DataError(f"{place}: categories[{index}].isthing: expected 0 or 1, got none")
        color = entry.color or default_color(entry.id)
        categories[entry.id] = Category(entry.id, entry.name, bool(entry.isthing), color)
    return categories


def images_by_id(
    records: Iterable[ImageRecord], place: object, limit: SizeLimit
) -> dict[ImageId, ImageRecord]:
    """Images by id, their names in normal form."""
    images: dict[ImageId, ImageRecord] = {}
    places: dict[str, int] = {}
    for index, record in enumerate(records):
        if record.id in images:
            raise DataError(
                f"{place}: images[{index}]: expected unique image ids, got {shown(record.id)} again"
            )
        normal = checked_record(record, f"{place}: images[{index}]", limit)
        first = places.setdefault(normal.file_name, index)
        if first != index:
            raise DataError(
                f"{place}: images[{index}].file_name: expected every picture once, got "
                f"{shown(record.file_name)}, which images[{first}] has too"
            )
        images[record.id] = normal
    return images


def checked_record(record: ImageRecord, place: str, limit: SizeLimit) -> ImageRecord:
    """An image that is not too large, with its name in normal form."""
    limit.check(record.height, record.width, place)
    return normal_record(record, place)


def normal_record(record: ImageRecord, place: str) -> ImageRecord:
    """An image with its name in normal form."""
    name = normal_name(record.file_name, f"{place}.file_name")
    return record if name == record.file_name else structs.replace(record, file_name=name)


class _Entry(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def category_id(self) -> int: ...


def check_entries(
    entries: Sequence[_Entry], categories: Mapping[int, Category], place: object
) -> None:
    """That the ``segments_info`` of an annotation have ids of their own and known categories."""
    ids, kinds = {entry.id for entry in entries}, {entry.category_id for entry in entries}
    if len(ids) < len(entries) or not categories.keys() >= kinds:
        seen: set[int] = set()
        for index, entry in enumerate(entries):
            entry_place = f"{place}.segments_info[{index}]"
            if entry.id in seen:
                raise DataError(
                    f"{entry_place}: expected unique segment ids in an image, got {entry.id} again"
                )
            if entry.category_id not in categories:
                raise DataError(
                    f"{entry_place}.category_id: expected the id of one of the categories, "
                    f"got {entry.category_id}"
                )
            seen.add(entry.id)


def check_segment_ids(
    segments: Iterable[tuple[int, int]], categories: Mapping[int, Category], place: object
) -> None:
    """Checks (id, category id) pairs of one image that are about to be written."""
    seen: set[int] = set()
    for identity, category in segments:
        if not 1 <= identity <= MAX_SEGMENT_ID or identity in seen:
            raise DataError(
                f"{place}: expected unique segment ids in [1, {MAX_SEGMENT_ID}], got {identity}"
            )
        if category not in categories:
            raise DataError(f"{place}: expected a known category, got {category}")
        seen.add(identity)


def categories_to_json(categories: Mapping[int, Category]) -> list[dict[str, object]]:
    return [
        {"id": c.id, "name": c.name, "isthing": int(c.isthing), "color": list(c.color)}
        for c in categories.values()
    ]


def image_to_json(image: ImageRecord) -> dict[str, object]:
    entry: dict[str, object] = {
        "id": image.id,
        "file_name": image.file_name,
        "height": image.height,
        "width": image.width,
    }
    return entry if image.frame == STORED else {**entry, "exif_frame": image.frame}
