"""The option ``--device`` of commands that run a network."""

import argparse

from point2mask.cli.command import Parser, UsageError


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
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"--device: expected cpu, cuda or cuda:N, got {name!r}")
    if kind == "cuda" and int(number or 0) >= count:
        raise UsageError(f"--device {name}: this machine has {count} GPUs that torch can use")
    return name
