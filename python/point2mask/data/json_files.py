"""JSON from outside, read by types: msgspec decodes and checks in one go, errors name the entry.

A layout is a :class:`msgspec.Struct`; what it does not name is stepped over. Ranges stand in the
types below, so that every reader has the same.
"""

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from point2mask.data.errors import DataError
from point2mask.data.files import as_utf8, one_line, read_bounded
from point2mask.messages import shown

MAX_JSON = 2**31  # bytes; the largest published file has half a gigabyte
MAX_ID = 2**31 - 1  # of a category
MAX_IDENTIFIER = 2**63 - 1  # of an image
MAX_SEGMENT_ID = 2**24 - 1  # what R + 256 G + 65536 B can hold; 0 is void

Kind = TypeVar("Kind")

# Control characters would reach a terminal, lone surrogates cannot be written as UTF-8.
TEXT = r"\A[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+\Z"
Text = Annotated[str, Meta(pattern=TEXT)]
Identifier = Annotated[int, Meta(ge=-(2**63), le=MAX_IDENTIFIER)] | Text
CategoryId = Annotated[int, Meta(ge=0, le=MAX_ID)]
SegmentId = Annotated[int, Meta(ge=1, le=MAX_SEGMENT_ID)]
Pixels = Annotated[int, Meta(ge=1, le=MAX_ID)]  # of a side
# Pixels of a segment; infinity, which JSON cannot hold, is none.
Area = (
    Annotated[int, Meta(ge=0, le=MAX_ID**2)] | Annotated[float, Meta(ge=0, le=float(MAX_ID) ** 2)]
)
Flag = bool | Annotated[int, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Byte = Annotated[int, Meta(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]  # red, green, blue
Point = tuple[float, float]  # x, y

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_NAMES = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def read_json(path: Path, kind: type[Kind], layout: str, limit: int = MAX_JSON) -> Kind:
    """The content of a JSON file as ``kind``.

    Args:
        path: the file.
        kind: a type that msgspec decodes to.
        layout: what the file should have been, for errors.
        limit: bytes.

    Raises:
        DataError: not readable, too large, no JSON (NaN and infinity are none), or not of the
            layout; the message names the entry, what was expected and what was found.
    """
    return decode_json(read_bounded(path, layout, limit), path, kind, layout)


def decode_json(content: bytes, path: object, kind: type[Kind], layout: str) -> Kind:
    """The content of a file as ``kind``; see :func:`read_json`."""
    content = as_utf8(content)
    try:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.ValidationError as error:
            # Behind the wrong entry the text may be no JSON at all, which is the worse fault.
            msgspec.json.decode(content, type=msgspec.Raw)
            raise _refusal(error, content, f"{path}: ", layout) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: expected {layout}, but {_fault(error, content)}") from error


def decode(raw: msgspec.Raw, kind: Any, place: object) -> Any:
    """A part of a file that was left as it is, as ``kind``; ``place`` names the part in errors."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise _refusal(error, bytes(raw), str(place)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{place}: expected JSON, but {_fault(error, bytes(raw))}") from error


def convert(value: object, kind: type[Kind], place: object) -> Kind:
    """A value of plain lists and mappings as ``kind``; errors as those of :func:`read_json`."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _refusal(error, value, f"{place}: ") from error
    except UnicodeEncodeError as error:  # half of a character, which Python's own JSON lets pass
        raise DataError(
            f"{place}: expected text in whole characters, got {shown(error.object)}"
        ) from error


def _refusal(
    error: msgspec.ValidationError, content: object, prefix: str, layout: str = ""
) -> DataError:
    """What a person should know of a fault: the entry, what was expected there and what was found.

    ``prefix`` ends in a colon and a space, or is the path of the part that ``content`` is.
    """
    message, _, steps = str(error).partition(" - at `")
    steps = steps.rstrip("`").removeprefix("key in ").removeprefix("$")
    got = _found(content, steps)
    missing = re.fullmatch(r"Object missing required field `(.*)`", message)
    if missing:
        return DataError(f"{_join(prefix, f'{steps}.{missing[1]}')}: expected an entry, got none")
    if layout and not steps:
        inside = ", a list of objects" if message.startswith("Expected `array`") else ""
        return DataError(f"{prefix}expected {layout}{inside}, got a JSON {_kind(got)}")
    return DataError(f"{_join(prefix, steps)}: {_expected(message)}, got {_shown(got)}")


def _join(prefix: str, steps: str) -> str:
    return f"{prefix}{steps.lstrip('.')}" if prefix.endswith(" ") else f"{prefix}{steps}"


def _kind(value: object) -> str:
    names: dict[type, str] = {dict: "object", list: "list", str: "string"}
    return names.get(type(value), "value")


def _expected(message: str) -> str:
    """What msgspec says was expected, in words."""
    wanted = message.partition(", got ")[0]
    if message.startswith("Invalid enum value"):  # all of which it repeats, however long it is
        return "expected one of the values that are known there"
    if " matching regex" in wanted:
        return "expected text that is not empty and without control characters"
    wanted = re.sub(
        r"`([^`]*)`",
        lambda match: " or ".join(_NAMES.get(part, part) for part in match[1].split(" | ")),
        wanted,
    )
    wanted = wanted[:1].lower() + wanted[1:]
    # A flag, and msgspec's remark on a number that it cannot hold.
    wanted = wanted.replace("true or false or an integer", "0 or 1")
    return "expected a smaller number" if wanted.endswith("out of range") else wanted


def _shown(value: object) -> str:
    if value is ...:
        return "another value"
    if isinstance(value, bytes):
        return f"{one_line(value[:40].decode('utf-8', 'replace'))}..."
    if isinstance(value, dict):
        return "an object"
    return shown(value)


def _found(content: Any, steps: str) -> object:
    """The value at a path, or ``...`` where other faults of the file hide it."""
    try:
        return _at(content, steps)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError):
        return ...


def _at(content: Any, steps: str) -> object:
    """One level at a time: what lies beside the path is not decoded."""
    raw = isinstance(content, bytes)
    value: Any = msgspec.Raw(content) if raw else content
    for match in _STEP.finditer(steps):
        if match[2] == "...":
            return ...
        if match[2]:
            value = (msgspec.json.decode(value, type=list[msgspec.Raw]) if raw else value)[
                int(match[2])
            ]
        else:
            value = (msgspec.json.decode(value, type=dict[str, msgspec.Raw]) if raw else value)[
                match[1]
            ]
    try:
        return msgspec.json.decode(value) if raw else value
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bytes(value)  # a number too large, lists nested too deep, text that is not UTF-8


def _fault(error: Exception, content: bytes) -> str:
    """Why a text cannot be decoded; msgspec's remark with a bit of the text that it speaks of."""
    if isinstance(error, RecursionError):
        return "its lists are nested too deep"
    # msgspec 0.23 has an error of its own for it, which names no byte.
    if isinstance(error, UnicodeDecodeError) or "UTF-8" in str(error):
        return "it is not UTF-8"
    match = re.search(r"\(byte (\d+)\)", str(error))
    near = match and f": {content[int(match[1]) :][:20].decode('utf-8', 'replace')!r}"
    return f"it is not valid JSON ({error}{near or ''})"
