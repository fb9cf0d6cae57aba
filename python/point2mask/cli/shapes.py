"""``point2mask shapes``: write the generated data set."""

import argparse
import sys

from point2mask.cli.command import (
    Subparsers,
    UsageError,
    add_command,
    add_json,
    local,
    positive,
    progress_bar,
    write_result,
)
from point2mask.messages import number_of


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "shapes",
        run,
        "Write the generated data set 'shapes': things that touch and occlude over stuff.",
        """
          400 images to train with and 100 to test with, in seconds:
            point2mask shapes out/shapes
          larger, fewer:
            point2mask shapes out/shapes --train 40 --val 10 --height 480 --width 640
        """,
    )
    parser.add_argument("out", type=local, metavar="OUT", help="folder of the data set")
    parser.add_argument(
        "--train", type=int, default=400, metavar="N", help="0 = none (default: 400)"
    )
    parser.add_argument("--val", type=int, default=100, metavar="N", help="0 = none (default: 100)")
    parser.add_argument("--height", type=positive, default=128, help="pixels (default: 128)")
    parser.add_argument("--width", type=positive, default=160, help="pixels (default: 160)")
    parser.add_argument(
        "--things", type=positive, default=11, metavar="N", help="at most in an image (default: 11)"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="X", help="of the things' size (default: 1)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="another seed gives other images (default: 0)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from point2mask.data.claims import claimed
    from point2mask.data.shapes import write_shapes

    counts = {split: count for split in ("train", "val") if (count := getattr(args, split)) != 0}
    if not counts:
        raise UsageError("shapes: --train 0 --val 0 leaves nothing to write; give one of them")
    with claimed(args.out, "shapes", ("images", "annotations")):
        for split, count in counts.items():
            with progress_bar(split) as progress:
                write_shapes(
                    args.out,
                    split,
                    count,
                    (args.height, args.width),
                    args.seed,
                    args.things,
                    args.scale,
                    progress,
                )
    print(f"{number_of(sum(counts.values()), 'image')} in {args.out}", file=sys.stderr)
    write_result(args.json, {"out": str(args.out), "images": counts})
    return 0
