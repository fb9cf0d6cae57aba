"""Records that the panoptic and the point files share, and their part of the JSON."""

import colorsys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from point2mask.data.errors import DataError
from point2mask.data.files import Fields
from point2mask.data.png import SizeLimit

ImageId = int | str
MAX_SEGMENT_ID = 2**24 - 1  # what R + 256 G + 65536 B can hold; 0 is void


@dataclass(frozen=True, slots=True)
class Category:
    id: int
    name: str
    isthing: bool
    color: tuple[int, int, int]  # red, green, blue in [0, 255]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    id: ImageId
    file_name: str  # relative to the folder of images
    height: int  # pixels
    width: int  # pixels


@dataclass(frozen=True, slots=True)
class Segment:
    id: int  # in [1, 2^24), unique in its image
    category_id: int
    iscrowd: bool = False
    area: int | None = None  # pixels; None where a file does not say


def default_color(category_id: int) -> tuple[int, int, int]:
    """A colour for a category without one; consecutive ids get hues far apart."""
    hue = category_id * 0.6180339887498949 % 1  # golden ratio: no two of few hues are close
    lightness = 0.45 + 0.1 * (category_id % 3)
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)


def read_categories(root: Fields, isthing: bool | None = None) -> dict[int, Category]:
    """Categories by id; ``isthing`` is what they are if the file does not say."""
    categories: dict[int, Category] = {}
    for fields in root.objects("categories"):
        identity = fields.integer("id", 0, 2**31 - 1)
        if identity in categories:
            raise DataError(f"{fields.place}: expected unique category ids, got {identity} again")
        categories[identity] = Category(
            id=identity,
            name=fields.text("name"),
            isthing=fields.flag("isthing", isthing),
            color=fields.color("color") or default_color(identity),
        )
    return categories


def read_images(root: Fields, limit: SizeLimit) -> dict[ImageId, ImageRecord]:
    images: dict[ImageId, ImageRecord] = {}
    for fields in root.objects("images"):
        identity = fields.identifier("id")
        if identity in images:
            raise DataError(f"{fields.place}: expected unique image ids, got {identity!r} again")
        height, width = (fields.integer(key, 1, limit.side) for key in ("height", "width"))
        limit.check(height, width, fields.place)
        images[identity] = ImageRecord(identity, fields.relative_path("file_name"), height, width)
    return images


def read_annotations(
    root: Fields, images: Mapping[ImageId, ImageRecord]
) -> Iterator[tuple[Fields, ImageRecord]]:
    """The annotations with their images; every image is annotated at most once."""
    seen: set[ImageId] = set()
    for fields in root.objects("annotations"):
        identity = fields.identifier("image_id")
        if identity not in images:
            raise fields.error("image_id", "the id of one of the images")
        if identity in seen:
            raise DataError(
                f"{fields.place}: expected one annotation an image, got {identity!r} again"
            )
        seen.add(identity)
        yield fields, images[identity]


def read_segment_head(
    fields: Fields, categories: Mapping[int, Category], seen: set[int]
) -> tuple[int, int, bool]:
    """Segment id, category id and iscrowd; adds the id to ``seen``."""
    identity = fields.integer("id", 1, MAX_SEGMENT_ID)
    if identity in seen:
        raise DataError(
            f"{fields.place}: expected unique segment ids in an image, got {identity} again"
        )
    seen.add(identity)
    category = fields.integer("category_id", 0, 2**31 - 1)
    if category not in categories:
        raise fields.error("category_id", "the id of one of the categories")
    return identity, category, fields.flag("iscrowd", default=False)


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
    return {
        "id": image.id,
        "file_name": image.file_name,
        "height": image.height,
        "width": image.width,
    }
