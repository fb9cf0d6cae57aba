"""Point labels in one JSON, with the changes of its journal; see ``read_points``."""

from array import array
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from point2mask.data.compact import Annotated, Records, read_records
from point2mask.data.filed import Kinds, have_any
from point2mask.data.files import read_bounded
from point2mask.data.journal import journals, read_with_journal
from point2mask.data.json_files import MAX_JSON, Identifier, convert, decode_json
from point2mask.data.json_lists import JsonFile, JsonList, open_lists
from point2mask.data.marks import Marks
from point2mask.data.places import is_local
from point2mask.data.png import SizeLimit
from point2mask.data.records import (
    CategoryEntry,
    ImageId,
    ImageRecord,
    categories_by_id,
    check_entries,
)
from point2mask.data.targets import (
    LabelledImage,
    LabelledImages,
    PointLabels,
    PointTarget,
    check_clicks,
    keep_marks,
    moved_inside,
)

LAYOUT = "a JSON of point labels"
POINTS_NAME = "points.json"  # of the annotation page's clicks, in the folder of its pictures


class _Annotation(Marks, frozen=True, kw_only=True):
    image_id: Identifier
    segments_info: list[PointTarget]


class _Id(Struct):
    id: Identifier


class _ImageId(Struct):
    image_id: Identifier


class _Identified(Struct):
    """What changes of a journal are brought into, by the ids."""

    images: list[_Id]
    annotations: list[_ImageId]


class _Change(Struct):
    """Of an image, in a journal."""

    image: _Id
    annotation: _ImageId | None


class PointJson:
    """Images whose annotations stay in the file until they are asked for; an ``ImageFile``."""

    def __init__(self, records: Records, annotations: JsonList, numbers: Sequence[int]) -> None:
        """
        Args:
            records: the images.
            annotations: all of them.
            numbers: of the annotation of every image, -1 where there is none.
        """
        self._records, self._annotations, self._numbers = records, annotations, numbers

    def __len__(self) -> int:
        return len(self._records)

    def image(self, number: int) -> LabelledImage:
        """An image and its targets."""
        record, index = self._records[number], self._numbers[number]
        if index < 0:
            return record, []
        place = self._annotations.place(index)
        entry: _Annotation = self._annotations.entry(index, _Annotation)
        return record, [moved_inside(target, record, place) for target in entry.segments_info]

    def record(self, number: int) -> ImageRecord:
        """An image without its targets."""
        return self._records[number]

    def have_any(self, categories: Collection[int]) -> NDArray[np.bool_]:
        """Of all images, whether a target is of these categories, and no crowd."""
        has = have_any(self._annotations.entries(Kinds), categories)
        return np.append(has, False)[np.asarray(self._numbers, np.int64)]  # -1: no annotation


def read_point_json(path: Path, limit: SizeLimit) -> PointLabels:
    """Reads and checks all; see :func:`point2mask.data.read_points`."""
    root = _opened(path)
    annotations = root.list("annotations")
    categories = categories_by_id(root.value("categories", list[CategoryEntry]), path)
    records = read_records(root.list("images"), limit)
    numbers = array("i", [-1]) * len(records)
    marks: dict[ImageId, Marks] = {}
    annotated = Annotated(records)
    for index, entry in enumerate(annotations.entries(_Annotation)):
        place = annotations.place(index)
        number = annotated.image_of(entry.image_id, place)
        numbers[number], record = index, records[number]
        check_entries(entry.segments_info, categories, place)
        targets = [moved_inside(target, record, place) for target in entry.segments_info]
        check_clicks(record, targets, place)
        keep_marks(entry, record, targets, place, marks)
    return PointLabels(categories, LabelledImages(PointJson(records, annotations, numbers)), marks)


def whole_content(path: Path) -> bytes:
    """The content of a JSON with all changes of its journal, where there is one.

    Raises:
        DataError: it cannot be read.
    """
    read = partial(read_bounded, expected=LAYOUT, limit=MAX_JSON)
    content, changes = read_with_journal(path, read)
    return _changed(content, changes, path) if changes else content


def _opened(path: Path) -> JsonFile:
    """The JSON of a file, together with its journal where there is one."""
    names = ("images", "annotations")
    if not is_local(path):  # nobody annotates there
        return open_lists(path, names, LAYOUT)
    while True:
        before = _identity(path)
        root = open_lists(path, names, LAYOUT)
        if journals(path):
            return open_lists(path, names, LAYOUT, whole_content(path))
        # Without a journal the file has all changes, unless it is just being replaced.
        if _identity(path) == before:
            return root


def _identity(path: Path) -> tuple[int, ...] | None:
    """Another one for every file that is renamed to a path; None for what is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns


def _changed(content: bytes, changes: Sequence[Mapping[str, Any]], path: Path) -> bytes:
    root = decode_json(content, path, dict[str, Any], LAYOUT)
    convert(root, _Identified, path)
    images = {entry["id"]: entry for entry in root["images"]}
    annotations = {entry["image_id"]: entry for entry in root["annotations"]}
    for number, change in enumerate(changes, start=1):
        if "categories" in change:
            root["categories"] = change["categories"]
            continue
        identity = convert(change, _Change, f"{path}: line {number} of its journal").image.id
        images.pop(identity, None)
        annotations.pop(identity, None)
        if change["annotation"] is not None:
            images[identity], annotations[identity] = change["image"], change["annotation"]
    root["images"], root["annotations"] = [*images.values()], [*annotations.values()]
    return msgspec.json.encode(root)
