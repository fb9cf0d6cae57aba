"""Instances as COCO has them (one JSON), alone, over stuff or before a background, and back.

Instances may overlap; a panoptic map cannot. Every instance lies over the larger ones, of equals
the later one, and crowds under all of them; stuff is under all things. What is hidden wholly has no
segment, and neither has an annotation without mask, or whose mask has no pixel: where its box lies
there is no background.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.files import check_text, normal_name
from point2mask.data.formats.coco_masks import Mask, read_mask
from point2mask.data.formats.conversion import Labelled, LabelledPicture, Split
from point2mask.data.formats.names import MissingPictureError, PictureNames
from point2mask.data.frames import FRAMES, Size
from point2mask.data.json_files import (
    MAX_SEGMENT_ID,
    CategoryId,
    Flag,
    Identifier,
    NotNegative,
    Pixels,
    Text,
    decode,
    read_json,
)
from point2mask.data.png import DEFAULT_LIMIT
from point2mask.data.records import (
    Category,
    CategoryEntry,
    ImageId,
    ImageRecord,
    Segment,
    categories_by_id,
    default_color,
    images_by_id,
)
from point2mask.data.report import Report
from point2mask.data.segments import segment_areas
from point2mask.messages import shown

NO_AREA = np.iinfo(np.int32).max  # larger than that of any mask, a crowd's with the picture's too
OTHER = "other"  # the class of COCO's stuff that means "things": void where there is none
MAX_WORK = 3_000_000_000  # of all masks of an image, in pixels: some ten seconds
Box = tuple[float, float, NotNegative, NotNegative]  # x, y, width, height


class _Annotation(Struct):
    image_id: Identifier
    category_id: CategoryId
    iscrowd: Flag | None = None
    # Decoded when it is the picture's turn; until then a part of the file's bytes.
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    bbox: msgspec.Raw = msgspec.Raw(b"null")


class _Image(Struct):
    id: Identifier
    file_name: Text
    height: Pixels | None = None  # of the picture, where the file does not say
    width: Pixels | None = None


class _File(Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[CategoryEntry]


@dataclass(slots=True)
class _Annotations:
    """What is known of one image, each with its place in the file."""

    things: list[tuple[str, _Annotation]] = field(default_factory=list)
    stuff: list[tuple[str, _Annotation]] = field(default_factory=list)


def read_split(
    instances: Path,
    images: Path,
    name: str,
    stuff: Path | None = None,
    background: str | None = None,
    report: Report | None = None,
) -> Split:
    """The images of a JSON of instances; all of them are for training.

    Args:
        instances: COCO instances JSON.
        images: the folder of pictures.
        name: of the folder of pictures in the converted set, whose JSON is panoptic_NAME.json.
        stuff: JSON of the same layout, of stuff; its class "other" is void.
        background: the name of one class of stuff that is all pixels without instance.
        report: gets what is left out.

    Raises:
        DataError: a file is not of the layout; the message names the entry.
    """
    report = report or Report()
    if "/" in (name := normal_name(name, "the name of the set")):
        raise DataError(f"the name of the set: expected one folder, got {name!r}")
    root = read_json(instances, _File, "a COCO instances JSON")
    categories = _categories(root.categories, instances, isthing=True)
    names = PictureNames(images)
    for index, image in enumerate(root.images):
        if (image.height is None) != (image.width is None):
            raise DataError(
                f"{instances}: images[{index}]: expected height and width, or neither, got one of "
                "them"
            )
    listed = [ImageRecord(i.id, i.file_name, i.height or 1, i.width or 1) for i in root.images]
    sized = {i.id for i in root.images if i.height is not None and i.width is not None}
    records = {
        key: structs.replace(record, file_name=_found(names, record, f"{instances}: images[{i}]"))
        for i, (key, record) in enumerate(images_by_id(listed, instances, DEFAULT_LIMIT).items())
    }
    found = {key: _Annotations() for key in records}
    for place, entry in _checked(root.annotations, instances, records, categories):
        found[entry.image_id].things.append((place, entry))
    below: dict[int, Category] = {}
    if stuff is not None:
        stuff_root = read_json(stuff, _File, "a COCO JSON of stuff")
        _check_images(stuff_root.images, stuff, root.images)
        below = _categories(stuff_root.categories, stuff, isthing=False)
        for place, entry in _checked(stuff_root.annotations, stuff, records, below):
            found[entry.image_id].stuff.append((place, entry))
        for key in below.keys() & categories.keys():
            raise DataError(f"{stuff}: expected other category ids than in {instances}, got {key}")
    elif background is not None:
        check_text(background, "the name of the background")
        if background in {category.name for category in categories.values()}:
            raise DataError(
                f"{instances}: expected a name of the background that none of the categories has, "
                f"got {shown(background)}"
            )
        key = max(categories, default=0) + 1
        below = {key: Category(key, background, isthing=False, color=default_color(key))}
    void = {key for key, category in below.items() if stuff is not None and category.name == OTHER}
    under = None if background is None else max(below)
    pictures = [
        LabelledPicture(
            record.id,
            record.file_name,
            images,
            partial(_segments, found[record.id], void, under, report),
            (record.height, record.width) if record.id in sized else None,
        )
        for record in records.values()
    ]
    kept = {key: category for key, category in below.items() if key not in void}
    return Split(
        name,
        f"panoptic_{name}",
        {**categories, **kept},
        pictures,
        trained=True,
        frame=FRAMES["coco"],
    )


def _found(names: PictureNames, record: ImageRecord, place: str) -> str:
    """The picture that an image means; what is not there is missed when it is its turn."""
    try:
        return names.find([record.file_name], place)
    except MissingPictureError:
        return record.file_name


def _check_images(images: Sequence[_Image], place: Path, listed: Sequence[_Image]) -> None:
    """That the images of another file are the same, where it has their ids."""
    known = {image.id: image for image in listed}
    for index, image in enumerate(images):
        if (other := known.get(image.id)) is None:
            continue
        for what in ("file_name", "height", "width"):
            here, there = getattr(image, what), getattr(other, what)
            if here != there and None not in (here, there):
                raise DataError(
                    f"{place}: images[{index}]: expected the {what} {shown(there)} that image "
                    f"{shown(image.id)} has among the instances, got {shown(here)}"
                )


def _categories(entries: list[CategoryEntry], place: Path, isthing: bool) -> dict[int, Category]:
    """All of them things, or all stuff, whatever the file says."""
    for entry in entries:
        entry.isthing = isthing
    return categories_by_id(entries, place)


def _checked(
    annotations: Iterable[_Annotation],
    path: Path,
    records: Mapping[ImageId, ImageRecord],
    categories: Mapping[int, Category],
) -> Iterable[tuple[str, _Annotation]]:
    for index, entry in enumerate(annotations):
        place = f"{path}: annotations[{index}]"
        if entry.image_id not in records:
            raise DataError(
                f"{place}.image_id: expected the id of one of the images, "
                f"got {shown(entry.image_id)}"
            )
        if entry.category_id not in categories:
            raise DataError(
                f"{place}.category_id: expected the id of one of the categories, "
                f"got {entry.category_id}"
            )
        yield place, entry


def _segments(
    annotations: _Annotations,
    void: set[int],
    background: int | None,
    report: Report,
    size: Size,
) -> Labelled:
    """Segments are numbered as they stand in the file, things first."""
    # In columns, as COCO's masks are.
    ids = np.zeros(size, np.int32, order="F")
    work = 0
    segments: dict[int, Segment] = {}
    classes: dict[int, int] = {}  # the segment of each class of stuff
    first = len(annotations.things) + 1
    if first + len(annotations.stuff) > MAX_SEGMENT_ID:
        raise DataError(f"expected at most {MAX_SEGMENT_ID} annotations an image, got more")
    for place, entry in annotations.stuff:
        mask = read_mask(entry.segmentation, size, f"{place}.segmentation", report)
        work = _add_work(work, mask, place)
        if mask is None or not mask.inside.any():
            _leave_out(mask, place, report)
            continue
        number = classes.setdefault(entry.category_id, first + len(classes))
        if entry.category_id not in void:
            segments[number] = Segment(number, entry.category_id)
        np.copyto(ids[mask.box], 0 if entry.category_id in void else number, where=mask.inside)
    if background is not None:
        segments[first] = Segment(first, background)
        ids[:] = first
    # The area of what lies on top so far, so that one mask is in memory at a time.
    top = np.full(size, NO_AREA, np.int32, order="F")
    for number, (place, entry) in enumerate(annotations.things, start=1):
        mask = read_mask(entry.segmentation, size, f"{place}.segmentation", report)
        work = _add_work(work, mask, place)
        if mask is None or not mask.inside.any():
            _leave_out(mask, place, report)
            if background is not None:
                _clear_box(entry, size, place, ids, top)
            continue
        crowd = bool(entry.iscrowd)
        area = np.count_nonzero(mask.inside) + crowd * ids.size
        above = top[mask.box]
        shown = mask.inside & (area <= above)
        np.copyto(above, area, where=shown)
        np.copyto(ids[mask.box], number, where=shown)
        segments[number] = Segment(number, entry.category_id, crowd)
    ids = np.ascontiguousarray(ids)
    visible = segment_areas(ids)
    for number, (place, _) in enumerate(annotations.things, start=1):
        if number in segments and number not in visible:
            report.leave_out("annotations that others cover", place)
    return ids, [segments[number] for number in sorted(segments) if number in visible]


def _leave_out(mask: Mask | None, place: str, report: Report) -> None:
    what = "without a mask" if mask is None else "whose mask has no pixel"
    report.leave_out(f"annotations {what}", place)


def _add_work(work: int, mask: Mask | None, place: str) -> int:
    """The work of the masks of an image, with one more mask; there is a most."""
    work += 0 if mask is None else mask.work
    if work > MAX_WORK:
        raise DataError(
            f"{place}: expected masks that fill boxes of at most {MAX_WORK} pixels together in an "
            "image, and outlines a hundredth of that, got more"
        )
    return work


def _clear_box(
    entry: _Annotation, size: Size, place: str, ids: NDArray[np.int32], top: NDArray[np.int32]
) -> None:
    """What no mask covers of the box of an object without mask is not background: it is void."""
    box = decode(entry.bbox, Box | None, f"{place}.bbox")
    if box is None:
        return
    x, y, width, height = box
    columns = slice(*np.clip([np.floor(x), np.ceil(x + width)], 0, size[1]).astype(int))
    rows = slice(*np.clip([np.floor(y), np.ceil(y + height)], 0, size[0]).astype(int))
    uncovered = top[rows, columns] == NO_AREA
    ids[rows, columns][uncovered] = 0
