"""``point2mask recipes``: the recipes that come with the package."""

import argparse

from point2mask import recipes
from point2mask.cli.command import PRINT, Subparsers, add_command, add_json, write_result


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "recipes",
        run,
        "List the recipes of 'train' and 'sweep', or print one to start from.",
        """
          point2mask recipes
          a recipe of your own, from one that is there:
            point2mask recipes shapes_tiny > mine.yaml
            point2mask train mine.yaml
        """,
    )
    parser.add_argument(
        "name", nargs="?", metavar="RECIPE", help="print this recipe (default: list all)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    if args.name is not None:
        text = recipes.find(args.name).read_text(encoding="utf-8")
        write_result(args.json, {"name": args.name, "text": text})
        if args.json != PRINT:
            print(text, end="")
        return 0
    summaries = recipes.summaries()
    write_result(args.json, {"recipes": summaries})
    if args.json != PRINT:
        width = max(map(len, summaries))
        for name, summary in summaries.items():
            print(f"{name:<{width}}  {summary}")
    return 0
