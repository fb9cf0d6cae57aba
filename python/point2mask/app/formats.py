"""Writers of formats that have no reader of their own kind in ``point2mask.data``."""

import base64
import io
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.files import open_replacing, resolve_inside, write_bytes, write_json
from point2mask.data.frames import (
    SHOWN,
    UPRIGHT,
    orientation,
    point_to_shown,
    to_shown,
    turned_size,
)
from point2mask.data.png import WRITTEN_SUFFIXES, read_rgb, save_image, write_rgb
from point2mask.data.records import Category, ImageRecord, categories_to_json, image_to_json
from point2mask.data.targets import PointTarget

Item = tuple[ImageRecord, NDArray[np.int32], list[PointTarget]]  # as viewers show the picture
LABELME_VERSION = "5.5.0"  # the layout written here; masks as shapes came with 5.2
VOC_VOID = 255


def write_coco_instances(
    folder: Path, images_dir: Path, categories: Mapping[int, Category], items: Iterator[Item]
) -> None:
    """``instances.json``: things alone, their masks run-length encoded by pycocotools."""
    from pycocotools import mask as coco_mask

    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for record, ids, targets in items:
        images.append(image_to_json(record))
        for target in targets:
            if not categories[target.category_id].isthing:
                continue
            encoded = coco_mask.encode(np.asfortranarray(ids == target.id, dtype=np.uint8))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record.id,
                    "category_id": target.category_id,
                    "iscrowd": int(target.iscrowd),
                    "segmentation": {
                        "size": encoded["size"],
                        "counts": encoded["counts"].decode("ascii"),
                    },
                    "area": int(coco_mask.area(encoded)),
                    "bbox": coco_mask.toBbox(encoded).tolist(),
                }
            )
    things = {key: category for key, category in categories.items() if category.isthing}
    content = {"images": images, "annotations": annotations}
    write_json(folder / "instances.json", {**content, "categories": categories_to_json(things)})


def write_voc(
    folder: Path, images_dir: Path, categories: Mapping[int, Category], items: Iterator[Item]
) -> None:
    """The folders of Pascal VOC, and ``classes.txt`` with the number and name of every class.

    Classes are numbered from 1, things first; if there is one category of stuff alone, it is the
    background, 0. Objects are the things, numbered from 1 in every image; void is 255.
    """
    numbers = voc_numbers(categories)
    palette = _voc_palette()
    taken: set[str] = set()
    for record, ids, targets in items:
        name = flat_name(record, taken)
        classes = np.full(ids.shape, VOC_VOID, np.uint8)
        objects = np.where(ids == 0, VOC_VOID, 0).astype(np.uint8)
        things = [t for t in targets if categories[t.category_id].isthing]
        if len(things) >= VOC_VOID:
            raise DataError(
                f"{record.file_name}: VOC holds {VOC_VOID - 1} objects an image, got {len(things)}"
            )
        for target in targets:
            classes[ids == target.id] = numbers[target.category_id]
        for number, target in enumerate(things, start=1):
            objects[ids == target.id] = number
        _write_palette(folder / "SegmentationClass" / f"{name}.png", classes, palette)
        _write_palette(folder / "SegmentationObject" / f"{name}.png", objects, palette)
        source = resolve_inside(images_dir, record.file_name)
        copy_upright(source, folder / "JPEGImages" / f"{name}.jpg")
    names = {number: categories[key].name for key, number in numbers.items()}
    _write_lines(folder / "classes.txt", (f"{number} {names[number]}" for number in sorted(names)))
    _write_lines(folder / "ImageSets" / "Segmentation" / "train.txt", sorted(taken))


def voc_numbers(categories: Mapping[int, Category]) -> dict[int, int]:
    """The number of every category's class in VOC's maps."""
    things, stuff = (
        [key for key, c in categories.items() if c.isthing == kind] for kind in (True, False)
    )
    numbers = {key: number for number, key in enumerate([*things, *stuff], start=1)}
    if len(stuff) == 1:
        numbers[stuff[0]] = 0
    if max(numbers.values(), default=0) >= VOC_VOID:
        raise DataError(f"VOC holds {VOC_VOID - 1} classes, got {len(numbers)}")
    return numbers


def write_labelme(
    folder: Path, images_dir: Path, categories: Mapping[int, Category], items: Iterator[Item]
) -> None:
    """``NAME.json`` beside ``NAME.jpg``: a mask a target and its clicks, tied by ``group_id``."""
    for record, ids, targets in items:
        picture = resolve_inside(folder, record.file_name)
        path = picture.with_suffix(".json")
        if picture.suffix.lower() not in WRITTEN_SUFFIXES:
            picture = picture.with_suffix(".jpg")
        copy_upright(resolve_inside(images_dir, record.file_name), picture)
        shapes: list[dict[str, object]] = []
        for target in targets:
            name = categories[target.category_id].name
            shapes.append(_labelme_mask(name, target.id, ids == target.id))
            shapes.extend(_shape(name, target.id, "point", [list(p)]) for p in target.points)
        write_json(
            path,
            {
                "version": LABELME_VERSION,
                "flags": {},
                "shapes": shapes,
                "imagePath": picture.name,
                "imageData": None,
                "imageHeight": record.height,
                "imageWidth": record.width,
            },
        )


def _labelme_mask(name: str, group: int, mask: NDArray[np.bool_]) -> dict[str, object]:
    """A mask as labelme stores it: cut to its box, whose corners are pixels inside."""
    from PIL import Image

    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    top, bottom, left, right = (int(x) for x in (rows[0], rows[-1], columns[0], columns[-1]))
    file = io.BytesIO()
    cut = np.ascontiguousarray(mask[top : bottom + 1, left : right + 1])
    Image.fromarray(cut).save(file, format="PNG")
    shape = _shape(name, group, "mask", [[left, top], [right, bottom]])
    return {**shape, "mask": base64.b64encode(file.getvalue()).decode("ascii")}


def _shape(name: str, group: int, kind: str, points: list[list[float]]) -> dict[str, object]:
    return {
        "label": name,
        "points": points,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
    }


def copy_upright(source: Path, target: Path) -> None:
    """A file of its own: who turns a picture in the export does not turn the original.

    A picture of the same kind that no viewer turns is the same to the byte. Another one is encoded
    anew, turned and without the tag: programs that look at the tag see it as those that do not.
    """
    if _kind(source) != _kind(target) or orientation(source) != UPRIGHT:
        write_rgb(target, read_rgb(source, frame=SHOWN))
        return
    with source.open("rb") as original, open_replacing(target) as file:
        shutil.copyfileobj(original, file)


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return ".jpg" if suffix == ".jpeg" else suffix


def upright(item: Item, path: Path) -> Item:
    """An item of the frame in which a picture is stored, as viewers show the picture."""
    record, ids, targets = item
    turned = orientation(path)
    if turned == UPRIGHT or record.frame == SHOWN:
        return item
    stored = record.height, record.width
    height, width = turned_size(stored, turned)
    moved = [
        replace(t, points=tuple(point_to_shown(x, y, stored, turned) for x, y in t.points))
        for t in targets
    ]
    record = replace(record, height=height, width=width, frame=SHOWN)
    return record, np.ascontiguousarray(to_shown(ids, turned)), moved


def flat_name(record: ImageRecord, taken: set[str]) -> str:
    """A name for VOC's lists, which know neither folders nor spaces; adds it to ``taken``."""
    stem = Path(record.file_name).with_suffix("").as_posix()
    name = plain = re.sub(r"[^A-Za-z0-9_.-]", "_", stem).lstrip(".-") or "image"
    number = 1
    while name in taken:
        number += 1
        name = f"{plain}_{number}"
    taken.add(name)
    return name


def _write_palette(path: Path, numbers: NDArray[np.uint8], palette: list[int]) -> None:
    from PIL import Image

    image = Image.fromarray(numbers)  # grey, until it has a palette
    image.putpalette(palette)
    save_image(path, image, "PNG")


def _voc_palette() -> list[int]:
    """VOC's colours: bits 0, 1, 2 of the number from the highest bit of red, green, blue down."""
    numbers = np.arange(256)
    colors = np.zeros((256, 3), np.int64)
    for level in range(8):
        for channel in range(3):
            colors[:, channel] |= ((numbers >> (3 * level + channel)) & 1) << (7 - level)
    return [int(value) for value in colors.ravel()]


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
