"""Writes the pages of the commands, docs/commands/*.md, from their parsers.

    .venv/bin/python docs/command_pages.py

The pages are kept in the repository; a test says when they no longer match the parsers.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent, indent

from point2mask.cli import COMMANDS, build_parser
from point2mask.cli.command import Parser

FOLDER = Path(__file__).parent / "commands"


def pages() -> dict[str, str]:
    """The text of every page by the name of its command."""
    commands = children(build_parser())
    return {name: "\n".join(page(commands[name])).rstrip() + "\n" for name in COMMANDS}


def children(parser: Parser) -> dict[str, Parser]:
    """The commands below a parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def page(parser: Parser, level: int = 1) -> Iterator[str]:
    """The lines of a command, and of the commands below it."""
    below = children(parser)
    yield f"{'#' * level} `{parser.prog.removeprefix('point2mask ')}`\n"
    yield f"{parser.description}\n"
    if not below:
        yield indent(usage(parser), "    ") + "\n"
        yield from arguments(parser)
    yield "Examples:\n"
    examples = dedent((parser.epilog or "").partition("examples:\n")[2]).strip("\n")
    yield f"```text\n{examples}\n```\n"
    for child in below.values():
        yield from page(child, level + 1)


def usage(parser: Parser) -> str:
    """What must be given; the rest is ``[options]``."""
    words = [parser.prog]
    options = False
    for action in shown(parser):
        if action.option_strings and not action.required:
            options = True
        else:
            words.append(written(action))
    return " ".join([*words, *(["[options]"] if options else [])])


def arguments(parser: Parser) -> Iterator[str]:
    yield "| argument | |\n|---|---|"
    for action in shown(parser):
        text = (action.help or "") % {"default": action.default, "prog": parser.prog}
        if action.choices:
            text += f" ({', '.join(map(str, action.choices))})"
        needed = "**required**; " if action.option_strings and action.required else ""
        yield f"| `{written(action)}` | {needed}{escaped(text)} |"
    yield ""


def shown(parser: Parser) -> list[argparse.Action]:
    """The arguments in their order, but for those that every command has."""
    common = ("help", "verbose")
    return [action for action in parser._actions if action.dest not in common]


def written(action: argparse.Action) -> str:
    """An argument as it is typed: ``--seeds N [N ...]``."""
    name = action.metavar or action.dest.upper()
    if isinstance(action, argparse.BooleanOptionalAction):
        return ", ".join(action.option_strings)
    value = {
        None: name,
        "?": f"[{name}]",
        "*": f"[{name} ...]",
        "+": f"{name} [{name} ...]",
        0: "",
    }[action.nargs]
    return " ".join(filter(None, (*action.option_strings[-1:], value)))


def escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;").replace("_", "\\_")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for command, text in pages().items():
        (FOLDER / f"{command}.md").write_text(text, encoding="utf-8")
    print(f"{len(COMMANDS)} pages in {FOLDER}")
