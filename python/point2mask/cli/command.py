"""What subcommands share: their parsers, their one kind of error, and progress bars."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent, indent
from typing import TYPE_CHECKING, NoReturn

from point2mask.data.files import one_line
from point2mask.messages import nearest
from point2mask.progress import Progress, bar

if TYPE_CHECKING:
    from point2mask.data.report import Report

    Subparsers = argparse._SubParsersAction["Parser"]
else:
    Subparsers = argparse._SubParsersAction

PRINT = "-"  # in place of a file: the output
MAX_WORKERS = 1024  # more than a machine has CPUs; each takes its memory


class UsageError(Exception):
    """A command was asked for something that it cannot do: one sentence that says what helps."""


ERROR = "point2mask: error: "  # how the line begins that says what went wrong


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{ERROR}{one_line(message)} (see '{self.prog} --help')\n")

    def unknown(self, words: Sequence[str], hint: str) -> NoReturn:
        """Ends the program because of words that this command does not know."""
        known = [option for action in self._actions for option in action.option_strings]
        close = nearest(words[0].partition("=")[0], known)
        hint = f"; did you mean {close}?" if close else hint
        self.error(f"unrecognized arguments: {' '.join(words)}{hint}")


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
        parser.set_defaults(run=run, parser=parser)
    return parser


def place(text: str) -> Path:
    """An argument type: a path, or a URL of a store such as ``s3://bucket/photos``."""
    from point2mask.data.errors import DataError
    from point2mask.data.places import path_of

    if not text:  # as of a variable that is not set: it would be the folder of the shell
        raise argparse.ArgumentTypeError("expected a path, got none")
    try:
        return path_of(text)
    except DataError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def local(text: str) -> Path:
    """An argument type: a path on this machine, for what is not read from a store, or written."""
    from point2mask.data.places import is_url

    if is_url(text):
        raise argparse.ArgumentTypeError(f"expected a path on this machine, got the URL {text}")
    return place(text)


def positive(text: str) -> int:
    """An argument type: an integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return value


def process_count(text: str) -> int:
    """An argument type: a number of processes on this machine."""
    value = positive(text)
    if value > MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"expected at most {MAX_WORKERS} processes, got {value}")
    return value


def share(text: str) -> float:
    """An argument type: a number in [0, 1].

    >>> share("0.25")
    0.25
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1], got {text!r}")
    return value


def add_recipe(parser: Parser) -> None:
    """The argument of commands that train: a recipe by its name, or a YAML file."""
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help="name of a recipe ('point2mask recipes' lists them), or a YAML file",
    )


def add_json(parser: Parser) -> None:
    """The option ``--json [FILE]`` of commands that have a result."""
    parser.add_argument(
        "--json",
        nargs="?",
        const=PRINT,
        type=_json_destination,
        metavar="FILE",
        help="print the result as JSON, or write it to FILE (.json, into a folder that exists)",
    )


def add_reading(parser: Parser, skipped: str) -> None:
    """The options of commands that read many entries of others; ``skipped`` is what those are."""
    parser.add_argument(
        "--frame",
        choices=("stored", "shown"),
        help="whether coordinates and masks are on pictures as they are stored, or as viewers show "
        "them, turned by their EXIF tag (default: as the sizes in the file tell, else as the "
        "format has it, see docs/data_formats.md); what is written is as stored",
    )
    add_leaving_out(parser, skipped)


def add_leaving_out(parser: Parser, skipped: str) -> None:
    """The options that say what becomes of entries that cannot be used, or have no place."""
    parser.add_argument(
        "--strict", action="store_true", help="whatever would be left out is an error instead"
    )
    parser.add_argument(
        "--skip-broken",
        action="store_true",
        help=f"leave out {skipped} that cannot be used, and list them at the end (default: stop at "
        "the first)",
    )


def report_of(args: argparse.Namespace) -> "Report":
    """What collects what a command leaves out, as :func:`add_reading` was told."""
    from point2mask.data.report import Report

    if args.strict and args.skip_broken:
        raise UsageError("--strict and --skip-broken contradict each other; leave one of them out")
    return Report(args.strict, args.skip_broken)


def print_report(report: "Report") -> None:
    """What was read, what was left out and why."""
    for line in report.lines():
        print(line, file=sys.stderr)


MAX_RESULT = 2**26  # bytes
# Lists in clicks, in data sets and in tables of categories.
DATA_KEYS = {"images", "annotations", "categories", "shapes", "file_names"}


def write_result(destination: str | None, result: object) -> None:
    """Prints or writes what a command found, if that was asked for with ``--json``."""
    if destination == PRINT:
        print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))
    elif destination is not None:
        from point2mask.data.files import write_json

        write_json(Path(destination), result)


def _json_destination(text: str) -> str:
    """An argument type. Whether a file can be written there is found out before the work.

    The suffix is asked for because the name is optional: in ``--json picture.png`` it was left out.
    """
    path = Path(text)
    if text == PRINT:
        return text
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"expected the name of a file, but {text} is a folder")
    if path.suffix.lower() != ".json":
        raise argparse.ArgumentTypeError(f"expected a name that ends in .json, got {text!r}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    if path.exists() and not _is_result(path):
        raise argparse.ArgumentTypeError(
            f"{text} is there and holds no results of a command; choose another name"
        )
    return text


def _is_result(path: Path) -> bool:
    """Whether a file is a JSON object that is neither clicks nor data, nor says what lies in its
    folder, as those do that have a ``format``, the hidden ones and those of networks."""
    from point2mask.data import DataError
    from point2mask.data.json_files import read_json

    try:
        content = read_json(path, dict[str, object], "results", MAX_RESULT)
    except DataError:
        return False
    lists = {key for key, value in content.items() if isinstance(value, list)}
    return not (DATA_KEYS & lists or "format" in content or path.name.startswith("."))


@contextmanager
def progress_bar(description: str) -> Iterator[Progress]:
    """A bar with the time left on the terminal's error stream; nothing where that is a file."""
    from rich.console import Console

    with bar(Console(stderr=True)) as shown:
        task = shown.add_task(description, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
