"""Numbers of new categories and images, none of which is given to two."""

from collections.abc import Iterable
from itertools import count


class Ids:
    """Ids that are taken, also by what is gone: the history of a picture may still speak of it."""

    def __init__(self, most: int) -> None:
        """``most``: the largest that there can be."""
        self._most, self._last = most, 0
        self._taken: set[int] = set()

    def take(self, ids: Iterable[int]) -> None:
        for number in ids:
            self._taken.add(number)
            self._last = max(self._last, number)

    def free(self) -> int:
        """The one after the largest, or the smallest free one where there is none after it."""
        if self._last < self._most:
            return self._last + 1
        return next(number for number in count(1) if number not in self._taken)
