"""What the fields of a configuration may hold, said in their types and checked when one is made.

A number has its :class:`Range`, text and lists have their :class:`Length`, a choice is a
``Literal``::

    @dataclass(frozen=True, kw_only=True)
    class Schedule(Checked):
        epochs: Annotated[int, Range(1, 10_000)] = 24
        precision: Literal["float32", "bfloat16"] = "float32"
"""

import types
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from point2mask.messages import did_you_mean, shown

_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
_hints: dict[type, dict[str, Any]] = {}  # of dataclasses: worked out once


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, without an end that is open."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False
    odd: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and not (self.odd and value % 2 == 0)

    def __str__(self) -> str:
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        odd = "that is odd, " if self.odd else ""
        return f"{odd}in {left}{self.low:.12g}, {self.high:.12g}{right}"


@dataclass(frozen=True)
class Length:
    """How many characters or entries there are."""

    low: int
    high: int


Share = Annotated[float, Range(0, 1)]
Weight = Annotated[float, Range(0, 1e6)]
Count = Annotated[int, Range(1, 10**9)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
PathText = Annotated[str, Length(1, 4096)]


class Checked:
    """A dataclass that refuses values which the types of its fields do not allow.

    What several fields are together is checked in :meth:`check`. The text of the ``ValueError``
    begins with the path of the field and a colon.
    """

    def __post_init__(self) -> None:
        for name, kind in hints(type(self)).items():
            if found := fault(kind, getattr(self, name)):
                raise ValueError(f"{name}{found}")
        self.check()

    def check(self) -> None:
        """Raises a ``ValueError`` where values do not go together."""


def hints(kind: type) -> dict[str, Any]:
    """The types of a dataclass' fields with all that is said about them."""
    if kind not in _hints:
        found = get_type_hints(kind, include_extras=True)
        _hints[kind] = {entry.name: found[entry.name] for entry in fields(kind)}
    return _hints[kind]


class Fault(NamedTuple):
    """What is wrong with a value: as text, what follows on the path of its field."""

    expected: str
    value: object
    path: str = ""  # inside of the field
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, got {shown(self.value)}{self.hint}"


def fault(kind: Any, value: object) -> Fault | None:
    """What is wrong with a value of a type that may be annotated."""
    if get_origin(kind) is Annotated:
        kind, *limits = get_args(kind)
        return fault(kind, value) or _beyond(kind, limits, value)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        faults = [fault(part, value) for part in parts if part is not type(None)]
        right = None in faults or (value is None and type(None) in parts)
        return None if right else faults[0]
    if origin is Literal:
        if any(value == part and type(value) is type(part) for part in parts):
            return None
        names = [str(part) for part in parts]
        return Fault(f"one of {', '.join(names)}", value, hint=did_you_mean(value, names))
    if origin is tuple:
        return _tuple_fault(parts, value)
    wanted = (int, float) if kind is float else kind
    if isinstance(value, wanted) and (kind is bool or not isinstance(value, bool)):
        return None
    return Fault(_NAMES.get(kind, getattr(kind, "__name__", str(kind))), value)


def _beyond(kind: Any, limits: Sequence[object], value: Any) -> Fault | None:
    """What is wrong with a value of the right type that has limits."""
    for limit in limits:
        if isinstance(limit, Range) and value not in limit:
            return Fault(f"{_NAMES[kind]} {limit}", value)
        if isinstance(limit, Length):
            if not limit.low <= len(value) <= limit.high:
                what = "text of {} to {} characters" if kind is str else "a list of {} to {}"
                return Fault(what.format(limit.low, limit.high), value)
            if kind is str and not value.isprintable():
                return Fault("text without control characters", value)
    return None


def _tuple_fault(parts: tuple[Any, ...], value: object) -> Fault | None:
    if not isinstance(value, tuple):
        return Fault("a list", value)
    if parts[-1] is Ellipsis:
        parts = parts[:1] * len(value)
    if len(parts) != len(value):
        return Fault(f"a list of {len(parts)}", value)
    for index, (part, entry) in enumerate(zip(parts, value, strict=True)):
        if found := fault(part, entry):
            return found._replace(path=f"[{index}]{found.path}")
    return None
