"""Lists too long to hold: sequences that are computed entry by entry, and repetition in them."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Source = TypeVar("Source")
Value = TypeVar("Value")


class Mapped(Sequence[Value], Generic[Source, Value]):
    """``function`` of every entry of a sequence, called whenever an entry is asked for."""

    def __init__(self, function: Callable[[Source], Value], source: Sequence[Source]) -> None:
        self._function, self._source = function, source

    def __len__(self) -> int:
        return len(self._source)

    @overload
    def __getitem__(self, index: int) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> "Mapped[Source, Value]": ...
    def __getitem__(self, index: int | slice) -> "Value | Mapped[Source, Value]":
        if isinstance(index, slice):
            return Mapped(self._function, self._source[index])
        return self._function(self._source[index])


def first_repeated(
    values: Iterable[Hashable], again: Callable[[int], Hashable]
) -> tuple[int, int] | None:
    """The positions of the first value that has come before, and of what it repeats.

    Eight bytes are kept of every value.

    Args:
        values: all of them.
        again: the value at a position, asked for those few whose hashes are equal.
    """
    return first_repeated_hash(np.fromiter(map(hash, values), np.int64), again)


def first_repeated_hash(
    hashes: NDArray[np.int64], again: Callable[[int], Hashable]
) -> tuple[int, int] | None:
    """The same of values whose hashes ``[N]`` are known."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    alike = np.flatnonzero(ordered[1:] == ordered[:-1])
    suspects = np.unique(order[np.concatenate([alike, alike + 1])])
    seen: dict[Hashable, int] = {}
    for position in suspects.tolist():
        first = seen.setdefault(again(position), position)
        if first != position:
            return first, position
    return None
