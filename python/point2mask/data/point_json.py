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

from point2mask.data.files import read_bounded
from point2mask.data.journal import read_with_journal
from point2mask.data.json_files import MAX_JSON, Identifier, decode, decode_json
from point2mask.data.marks import Marks
from point2mask.data.places import is_local
from point2mask.data.png import SizeLimit
from point2mask.data.records import (
    CategoryEntry,
    ImageId,
    ImageRecord,
    categories_by_id,
    check_entries,
    image_of,
    images_by_id,
)
from point2mask.data.targets import (
    FiledImages,
    Kinds,
    LabelledImage,
    PointLabels,
    PointTarget,
    any_of,
    check_clicks,
    keep_marks,
    moved_inside,
)

LAYOUT = "a JSON of point labels"


class _Annotation(Marks, frozen=True, kw_only=True):
    image_id: Identifier
    segments_info: list[PointTarget]


class _File(Struct):
    annotations: list[msgspec.Raw]
    categories: list[CategoryEntry]
    images: list[ImageRecord]


class PointJson:
    """Images whose annotations stay text until they are asked for; an ``ImageFile``.

    As objects they take five times the memory.
    """

    def __init__(
        self,
        path: Path,
        records: Sequence[ImageRecord],
        annotations: Sequence[msgspec.Raw],
        numbers: Sequence[int],
    ) -> None:
        """
        Args:
            path: for errors.
            records: the images.
            annotations: all of them.
            numbers: of the annotation of every image, -1 where there is none.
        """
        self._path, self._records = path, records
        self._annotations, self._numbers = annotations, numbers

    def __len__(self) -> int:
        return len(self._records)

    def image(self, number: int) -> LabelledImage:
        """An image and its targets."""
        record, index = self._records[number], self._numbers[number]
        if index < 0:
            return record, []
        place = _place(self._path, index)
        entry: _Annotation = decode(self._annotations[index], _Annotation, place)
        return record, [moved_inside(target, record, place) for target in entry.segments_info]

    def record(self, number: int) -> ImageRecord:
        """An image without its targets."""
        return self._records[number]

    def have_any(self, categories: Collection[int]) -> NDArray[np.bool_]:
        """Of all images, whether a target is of these categories, and no crowd."""
        found = np.zeros(len(self), np.bool_)
        for number, index in enumerate(self._numbers):
            if index >= 0:
                kinds: Kinds = decode(self._annotations[index], Kinds, _place(self._path, index))
                found[number] = any_of(kinds.segments_info, categories)
        return found


def read_point_json(path: Path, limit: SizeLimit) -> PointLabels:
    """Reads and checks all; see :func:`point2mask.data.read_points`."""
    root = decode_json(_content(path), path, _File, LAYOUT)
    categories = categories_by_id(root.categories, path)
    records = images_by_id(root.images, path, limit)
    positions = {identity: number for number, identity in enumerate(records)}
    numbers = array("q", [-1]) * len(records)
    marks: dict[ImageId, Marks] = {}
    seen: set[ImageId] = set()
    for index, raw in enumerate(root.annotations):
        place = _place(path, index)
        entry: _Annotation = decode(raw, _Annotation, place)
        record = image_of(entry.image_id, records, seen, place)
        numbers[positions[record.id]] = index
        check_entries(entry.segments_info, categories, place)
        targets = [moved_inside(target, record, place) for target in entry.segments_info]
        check_clicks(record, targets, place)
        keep_marks(entry, record, targets, place, marks)
    file = PointJson(path, list(records.values()), root.annotations, numbers)
    return PointLabels(categories, FiledImages(file), marks)


def _place(path: Path, index: int) -> str:
    """What errors call an annotation."""
    return f"{path}: annotations[{index}]"


def _content(path: Path) -> bytes:
    """The JSON of a file, together with its journal where there is one."""
    read = partial(read_bounded, expected=LAYOUT, limit=MAX_JSON)
    if not is_local(path):  # nobody annotates there
        return read(path)
    content, changes = read_with_journal(path, read)
    return _changed(content, changes, path) if changes else content


def _changed(content: bytes, changes: Sequence[Mapping[str, Any]], path: Path) -> bytes:
    root = decode_json(content, path, dict[str, Any], LAYOUT)
    images = {entry["id"]: entry for entry in root["images"]}
    annotations = {entry["image_id"]: entry for entry in root["annotations"]}
    for change in changes:
        if "categories" in change:
            root["categories"] = change["categories"]
            continue
        image, annotation = change["image"], change["annotation"]
        images.pop(image["id"], None)
        annotations.pop(image["id"], None)
        if annotation is not None:
            images[image["id"]], annotations[image["id"]] = image, annotation
    root["images"], root["annotations"] = [*images.values()], [*annotations.values()]
    return msgspec.json.encode(root)
