"""How long work tells a caller how far it is."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Progress = Callable[[int, int], None]  # items done, items in all


def ignore(done: int, total: int) -> None:
    """The progress of work that nobody watches."""


def counted(items: Sequence[Item], progress: Progress) -> Iterator[Item]:
    """The items; an item is done when the next one is asked for."""
    for done, item in enumerate(items, start=1):
        yield item
        progress(done, len(items))
