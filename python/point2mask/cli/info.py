"""``point2mask info``: what is installed, and what it can use."""

import argparse
import os
import platform

from point2mask.cli.command import PRINT, Subparsers, add_command, add_json, write_result


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "info",
        run,
        "Show versions, processors and operators.",
        """
          point2mask info
          point2mask info --json environment.json
        """,
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    facts, backends = environment(), operators()
    write_result(args.json, {**facts, "operators": backends})
    if args.json == PRINT:
        return 0
    width = max(map(len, facts))
    for name, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        print(f"{name:<{width}}  {'none' if text in (None, '') else text}")
    print("operators")
    width = max(map(len, backends), default=0)
    for name, devices in backends.items():
        print(f"  {name:<{width}}  {', '.join(devices)}")
    return 0


def environment() -> dict[str, object]:
    """The facts, ready for JSON; imports torch."""
    import numpy as np
    import torch

    from point2mask import __version__, engine

    devices = range(torch.cuda.device_count())
    return {
        "point2mask": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "torch cuda": torch.version.cuda,
        "gpus": [torch.cuda.get_device_name(device) for device in devices],
        "kernels for cuda architectures": engine.cuda_architectures.split(),
        "cpu level": engine.cpu_level(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def operators() -> dict[str, list[str]]:
    """The operators ``torch.ops.point2mask.*`` and the devices that they have kernels for."""
    import torch

    from point2mask.ops._library import NAMESPACE, WITHOUT_CUDA

    prefix = f"{NAMESPACE}::"
    names = sorted(n for n in torch._C._dispatch_get_all_op_names() if n.startswith(prefix))
    short = [name.removeprefix(prefix) for name in names]
    return {name: ["CPU"] if name in WITHOUT_CUDA else ["CPU", "CUDA"] for name in short}
