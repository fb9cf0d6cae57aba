"""Nested dataclasses from plain values (YAML, JSON) with checked keys and values, and back."""

import math
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from point2mask.data.errors import DataError
from point2mask.messages import cut, did_you_mean, shown
from point2mask.ranges import fault, hints

T = TypeVar("T")
# The field, a Literal of one value, that tells dataclasses apart. Parts side by side are of one:
# what one of them names holds for the others.
VARIANT = "architecture"
# YAML 1.1 takes 1e-4 for text, as it wants a dot; JSON has no infinity.
# Without ways back: long digits that end in something else take no time.
_NUMBER = re.compile(r"[-+]?((\d++(\.\d*+)?|\.\d++)([eE][-+]?\d++)?|inf)")


def parse(kind: type[T], value: object, place: str = "", variant: object = None) -> T:
    """An instance of a dataclass from a mapping.

    Args:
        kind: the dataclass.
        value: the mapping.
        place: the path of its key.
        variant: the :data:`VARIANT` where the mapping names none.

    Raises:
        DataError: an unknown or a missing key, or a value that the dataclass does not allow. The
            message begins with the full path of the key.
    """
    if not isinstance(value, Mapping):
        raise DataError(f"{place or 'configuration'}: expected keys and values, got {shown(value)}")
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            raise DataError(_unknown(_join(place, key), key, known))
    named = [x[VARIANT] for x in value.values() if isinstance(x, Mapping) and VARIANT in x]
    variant = named[0] if named else variant
    arguments = {}
    for name, hint in hints(kind).items():
        entry, path = known[name], _join(place, name)
        if name in value:
            arguments[name] = _convert(hint, value[name], path, variant)
        elif len(_dataclasses(hint)) > 1:
            arguments[name] = _convert(hint, {}, path, variant)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise DataError(f"{path}: expected a value, got none")
        else:
            continue
        if found := fault(hint, arguments[name]):
            raise DataError(f"{path}{found}")
    try:
        return kind(**arguments)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{place}.{error}" if place else str(error)) from error


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
    parts = (flatten(entry, _join(place, key)) for key, entry in value.items())
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


def _unknown(path: str, key: object, known: Mapping[str, Any]) -> str:
    variant = f" of {VARIANT} {known[VARIANT].default}" if VARIANT in known else ""
    hint = did_you_mean(key, list(known)) or f"; known here: {', '.join(known)}"
    return f"{cut(path)}: unknown key{variant}{hint}"


def _join(place: str, key: object) -> str:
    text = key if isinstance(key, str) and key.isidentifier() else shown(key)
    return f"{place}.{text}" if place else text


def _dataclasses(kind: Any) -> list[Any]:
    """The dataclasses that a field may hold one of."""
    parts = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return [part for part in parts if is_dataclass(part)]


def _convert(kind: Any, value: object, place: str, variant: object) -> object:
    """A value as a field has it: lists as tuples, mappings as dataclasses, numbers as floats.

    What is none of them stays as it is, for :func:`~point2mask.ranges.fault` to name.
    """
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    parts = get_args(kind)
    if kinds := _dataclasses(kind):
        if value is None and type(None) in parts:
            return None
        chosen = _variant(kinds, value, place, variant)
        return parse(chosen, value, place, variant)
    if get_origin(kind) in (Union, types.UnionType):
        return None if value is None else _convert(parts[0], value, place, variant)
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        every = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        if len(every) != len(value):
            raise DataError(f"{place}: expected a list of {len(every)}, got {len(value)} entries")
        pairs = enumerate(zip(every, value, strict=True))
        return tuple(_convert(part, x, f"{place}[{i}]", variant) for i, (part, x) in pairs)
    number = isinstance(value, str) and _NUMBER.fullmatch(value)
    if kind is float and (number or type(value) is int):
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            return value
    return value


def _variant(kinds: list[Any], value: object, place: str, variant: object) -> Any:
    """Of several dataclasses the one that :data:`VARIANT` names, else the first."""
    given = isinstance(value, Mapping) and VARIANT in value
    if len(kinds) == 1 or (variant is None and not given):
        return kinds[0]
    variant = value[VARIANT] if isinstance(value, Mapping) and given else variant
    names = [get_args(hints(kind)[VARIANT])[0] for kind in kinds]
    if variant in names:
        return kinds[names.index(variant)]
    hint = did_you_mean(variant, names)
    known = ", ".join(names)
    raise DataError(f"{_join(place, VARIANT)}: expected one of {known}, got {shown(variant)}{hint}")
