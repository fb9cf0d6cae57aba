"""Clicks as Label Studio exports them: JSON of tasks with key points in percent."""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from point2mask.data.errors import DataError
from point2mask.data.files import Fields, Place, read_json_list
from point2mask.data.point_files.clicks import MAX_FILE, Click, ClickedImage, Pictures

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
    images = []
    for task in read_json_list(path, "an export of Label Studio as JSON", MAX_FILE):
        images.append(_read_task(task, pictures))
    return images


def _read_task(task: Fields, pictures: Pictures) -> ClickedImage:
    data = task.child("data")
    key = data.keys()[0] if len(data.keys()) == 1 else "image"
    name = picture_name(data.text(key))
    annotations = [
        entry for entry in task.objects("annotations") if not entry.flag("was_cancelled", False)
    ]
    if len(annotations) > 1:
        raise DataError(
            f"{Place(task.place, 'annotations')}: expected one that was not cancelled, "
            f"got {len(annotations)}"
        )
    results = [result for entry in annotations for result in entry.objects("result")]
    sizes = {_size(result, pictures) for result in results}
    if len(sizes) > 1:
        raise DataError(f"{task.place}: expected one size of the picture, got {sorted(sizes)}")
    image = pictures.find(name, Place(data.place, key), *(sizes.pop() if sizes else (None, None)))
    for number, result in enumerate(results):
        image.clicks.append(_click(result, number, image))
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


def _size(result: Fields, pictures: Pictures) -> tuple[int, int]:
    height, width = (
        result.integer(key, 1, pictures.limit.side) for key in ("original_height", "original_width")
    )
    return height, width


def _click(result: Fields, number: int, image: ClickedImage) -> Click:
    if result.text("type") != KIND:
        raise result.error("type", f"{KIND!r}, as other results are no clicks")
    if "image_rotation" in result and result.number("image_rotation", -360, 360) % 360:
        raise result.error("image_rotation", "0, as pictures are used as stored")
    value = result.child("value")
    labels = value.texts(KIND)
    if len(labels) != 1:
        raise value.error(KIND, "one label")
    x = value.number("x", 0, 100) * image.record.width / 100
    y = value.number("y", 0, 100) * image.record.height / 100
    return Click(str(value.place), x, y, labels[0], number)
