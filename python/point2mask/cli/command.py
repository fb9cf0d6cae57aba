"""What subcommands share: their parsers, their one kind of error, and progress bars."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from textwrap import dedent, indent
from typing import TYPE_CHECKING, NoReturn

from point2mask.progress import Progress

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction["Parser"]
else:
    Subparsers = argparse._SubParsersAction


class UsageError(Exception):
    """A command was asked for something that it cannot do: one sentence that says what helps."""


ERROR = "point2mask: error: "  # how the line begins that says what went wrong


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{ERROR}{message} (see '{self.prog} --help')\n")


def add_verbose(parser: argparse.ArgumentParser, default: bool | str) -> None:
    parser.add_argument(
        "-v", "--verbose", action="store_true", default=default, help="show tracebacks of errors"
    )


def add_command(
    subparsers: Subparsers,
    name: str,
    run: Callable[[argparse.Namespace], int] | None,
    summary: str,
    examples: str,
) -> Parser:
    """Adds a subcommand with examples at the end of its help; ``run`` is what it does."""
    parser = subparsers.add_parser(
        name,
        help=summary[0].lower() + summary[1:].rstrip("."),
        description=summary,
        epilog="examples:\n" + indent(dedent(examples).strip(), "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Also after the name of the command; suppressed, it does not undo a -v before the name.
    add_verbose(parser, default=argparse.SUPPRESS)
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def positive(text: str) -> int:
    """An argument type: an integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return value


@contextmanager
def progress_bar(description: str) -> Iterator[Progress]:
    """A bar with the time left on the terminal's error stream; nothing where that is a file."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(
        *columns,
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
