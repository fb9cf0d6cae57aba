"""``point2mask gather``: parts of a run put together."""

import argparse
import sys

from point2mask.cli.command import (
    Subparsers,
    UsageError,
    add_command,
    add_json,
    place,
    positive,
    write_result,
)
from point2mask.messages import number_of


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "gather",
        run,
        "Put the parts of a run together that were made with --shard.",
        """
          parts that were made into one folder:
            point2mask gather labels
          parts that were made into folders of their own:
            point2mask gather labels-1 labels-2 labels-3 --out labels
          a finished run as tars of 10,000 pictures:
            point2mask gather labels --out shards --tar 10000
        """,
    )
    parser.add_argument(
        "folders", nargs="+", type=place, metavar="OUT", help="folders that parts were made into"
    )
    parser.add_argument(
        "--out",
        type=place,
        metavar="DIR",
        help="a new or empty folder for the whole, whose files are linked where that can be and "
        "else copied (default: the one folder itself)",
    )
    parser.add_argument(
        "--tar",
        type=positive,
        metavar="N",
        help="pack the masks into tars of N pictures, as WebDataset reads them, each with a JSON "
        "of its segments, in place of files; panoptic.json names them as in folders of that name",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from point2mask.data import gather

    if args.out is None and len(args.folders) > 1:
        raise UsageError("gather: several folders need --out DIR for the whole")
    if args.out is None and args.tar is not None:
        raise UsageError("gather: --tar needs --out DIR for the tars")
    gathered = gather(args.folders, args.out, args.tar)
    index = (args.out or args.folders[0]) / "panoptic.json"
    print(
        f"{number_of(gathered.segments, 'mask')} in {number_of(gathered.images, 'image')}: {index}",
        file=sys.stderr,
    )
    if gathered.twice:
        print(f"made twice, alike: {number_of(len(gathered.twice), 'image')}", file=sys.stderr)
    if gathered.left_out:
        reasons = gathered.left_out.values()
        title = f"left out {number_of(len(reasons), 'image')}:"
        print(title, *reasons, sep="\n  ", file=sys.stderr)
    write_result(
        args.json,
        {
            "annotations": str(index),
            "images": gathered.images,
            "masks": gathered.segments,
            "left_out": list(gathered.left_out.values()),
            "twice": gathered.twice,
        },
    )
    return 0
