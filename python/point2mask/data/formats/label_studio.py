"""Clicks as Label Studio exports them: JSON of tasks with key points in percent."""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Meta, Struct, field

from point2mask.data.errors import DataError
from point2mask.data.formats.clicks import MAX_FILE, Click, ClickedImage, Pictures
from point2mask.data.json_files import Flag, Pixels, Text, read_json

KIND = "keypointlabels"
_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")  # what an upload puts before the name of a file


def read_label_studio(path: Path, pictures: Pictures) -> list[ClickedImage]:
    """Clicks of an export of the kind "JSON". Every click is a target of its own.

    A task must have one annotation that was not cancelled, or none. Its picture is named by the
    end of the address in ``data``: of an upload without the eight characters before the name, of a
    local file the path after ``?d=``, and else the last part.

    Raises:
        DataError: no such export, several annotations, results other than key points, or a rotated
            picture; the message names the entry.
    """
    tasks = read_json(path, list[_Task], "an export of Label Studio as JSON", MAX_FILE)
    return [_read_task(task, f"{path}: [{index}]", pictures) for index, task in enumerate(tasks)]


def _read_task(task: "_Task", place: str, pictures: Pictures) -> ClickedImage:
    key = next(iter(task.data)) if len(task.data) == 1 else "image"
    address = task.data.get(key)
    if not isinstance(address, str) or not address:
        raise DataError(f"{place}.data.{key}: expected the address of a picture, got {address!r}")
    annotations = [entry for entry in task.annotations if not entry.was_cancelled]
    if len(annotations) > 1:
        raise DataError(
            f"{place}.annotations: expected one that was not cancelled, got {len(annotations)}"
        )
    results = [
        (f"{place}.annotations.result[{index}]", result)
        for entry in annotations
        for index, result in enumerate(entry.result)
    ]
    sizes = {(result.original_height, result.original_width) for _, result in results}
    if len(sizes) > 1:
        raise DataError(f"{place}: expected one size of the picture, got {sorted(sizes)}")
    size = sizes.pop() if sizes else (None, None)
    image = pictures.find(picture_name(address), f"{place}.data.{key}", *size)
    for number, (result_place, result) in enumerate(results):
        image.clicks.append(_click(result, result_place, number, image))
    return image


def picture_name(address: str) -> str:
    """The name of a picture from the address by which Label Studio knows it."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    if local:
        return local[0]
    name = PurePosixPath(unquote(parts.path)).name
    upload = _UPLOAD.fullmatch(name)
    return upload[1] if upload and "/upload/" in parts.path else name


def _click(result: "_Result", place: str, number: int, image: ClickedImage) -> Click:
    if result.type != KIND:
        raise DataError(
            f"{place}.type: expected {KIND!r}, as other results are no clicks, got {result.type!r}"
        )
    if result.image_rotation % 360:
        raise DataError(
            f"{place}.image_rotation: expected 0, as pictures are used as stored, "
            f"got {result.image_rotation}"
        )
    value = result.value
    if len(value.keypointlabels) != 1:
        raise DataError(
            f"{place}.value.{KIND}: expected one label, got {len(value.keypointlabels)}"
        )
    x = value.x * image.record.width / 100
    y = value.y * image.record.height / 100
    return Click(f"{place}.value", x, y, value.keypointlabels[0], number)


Percent = Annotated[float, Meta(ge=0, le=100)]


class _Value(Struct):
    x: Percent
    y: Percent
    keypointlabels: list[Text] = field(default_factory=list)


class _Result(Struct):
    type: Text
    original_height: Pixels
    original_width: Pixels
    value: _Value
    image_rotation: float = 0


class _Annotated(Struct):
    result: list[_Result]
    was_cancelled: Flag = False


class _Task(Struct):
    data: dict[str, Any]
    annotations: list[_Annotated]
