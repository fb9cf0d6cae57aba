"""How long work tells a caller how far it is."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn

Item = TypeVar("Item")
Progress = Callable[[int, int], None]  # items done, items in all


def ignore(done: int, total: int) -> None:
    """The progress of work that nobody watches."""


def counted(items: Sequence[Item], progress: Progress) -> Iterator[Item]:
    """The items; an item is done when the next one is asked for."""
    for done, item in enumerate(items, start=1):
        yield item
        progress(done, len(items))


def bar(console: "Console", *columns: "ProgressColumn") -> "Bar":
    """A bar with the time left and ``columns`` after it; nothing where the console is a file."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        *columns,
        console=console,
        disable=not console.is_terminal,
    )
