"""Every operator on a GPU, beside the roof of the device and beside its peers.

    python bench/bench_gpu.py [--operators sinkhorn tree_filter] [--sizes small 8x65536x20]

Times are medians of CUDA events after a warm-up, peers in turn, in one process. A short operator is
called several times in a row, so that its inputs are in the second-level cache if they fit there.

Bytes and exponentials are the floor: what the operator must move and take at the least (see
``gpu_problems.py``), not what the kernel does. Over the time they give the achieved rates; the roof
is the time in which the device could do them at the rates measured in the same run by a copy and by
a chain of exp2, and "of roof" is that time over ours. ``roof H100`` takes the published rates.

Peers: plain torch and ``torch.compile``; GeomLoss, KeOps and cuGraph where they are installed.
With ``--device cpu`` all of the script runs on tiny sizes, to try it: nothing is compiled then and
the figures mean nothing. The table is printed; all figures go to bench/results/gpu.json.
"""

import argparse
import json
import platform
import sys
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gpu_peers
import gpu_problems
import torch
import torch._functorch.config
from gpu_timing import PUBLISHED_ROOFS, Run, Timer, measured_roofs
from rich.console import Console
from rich.table import Table

from point2mask import _core
from point2mask.ops._library import WITHOUT_CUDA

RESULTS = Path(__file__).parent / "results" / "gpu.json"
REPEATS = 20
UNTIMED = ("tiny", "small")


def machine(device: str) -> dict[str, Any]:
    """What the figures belong to."""
    info: dict[str, Any] = {
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "kernels": _core.cuda_architectures,
    }
    if device == "cpu":
        return info | {"device": f"{platform.machine()} CPU (dry run)", "shared_memory": 0}
    properties = torch.cuda.get_device_properties(0)
    return info | {
        "device": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "multiprocessors": properties.multi_processor_count,
        # One KiB of each block's is the system's; the largest block has the multiprocessor alone.
        "shared_memory": properties.multi_processor_count
        * (properties.shared_memory_per_multiprocessor - 1024),
    }


def peers_of(
    operator: str, size: gpu_problems.Size, arguments: tuple[Any, ...], device: str
) -> tuple[dict[str, Run], dict[str, str]]:
    """The calls to be timed, ours first, and why others cannot be."""
    calls: dict[str, Run] = {
        "ours": partial(getattr(torch.ops.point2mask, operator).default, *arguments)
    }
    missing: dict[str, str] = {}
    backend = "inductor" if device == "cuda" else "eager"
    compiled = partial(torch.compile, dynamic=False, backend=backend)
    forward = operator.removesuffix("_backward")
    for name, wrap in (("eager", lambda f: f), ("compile", compiled)):
        if name == "compile" and operator in gpu_peers.NOTHING_TO_COMPILE:
            missing[name] = gpu_peers.HOST_LOOP
        elif operator in gpu_peers.PEERS:
            calls[name] = partial(gpu_peers.PEERS[operator](wrap), *arguments)
        elif forward != operator and forward in gpu_peers.DIFFERENTIABLE:
            calls[name] = gpu_peers.gradient(forward, wrap, arguments)
        else:
            missing[name] = "no formulation"
    for of, name, module, make in gpu_peers.LIBRARIES:
        if of != operator:
            continue
        if find_spec(module) is None:
            missing[name] = "not installed"
            continue
        try:
            calls[name] = make(size, arguments)
        except Exception as error:  # another package's set-up: said in the table, ends nothing
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return calls, missing


def rates(
    floor: gpu_problems.Floor, seconds: float, roofs: dict[str, float]
) -> dict[str, float | None]:
    published = PUBLISHED_ROOFS["H100 SXM"]
    bound = roof_seconds(floor, roofs)
    return {
        "floor_bytes": floor.bytes,
        "floor_exponentials": floor.exponentials,
        "bytes_per_second": floor.bytes / seconds,
        "exponentials_per_second": floor.exponentials / seconds,
        "roof_seconds": bound,
        "of_roof": None if bound is None else bound / seconds,
        "published_roof_seconds": roof_seconds(floor, published),
    }


def roof_seconds(floor: gpu_problems.Floor, roofs: dict[str, float]) -> float | None:
    """The longer of both; None where exponentials are taken and their rate is not known."""
    bound = floor.bytes / roofs["bytes_per_second"]
    if not floor.exponentials:
        return bound
    if "exponentials_per_second" not in roofs:
        return None
    return max(bound, floor.exponentials / roofs["exponentials_per_second"])


def bench(
    operators: list[str], sizes: list[str] | None, device: str, repeats: int
) -> dict[str, Any]:
    """All figures; those of an operator are printed as soon as they are there."""
    timer, report = Timer(device), machine(device)
    report["roofs"] = measured_roofs(device, timer, repeats)
    report["published_roofs"] = PUBLISHED_ROOFS
    report["results"] = []
    for operator in operators:
        if device == "cuda" and operator in WITHOUT_CUDA:
            report["results"].append({"operator": operator, "reason": "no CUDA kernel"})
            continue
        problem = gpu_problems.PROBLEMS[operator]
        chosen = sizes or [name for name in problem.sizes if name not in UNTIMED]
        for name in (name for name in chosen if name in problem.sizes):
            size = problem.sizes[name]
            print(f"{operator} {name}", file=sys.stderr, flush=True)
            torch.compiler.reset()
            arguments = gpu_problems.arguments(operator, size, device)
            calls, missing = peers_of(operator, size, arguments, device)
            taken = timer.measure(calls, repeats)
            floor = problem.floor(size, report["shared_memory"])
            report["results"].append(
                {
                    "operator": operator,
                    "size": name,
                    **taken["ours"],
                    **rates(floor, taken["ours"]["seconds"], report["roofs"]),
                    "peers": {peer: taken[peer] for peer in calls if peer != "ours"}
                    | {peer: {"reason": reason} for peer, reason in missing.items()},
                }
            )
            del arguments, calls
            timer.forget()
    return report


def table(report: dict[str, Any]) -> Table:
    roofs = report["roofs"]
    exponentials = roofs.get("exponentials_per_second")
    title = f"{report['device']}: copy {roofs['bytes_per_second'] / 1e9:.0f} GB/s, exp2 " + (
        "not measured" if exponentials is None else f"{exponentials / 1e9:.0f} G/s"
    )
    grid = Table(title=title)
    grid.add_column("operator, size")
    for heading in ("µs", "spread", "GB/s", "Gexp/s", "of roof", "roof H100 µs", "peers / ours"):
        grid.add_column(heading, justify="right")
    for row in report["results"]:
        if "reason" in row:
            grid.add_row(row["operator"], *["-"] * 6, row["reason"])
            continue
        share = "-" if row["of_roof"] is None else f"{row['of_roof']:.0%}"
        peers = [
            f"{name} {peer['seconds'] / row['seconds']:.1f}x"
            if "seconds" in peer
            else f"{name}: {peer['reason'][:40]}"
            for name, peer in row["peers"].items()
        ]
        grid.add_row(
            f"{row['operator']} {row['size']}",
            f"{row['seconds'] * 1e6:.1f}",
            f"{row['spread']:.2f}",
            f"{row['bytes_per_second'] / 1e9:.0f}",
            f"{row['exponentials_per_second'] / 1e9:.0f}" if row["floor_exponentials"] else "-",
            share,
            f"{row['published_roof_seconds'] * 1e6:.1f}",
            "\n".join(peers),
        )
    return grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--operators", nargs="+", choices=sorted(gpu_problems.PROBLEMS))
    parser.add_argument("--sizes", nargs="+", help="names of sizes; default: all that are timed")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--out", type=Path, help="JSON file; default: bench/results/gpu.json")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {args.repeats}")
    known = {name for problem in gpu_problems.PROBLEMS.values() for name in problem.sizes}
    for name in args.sizes or []:
        if name not in known:
            parser.error(f"--sizes must be among {', '.join(sorted(known))}, got {name}")
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("bench_gpu.py: no CUDA device found; `--device cpu` tries the script without one")
    if args.device == "cuda" and not _core.cuda_architectures:
        sys.exit(
            "bench_gpu.py: point2mask was built without CUDA kernels; "
            "run `make install` where nvcc is found"
        )
    torch._functorch.config.donated_buffer = False  # peers' gradients are taken repeatedly
    sizes = args.sizes or (["tiny"] if args.device == "cpu" else None)
    operators = args.operators or list(gpu_problems.PROBLEMS)
    report = bench(operators, sizes, args.device, args.repeats)
    Console(width=160).print(table(report))
    out = args.out or (RESULTS if args.device == "cuda" else None)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = out.with_suffix(".part")
        beside.write_text(json.dumps(report, indent=1) + "\n")
        beside.replace(out)
        print(f"figures: {out}")


if __name__ == "__main__":
    main()
