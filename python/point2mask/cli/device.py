"""The options of commands that run a network: where, how exactly, and on how much at once."""

import argparse
import re
from typing import TYPE_CHECKING

from point2mask.cli.command import Parser, UsageError, positive

if TYPE_CHECKING:
    from point2mask.models.precision import Precision


def add_device(parser: Parser) -> None:
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="where the network runs: cpu, cuda or cuda:N (default: the GPU where there is one)",
    )


def device_of(args: argparse.Namespace) -> str:
    """What :func:`add_device` was told, or the best there is."""
    import torch

    gpu = torch.cuda.is_available()
    name: str = args.device or ("cuda" if gpu else "cpu")
    kind, _, number = name.partition(":")
    count = torch.cuda.device_count() if gpu else 0
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,4})?", name):
        raise UsageError(f"--device: expected cpu, cuda or cuda:N, got {name!r}")
    if number and getattr(args, "ray", None) is not None:
        raise UsageError(f"--device {name}: with --ray a task sees one GPU alone, expected cuda")
    if kind == "cuda" and int(number or 0) >= count:
        raise UsageError(f"--device {name}: this machine has {count} GPUs that torch can use")
    return name


def add_precision(parser: Parser) -> None:
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "float16"),
        help="what the network computes in: half precision is faster on a GPU, and its masks "
        "differ in a few pixels (default: float32)",
    )


def precision_of(args: argparse.Namespace) -> "Precision":
    """What :func:`add_precision` was told."""
    precision: Precision = args.precision or "float32"
    return precision


def add_batch(parser: Parser) -> None:
    parser.add_argument(
        "--batch",
        type=positive,
        metavar="N",
        help="pictures that the network sees at once, of near sizes (default: 1; a GPU wants 8 or "
        "more)",
    )
