"""Clicks as Label Studio exports them: JSON of tasks with key points in percent."""

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from msgspec import Meta, Struct, field

from point2mask.data.errors import DataError
from point2mask.data.files import check_text
from point2mask.data.formats.pictures import MAX_FILE, Click, ClickedImage, Pictures
from point2mask.data.json_files import Flag, Pixels, Text, decode, read_json
from point2mask.data.png import PICTURE_SUFFIXES
from point2mask.messages import shown

KIND = "keypointlabels"
_UPLOAD = re.compile(r"[0-9a-f]{8}-(.+)")  # what an upload puts before the name of a file
_DRIVE = re.compile(r"^/?[A-Za-z]:/")  # of Windows
MAX_PERCENT = 1e6  # beside which a coordinate is no place near any picture


class _Value(Struct):
    x: Annotated[float, Meta(ge=-MAX_PERCENT, le=MAX_PERCENT)]
    y: Annotated[float, Meta(ge=-MAX_PERCENT, le=MAX_PERCENT)]
    keypointlabels: list[Text] = field(default_factory=list)


class _Result(Struct):
    """Of any kind; only key points are looked at."""

    type: str = ""
    to_name: str = ""  # which picture of the task it is on
    original_height: Pixels | None = None
    original_width: Pixels | None = None
    value: msgspec.Raw = msgspec.Raw(b"null")
    image_rotation: float = 0


class _Annotated(Struct):
    result: list[_Result]
    was_cancelled: Flag = False
    ground_truth: Flag = False


class _Task(Struct):
    data: dict[str, Any] | None = None
    annotations: list[_Annotated] | None = None
    completions: list[_Annotated] | None = None  # their name until 2020
    predictions: list[Any] | None = None  # of a network
    drafts: list[Any] | None = None  # that nobody has submitted


def read_label_studio(path: Path, pictures: Pictures) -> list[ClickedImage]:
    """Clicks of an export of the kind "JSON". Every click is a target of its own.

    Of the annotations of a task that were not cancelled, the one marked as ground truth counts,
    else the last; others are left out, as are results that are no key points, and where nothing is
    annotated predictions and drafts. The picture's address
    is what ``data`` has as ``image``, else its only entry that is a path of a picture. The picture
    is looked for by the whole path and by its end, of an upload also without the eight characters
    before the name and with the spaces and signs that an upload loses; of a local file the path is
    what follows ``?d=``. Clicks are on the picture as
    viewers show it; where a file gives no sizes, those of the pictures are taken.

    Raises:
        DataError: no such export, or a picture turned in Label Studio; the message names the entry.
    """
    tasks = read_json(path, list[_Task], "an export of Label Studio as JSON", MAX_FILE)
    addresses: dict[int, tuple[str, list[str]]] = {}
    for index, task in enumerate(tasks):
        place = f"{path}: [{index}]"
        try:
            key = _picture_key(task, place)
            addresses[index] = f"{place}.data.{key}", picture_names(_text(task, key, place))
        except DataError as error:
            pictures.report.broken(error, "tasks")
    # Without a folder to look in, pictures of one name in several folders are told apart by these.
    last = Counter(names[-1] for _, names in addresses.values())
    images = []
    for index, (place, names) in addresses.items():
        if pictures.folder is None and last[names[-1]] > 1:
            names = names[:1]
        try:
            images.append(_read_task(tasks[index], f"{path}: [{index}]", place, names, pictures))
        except DataError as error:
            pictures.report.broken(error, "tasks")
    return images


def _picture_key(task: _Task, place: str) -> str:
    """The entry of ``data`` that has the address of the picture."""
    if task.data is None:
        raise DataError(
            f"{place}: expected a task with data, as the export JSON has it, not JSON-MIN; got none"
        )
    if "image" in task.data or not task.data:
        return "image"
    if len(task.data) == 1:
        return next(iter(task.data))
    found = [key for key, value in task.data.items() if _is_picture(value)]
    if len(found) != 1:
        raise DataError(
            f"{place}.data: expected an image, or one entry that is the path of a picture, got "
            f"{', '.join(found or task.data)}"
        )
    return found[0]


def _text(task: _Task, key: str, place: str) -> str:
    address = (task.data or {}).get(key)
    if not isinstance(address, str) or not address or address.startswith("data:"):
        raise DataError(
            f"{place}.data.{key}: expected the address of a picture, got {shown(address)}"
        )
    return check_text(address, f"{place}.data.{key}")


def _is_picture(value: object) -> bool:
    return isinstance(value, str) and any(
        path.lower().endswith(PICTURE_SUFFIXES) for path in _paths_of(value)
    )


def _paths_of(address: str) -> list[str]:
    """The path in an address, of a local file that after ``?d=``, by all that it may mean.

    In addresses of the web ``%``, ``?`` and ``#`` have their meaning. Keys of stores and plain
    names have them as they are, but for some that were written by people.
    """
    try:
        parts = urlsplit(address)
    except ValueError:  # of brackets that are no IPv6 address: a name, no address
        return [address]
    if local := parse_qs(parts.query).get("d"):
        with_plus = parse_qs(parts.query.replace("+", "%2B"))["d"]  # where it was not encoded
        return list(dict.fromkeys(map(_plain, (local[0], with_plus[0]))))
    decoded = unquote(parts.path)
    if parts.scheme in ("http", "https") or address.startswith("/"):
        return [_plain(decoded)]
    raw = address.partition("://")[2].partition("/")[2] or address
    found = [raw, unquote(raw)]
    if decoded.lower().endswith(PICTURE_SUFFIXES):  # and not the half of a name with a "#"
        found.append(decoded)
    return list(dict.fromkeys(map(_plain, found)))


def _plain(path: str) -> str:
    return _DRIVE.sub("", path.replace("\\", "/")).strip("/")


def picture_names(address: str) -> list[str]:
    """What a picture may be called that Label Studio knows by an address, the plain name last."""
    paths = _paths_of(address)
    if uploaded := _uploaded(paths[0]):
        return [*paths, uploaded]
    return paths if "?d=" in address else [*paths, *(PurePosixPath(p).name for p in paths[::-1])]


def _uploaded(path: str) -> str:
    """The name of a file that was uploaded, as Label Studio has it; empty of other paths."""
    found = _UPLOAD.fullmatch(PurePosixPath(path).name)
    return found[1] if found and "upload/" in path else ""


def _read_task(
    task: _Task, place: str, name_place: str, names: list[str], pictures: Pictures
) -> ClickedImage:
    results = _results(task, place, pictures)
    sizes = {(r.original_height, r.original_width) for _, r in results} - {(None, None)}
    if len(sizes) > 1:
        raise DataError(f"{place}: expected one size of the picture, got {sorted(map(str, sizes))}")
    if len(shown_on := {result.to_name for _, result in results}) > 1:
        raise DataError(
            f"{place}: expected key points on one picture, got such on several: "
            f"{', '.join(map(shown, sorted(shown_on)))}"
        )
    size = sizes.pop() if sizes else (None, None)
    image = pictures.find(names, name_place, "label-studio", size, _uploaded(names[0]))
    for number, (result_place, result) in enumerate(results):
        image.clicks.append(_click(result, result_place, number, image))
    return image


def _results(task: _Task, place: str, pictures: Pictures) -> list[tuple[str, _Result]]:
    """The key points of the one annotation that counts, with their places."""
    name = "annotations" if task.completions is None else "completions"
    entries = task.annotations if task.completions is None else task.completions
    if entries is None:
        raise DataError(f"{place}.annotations: expected an entry, got none")
    valid = []
    for index, entry in enumerate(entries):
        if not entry.was_cancelled:
            valid.append(index)
        elif entry.result:
            pictures.report.leave_out("annotations that were cancelled", f"{place}.{name}[{index}]")
    if not valid:
        for kind, unread in (("predictions", task.predictions), ("drafts", task.drafts)):
            if unread:
                pictures.report.leave_out(
                    f"{kind} of tasks that have no annotation", f"{place}.{kind}"
                )
        return []
    marked = [index for index in valid if entries[index].ground_truth]
    chosen = (marked or valid)[-1]
    for index in valid:
        if index != chosen:
            pictures.report.leave_out(
                "annotations of tasks that have another", f"{place}.{name}[{index}]"
            )
    found = []
    for index, result in enumerate(entries[chosen].result):
        at = f"{place}.{name}[{chosen}].result[{index}]"
        if result.type == KIND:
            found.append((at, result))
        else:
            kind = result.type if result.type.isprintable() else ascii(result.type)
            pictures.report.leave_out(f"results of the kind {kind[:40]}, which are no clicks", at)
    return found


def _click(result: _Result, place: str, number: int, image: ClickedImage) -> Click:
    if result.image_rotation % 360:
        raise DataError(
            f"{place}.image_rotation: expected 0, as it was not turned in the file, "
            f"got {result.image_rotation}"
        )
    value: _Value = decode(result.value, _Value, f"{place}.value")
    if len(value.keypointlabels) != 1:
        raise DataError(
            f"{place}.value.{KIND}: expected one label, got {len(value.keypointlabels)}"
        )
    height, width = image.size
    x, y = value.x * width / 100, value.y * height / 100
    return Click(f"{place}.value", x, y, value.keypointlabels[0], number)
