"""Files from outside: paths that stay in their folder, JSON with checked fields, safe writing."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, TypeGuard, TypeVar

import msgspec

from point2mask.data.errors import DataError

Kind = TypeVar("Kind")
MAX_JSON = 2**31  # bytes; the largest published file has half a gigabyte


def check_relative(name: str, place: object) -> str:
    """``name`` if it is a relative path without ``..`` on POSIX and on Windows, else an error."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if not posix.name or "\0" in name or windows.anchor or ".." in windows.parts:
        raise DataError(f"{place}: expected a relative path inside its folder, got {name!r}")
    return name


def resolve_inside(folder: Path, name: str) -> Path:
    """``folder / name``, or an error if that leads out of the folder, be it by a symbolic link."""
    check_relative(name, folder)
    try:
        path = (folder / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{folder / name}: cannot be resolved ({error})") from error
    if not path.is_relative_to(folder.resolve()):
        raise DataError(f"{folder / name}: expected a file inside {folder}, but it leads to {path}")
    return path


@contextmanager
def open_regular(path: Path, expected: str) -> Iterator[BinaryIO]:
    """Opens an ordinary file for reading; ``expected`` says in errors what it should have held."""
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise DataError(f"{path}: expected {expected}, but it is not an ordinary file")
        file = path.open("rb")
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: expected {expected}, but it cannot be read ({reason})") from error
    with file:
        yield file


@contextmanager
def open_replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a file beside ``path`` for writing and renames it to ``path`` if all went well."""
    if path.is_dir():  # renaming would fail with the name of the temporary file
        raise DataError(f"{path}: expected the name of a file to write, but it is a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as file:
            yield file
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def link_or_copy(source: Path, target: Path) -> None:
    """Makes ``target`` a second name of the file ``source``, or a copy where that cannot be.

    A hard link takes no room, and unlike a symbolic one it outlives its source. It must not be
    written into; everything here writes beside and renames.
    """
    if target.is_dir():
        raise DataError(f"{target}: expected the name of a file to write, but it is a folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        os.link(source, beside)
    except OSError:  # another file system, one without links, or a file of somebody else
        with source.open("rb") as original, open_replacing(target) as file:
            shutil.copyfileobj(original, file)
        return
    try:
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)  # renaming to another name of the same file does nothing


def write_json(path: Path, value: object) -> None:
    """Writes compact UTF-8 JSON atomically; NaN and infinity are errors."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    with open_replacing(path) as file:
        file.write(text.encode())
        file.write(b"\n")


def read_bounded(path: Path, expected: str, limit: int) -> bytes:
    """The bytes of an ordinary file; more than ``limit`` of them are an error."""
    with open_regular(path, expected) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise DataError(f"{path}: expected {expected} of at most {limit} bytes, got more")
    return content


def read_json(path: Path, layout: str, limit: int = MAX_JSON) -> "Fields":
    """The JSON object in a file; ``layout`` names in errors what the file should have been."""
    value = _parse_json(path, layout, limit)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected {layout}, got a JSON {_kind(value)}")
    return Fields(value, Place(str(path)))


def read_json_list(path: Path, layout: str, limit: int = MAX_JSON) -> "Iterator[Fields]":
    """The JSON objects of a file that holds a list of them."""
    value = _parse_json(path, layout, limit)
    if not isinstance(value, list):
        raise DataError(f"{path}: expected {layout}, a list of objects, got a JSON {_kind(value)}")
    return Fields({"entry": value}, Place(str(path))).objects("entry")


def _parse_json(path: Path, layout: str, limit: int) -> object:
    def reject(constant: str) -> float:
        raise ValueError(f"{constant} is no JSON number")

    content = read_bounded(path, layout, limit)
    try:
        return json.loads(content, parse_constant=reject)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected {layout}, but it is not valid JSON ({error})") from error


class Place:
    """Where in a file something stands; the text is only made for an error."""

    __slots__ = ("_index", "_key", "_parent")

    def __init__(self, parent: "Place | str", key: str = "", index: int | None = None) -> None:
        self._parent, self._key, self._index = parent, key, index

    def __str__(self) -> str:
        if not self._key:
            return str(self._parent)
        # The first step below the file is set off by a colon, the others by dots.
        nested = isinstance(self._parent, Place) and bool(self._parent._key)
        index = "" if self._index is None else f"[{self._index}]"
        return f"{self._parent}{'.' if nested else ': '}{self._key}{index}"


class Fields:
    """A JSON object whose entries are read with checks; errors name the file and the entry."""

    __slots__ = ("_data", "place")

    def __init__(self, data: dict[str, object], place: Place) -> None:
        self._data = data
        self.place = place

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def error(self, key: str, expected: str) -> DataError:
        got = _show(self._data[key]) if key in self._data else "nothing"
        return DataError(f"{Place(self.place, key)}: expected {expected}, got {got}")

    def integer(self, key: str, low: int, high: int) -> int:
        value = self._data.get(key)
        if type(value) is not int or not low <= value <= high:
            raise self.error(key, f"an integer in [{low}, {high}]")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        value = self._data.get(key, default)
        if not isinstance(value, bool | int) or value not in (0, 1):
            raise self.error(key, "0 or 1")
        return bool(value)

    def size(self, key: str) -> float | None:
        """A finite number >= 0, or None where there is none."""
        value = self._data.get(key)
        if value is None:
            return None
        if not _is_number(value) or value < 0:
            raise self.error(key, "a number >= 0")
        return value

    def text(self, key: str) -> str:
        value = self._data.get(key)
        if not isinstance(value, str) or not _is_text(value):
            raise self.error(key, "a non-empty string without control characters")
        return value

    def relative_path(self, key: str) -> str:
        return check_relative(self.text(key), Place(self.place, key))

    def identifier(self, key: str) -> int | str:
        value = self._data.get(key)
        if type(value) is int and -(2**63) <= value < 2**63:
            return value
        if isinstance(value, str) and _is_text(value):
            return value
        raise self.error(key, "a 64-bit integer or a string without control characters")

    def color(self, key: str) -> tuple[int, int, int] | None:
        """Red, green and blue in [0, 255], or None where there is none."""
        value = self._data.get(key)
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or len(value) != 3
            or not all(type(part) is int and 0 <= part <= 255 for part in value)
        ):
            raise self.error(key, "a list of 3 integers in [0, 255]")
        return value[0], value[1], value[2]

    def pairs(self, key: str) -> list[list[float]]:
        value = self._data.get(key)
        if not isinstance(value, list) or not all(_is_numbers(pair, 2) for pair in value):
            raise self.error(key, "a list of [x, y]")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self._data.get(key)
        if not _is_number(value) or not low <= value <= high:
            raise self.error(key, f"a number in [{low}, {high}]")
        return float(value)

    def integers(self, key: str, low: int, high: int) -> list[int]:
        value = self._data.get(key)
        if not isinstance(value, list) or not all(
            type(part) is int and low <= part <= high for part in value
        ):
            raise self.error(key, f"a list of integers in [{low}, {high}]")
        return value

    def texts(self, key: str) -> list[str]:
        value = self._data.get(key)
        if not isinstance(value, list) or not all(
            isinstance(part, str) and _is_text(part) for part in value
        ):
            raise self.error(key, "a list of non-empty strings without control characters")
        return value

    def number_lists(self, key: str) -> list[list[float]]:
        value = self._data.get(key)
        if not isinstance(value, list) or not all(
            isinstance(part, list) and all(map(_is_number, part)) for part in value
        ):
            raise self.error(key, "a list of lists of numbers")
        return value

    def convert(self, kind: type[Kind]) -> Kind:
        """The entries that a msgspec struct names, checked by its types."""
        try:
            return msgspec.convert(self._data, kind)
        except msgspec.ValidationError as error:
            raise DataError(f"{self.place}: {error}") from error

    def keys(self) -> list[str]:
        return list(self._data)

    def has(self, key: str, kind: type) -> bool:
        """Whether there is an entry that is a ``dict``, a ``list``, a ``str``..."""
        return isinstance(self._data.get(key), kind)

    def child(self, key: str) -> "Fields":
        value = self._data.get(key)
        if not isinstance(value, dict):
            raise self.error(key, "an object")
        return Fields(value, Place(self.place, key))

    def objects(self, key: str) -> "Iterator[Fields]":
        value = self._data.get(key)
        if not isinstance(value, list):
            raise self.error(key, "a list of objects")
        for index, entry in enumerate(value):
            place = Place(self.place, key, index)
            if not isinstance(entry, dict):
                raise DataError(f"{place}: expected an object, got {_show(entry)}")
            yield Fields(entry, place)


# Control characters would reach a terminal; lone surrogates cannot be written as UTF-8.
_UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")


def check_text(value: str, place: object) -> str:
    """``value`` if it is not empty and can be printed, else an error."""
    if not _is_text(value):
        raise DataError(f"{place}: expected text without control characters, got {_show(value)}")
    return value


def _is_text(value: str) -> bool:
    return bool(value) and not _UNPRINTABLE.search(value)


def _is_number(value: object) -> TypeGuard[float]:
    return type(value) in (int, float) and abs(value) < 1e18  # type: ignore[arg-type]


def _is_numbers(value: object, count: int) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == count and all(map(_is_number, value))


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "list"
    if isinstance(value, dict):
        return "object"
    return "string" if isinstance(value, str) else "value"


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
