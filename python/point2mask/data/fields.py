"""Nested dataclasses from plain values (YAML, JSON) with checked keys and types, and back."""

import difflib
import math
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from point2mask.data.errors import DataError

T = TypeVar("T")
VARIANT = "architecture"  # the field, a Literal of one value, that tells dataclasses apart
# YAML 1.1 takes 1e-4 for text, as it wants a dot; JSON has no infinity.
_NUMBER = re.compile(r"[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf)")


def parse(kind: type[T], value: object, place: str = "") -> T:
    """An instance of a dataclass from a mapping; ``place`` is the path of its key.

    Raises:
        DataError: an unknown or a missing key, a value of another type, or one that the dataclass
            itself refuses. The message has the full path of the key.
    """
    if not isinstance(value, Mapping):
        raise DataError(f"{place or 'configuration'}: expected keys and values, got {value!r}")
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            variant = f" of {VARIANT} {known[VARIANT].default}" if VARIANT in known else ""
            raise DataError(_unknown(_join(place, str(key)), str(key), list(known), variant))
    for name, entry in known.items():
        if name not in value and entry.default is MISSING and entry.default_factory is MISSING:
            raise DataError(f"{_join(place, name)}: expected a value, got none")
    hints = get_type_hints(kind)
    arguments = {
        key: _convert(hints[key], entry, _join(place, key)) for key, entry in value.items()
    }
    try:
        return kind(**arguments)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{place or 'configuration'}: {error}") from error


def to_plain(value: object) -> Any:
    """The opposite of :func:`parse`: mappings, lists, numbers, text and None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: to_plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, tuple):
        return [to_plain(part) for part in value]
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value


def flatten(value: object, place: str = "") -> dict[str, object]:
    """Plain values by the paths of their keys."""
    if not isinstance(value, Mapping):
        return {place: value}
    parts = (flatten(entry, _join(place, str(key))) for key, entry in value.items())
    return {path: leaf for part in parts for path, leaf in part.items()}


def override(values: dict[str, Any], path: str, value: object) -> None:
    """Sets ``a.b.c`` in nested mappings, which are made where there are none."""
    *parents, last = path.split(".")
    for depth, key in enumerate(parents, start=1):
        if values.get(key) is None:
            values[key] = {}
        values = values[key]
        if not isinstance(values, dict):
            raise DataError(f"{path}: {'.'.join(parents[:depth])} is a value and has no keys")
    values[last] = value


def _unknown(path: str, key: str, known: Sequence[str], variant: str) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if close:
        hint = f"did you mean {close[0]!r}?"
    else:
        hint = f"known here: {', '.join(known)}"
    return f"{path}: unknown key{variant}; {hint}"


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _convert(kind: Any, value: object, place: str) -> object:
    """A value as the type that a field asks for."""
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return parse(kind, value, place)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        kinds = [part for part in parts if part is not type(None)]
        return _convert(_variant(kinds, value, place), value, place)
    if origin is Literal:
        if value in parts and type(value) in map(type, parts):
            return value
        raise DataError(f"{place}: expected one of {', '.join(map(str, parts))}, got {value!r}")
    if origin is tuple:
        return _convert_tuple(parts, value, place)
    if kind is float and isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        names = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
        raise DataError(f"{place}: expected {names.get(kind, kind)}, got {value!r}")
    return value


def _variant(kinds: list[Any], value: object, place: str) -> Any:
    """Of several dataclasses the one whose :data:`VARIANT` the value names, else the first."""
    if len(kinds) == 1 or not isinstance(value, Mapping) or VARIANT not in value:
        return kinds[0]
    names = [get_args(get_type_hints(kind)[VARIANT])[0] for kind in kinds]
    if value[VARIANT] in names:
        return kinds[names.index(value[VARIANT])]
    place = _join(place, VARIANT)
    raise DataError(f"{place}: expected one of {', '.join(names)}, got {value[VARIANT]!r}")


def _convert_tuple(parts: tuple[Any, ...], value: object, place: str) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise DataError(f"{place}: expected a list, got {value!r}")
    if parts[-1] is Ellipsis:
        parts = parts[:1] * len(value)
    if len(parts) != len(value):
        raise DataError(f"{place}: expected a list of {len(parts)}, got {len(value)} entries")
    pairs = enumerate(zip(parts, value, strict=True))
    return tuple(_convert(part, entry, f"{place}[{i}]") for i, (part, entry) in pairs)
