"""Every operator on a GPU, beside the roof of the device and beside its peers.

    python bench/bench_gpu.py [--operators sinkhorn tree_filter] [--sizes 8x65536x20]
        [--peers none|eager|all] [--budget SECONDS] [--out FILE]

Times are medians of CUDA events after a warm-up, peers in turn, in one process. A short operator is
called several times in a row, so that its inputs are in the second-level cache if they fit there.
``graph`` is the same call in a CUDA graph, without the work of the host.

Bytes and exponentials are the floor: what the operator must move and take at the least (see
``gpu_problems.py``), not what the kernel does. Over the time they give the achieved rates; the roof
is the time in which the device could do them at the rates measured in the same run by a copy and by
a chain of exp2, and "of roof" is that time over ours.

Peers: plain torch (``eager``), ``torch.compile``; GeomLoss, KeOps and cuGraph where they are
installed (``all``). The smallest sizes of all operators come first; past ``--budget`` no further
row is begun. With ``--device cpu`` all of the script runs on tiny sizes, to try it: nothing is
compiled then and the figures mean nothing.

Every row is printed and appended to FILE (out/gpu/times.jsonl) when it is there: one JSON object a
line, the first about the machine. ``gpu_report.py`` makes tables of such files.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gpu_problems
import torch
import torch._functorch.config
from gpu_timing import PUBLISHED_ROOFS, Run, Timer, measured_roofs

from point2mask import engine
from point2mask.ops._library import WITHOUT_CUDA

OUT = Path("out/gpu/times.jsonl")
REPEATS = 20
UNTIMED = ("tiny", "small")


def machine(device: str) -> dict[str, Any]:
    """What the figures belong to."""
    info: dict[str, Any] = {
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "kernels": engine.cuda_architectures,
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
    operator: str, size: gpu_problems.Size, arguments: tuple[Any, ...], device: str, kind: str
) -> tuple[dict[str, Run], dict[str, str]]:
    """The peers' calls to be timed, and why others cannot be."""
    import gpu_peers

    calls: dict[str, Run] = {}
    missing: dict[str, str] = {}
    backend = "inductor" if device == "cuda" else "eager"
    wraps = {
        "eager": lambda f: f,
        "compile": partial(torch.compile, dynamic=False, backend=backend),
    }
    forward = operator.removesuffix("_backward")
    for name, wrap in wraps.items():
        if kind == "eager" and name != "eager":
            continue
        if name == "compile" and operator in gpu_peers.NOTHING_TO_COMPILE:
            missing[name] = gpu_peers.HOST_LOOP
        elif operator in gpu_peers.PEERS:
            calls[name] = partial(gpu_peers.PEERS[operator](wrap), *arguments)
        elif forward != operator and forward in gpu_peers.DIFFERENTIABLE:
            calls[name] = gpu_peers.gradient(forward, wrap, arguments)
        else:
            missing[name] = "no formulation"
    for of, name, module, make in gpu_peers.LIBRARIES if kind == "all" else ():
        if of != operator:
            continue
        if find_spec(module) is None:
            missing[name] = "not installed"
            continue
        try:
            calls[name] = make(size, arguments)
        except Exception as error:  # another package's set-up: said in the row, ends nothing
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


def in_turn(
    operators: list[str], sizes: list[str] | None
) -> Iterator[tuple[str, str, gpu_problems.Problem]]:
    """Operator and size: the first size of all operators, then the second, and so on."""
    chosen = {}
    for operator in operators:
        names = gpu_problems.PROBLEMS[operator].sizes
        chosen[operator] = [n for n in names if (n in sizes if sizes else n not in UNTIMED)]
    for index in range(max(map(len, chosen.values()), default=0)):
        for operator, names in chosen.items():
            if index < len(names):
                yield operator, names[index], gpu_problems.PROBLEMS[operator]


def row(
    operator: str, size: str, device: str, peers: str, repeats: int, about: dict[str, Any]
) -> dict[str, Any]:
    """All figures of one operator at one size."""
    problem = gpu_problems.PROBLEMS[operator]
    torch.compiler.reset()
    timer = Timer(device)
    arguments = gpu_problems.arguments(operator, problem.sizes[size], device)
    ours = partial(getattr(torch.ops.point2mask, operator).default, *arguments)
    calls, missing = {}, {}
    if peers != "none":
        calls, missing = peers_of(operator, problem.sizes[size], arguments, device, peers)
    taken = timer.measure({"ours": ours, **calls}, repeats)
    figures = {
        "operator": operator,
        "size": size,
        **taken["ours"],
        "graph": timer.graph(ours, repeats),
        **rates(
            problem.floor(problem.sizes[size], about["shared_memory"]),
            taken["ours"]["seconds"],
            about["roofs"],
        ),
        "peers": {name: taken[name] for name in calls}
        | {name: {"reason": reason} for name, reason in missing.items()},
    }
    del arguments, ours, calls
    timer.forget()
    return figures


def sentence(figures: dict[str, Any]) -> str:
    """A row for the terminal."""
    name = f"{figures['operator']} {figures['size']}"
    if "reason" in figures:
        return f"{name}: {figures['reason']}"
    graph = figures["graph"].get("seconds")
    share = figures["of_roof"]
    peers = [
        f"{peer} {taken['seconds'] / figures['seconds']:.1f}x"
        if "seconds" in taken
        else f"{peer}: {taken['reason'][:40]}"
        for peer, taken in figures["peers"].items()
    ]
    return (
        f"{name:44} {figures['seconds'] * 1e6:10.1f} us, "
        f"graph {'-' if graph is None else f'{graph * 1e6:.1f} us'}, "
        f"{figures['bytes_per_second'] / 1e9:6.0f} GB/s, "
        f"{'-' if share is None else f'{share:.0%}'} of roof{''.join(f', {p}' for p in peers)}"
    )


def bench(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The machine, then the rows; an operator that fails is a row with a reason."""
    end = time.monotonic() + args.budget
    about = machine(args.device)
    about["roofs"] = measured_roofs(args.device, Timer(args.device), args.repeats)
    about["published_roofs"] = PUBLISHED_ROOFS
    yield about
    sizes = args.sizes or (["tiny"] if args.device == "cpu" else None)
    for operator, size, _ in in_turn(args.operators or list(gpu_problems.PROBLEMS), sizes):
        if time.monotonic() > end:
            yield {"operator": operator, "size": size, "reason": "the budget was spent"}
        elif args.device == "cuda" and operator in WITHOUT_CUDA:
            yield {"operator": operator, "size": size, "reason": "no CUDA kernel"}
        else:
            try:
                yield row(operator, size, args.device, args.peers, args.repeats, about)
            except Exception as error:  # the next operator may work
                reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
                yield {"operator": operator, "size": size, "failed": True, "reason": reason}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--operators", nargs="+", choices=sorted(gpu_problems.PROBLEMS))
    parser.add_argument("--sizes", nargs="+", help="names of sizes; default: all that are timed")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--peers", choices=("none", "eager", "all"), default="all")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds; default: none")
    parser.add_argument("--out", type=Path, default=OUT, help=f"default: {OUT}")
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {args.repeats}")
    known = {name for problem in gpu_problems.PROBLEMS.values() for name in problem.sizes}
    for name in args.sizes or []:
        if name not in known:
            parser.error(f"--sizes must be among {', '.join(sorted(known))}, got {name}")
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("bench_gpu.py: no CUDA device found; `--device cpu` tries the script without one")
    if args.device == "cuda" and not engine.cuda_architectures:
        sys.exit(
            "bench_gpu.py: point2mask was built without CUDA kernels; "
            "run `make install` where nvcc is found"
        )
    torch._functorch.config.donated_buffer = False  # peers' gradients are taken repeatedly
    args.out.parent.mkdir(parents=True, exist_ok=True)
    failed = 0
    with args.out.open("w") as file:
        for figures in bench(args):
            file.write(json.dumps(figures) + "\n")
            file.flush()
            failed += "failed" in figures
            if "operator" in figures:
                print(sentence(figures), flush=True)
    print(f"figures: {args.out}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
