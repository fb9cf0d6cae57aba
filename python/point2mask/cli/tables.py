"""Results as tables on the output."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def table(first: str, *columns: str) -> "Table":
    """A table without lines: text in the first column, figures in the others."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(first)
    for column in columns:
        made.add_column(column, justify="right", no_wrap=True)
    return made


def quality_table(figures: Mapping[str, Mapping[str, Any]]) -> "Table":
    """Panoptic quality of all categories, things and stuff, as ``evaluation.figures`` has it."""
    made = table("", "PQ", "SQ", "RQ", "categories")
    for group, values in figures.items():
        shares = (percent(values[key]) for key in ("pq", "sq", "rq"))
        made.add_row(group, *shares, str(values["categories"]))
    return made


def percent(share: float | None) -> str:
    """A share in [0, 1] in per cent, or a dash where there is none.

    >>> percent(0.2345), percent(None)
    ('23.4', '-')
    """
    return "-" if share is None else f"{100 * share:.1f}"


def print_tables(*tables: "Table") -> None:
    """Prints tables with an empty line between them."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    for index, one in enumerate(tables):
        if index:
            console.print()
        console.print(one)
