"""``point2mask export``: a trained network as one program of ``torch.export``."""

import argparse
import re
import sys
from pathlib import Path

from point2mask.cli.command import Subparsers, add_command, add_json, local, write_result


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "export",
        run,
        "Write a trained network as one file that PyTorch runs without the network's code.",
        """
          the last checkpoint of a run, for pictures of 480 x 640 pixels:
            point2mask export out/run --out network.pt2 --size 480x640
          how to load it (docs/cli.md says what goes in and comes out):
            python -c 'import torch, point2mask.ops; torch.export.load("network.pt2").module()'
        """,
    )
    parser.add_argument(
        "checkpoint",
        type=local,
        metavar="CHECKPOINT",
        help="folder of a run, of one of its checkpoints, or of save_pretrained",
    )
    parser.add_argument(
        "--out",
        type=_program,
        required=True,
        metavar="FILE.pt2",
        help="the file; it is replaced if it is there",
    )
    parser.add_argument(
        "--size",
        type=_size,
        required=True,
        metavar="HxW",
        help="height and width of the pictures that it takes, in pixels; it takes no others",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from point2mask.hub import load_predictor, save_exported

    save_exported(load_predictor(args.checkpoint), args.out, args.size)
    height, width = args.size
    size = args.out.stat().st_size
    print(
        f"network for pictures of {height} x {width} pixels, {size / 1e6:.1f} MB: {args.out}",
        file=sys.stderr,
    )
    write_result(
        args.json, {"program": str(args.out), "height": height, "width": width, "bytes": size}
    )
    return 0


def _program(text: str) -> Path:
    """An argument type."""
    path = local(text)
    if path.suffix != ".pt2":
        raise argparse.ArgumentTypeError(f"expected a name that ends in .pt2, got {text!r}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"expected the name of a file, but {text} is a folder")
    return path


def _size(text: str) -> tuple[int, int]:
    """An argument type."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 480x640, got {text!r}")
    return int(match[1]), int(match[2])
