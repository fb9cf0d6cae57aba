"""Time and memory against the size of the problem: does the work grow as the problem does?

    python bench/scale.py            # up to 2048 x 2048 pixels and 1000 targets, into bench/results
    python bench/scale.py --quick    # up to 512 x 512 and 80, into out/bench

One thread, CPU time of the second call, or of the first where a call takes seconds. Memory is
what the process held at most during the call beyond what it held before it, results included. The
last column is the exponent by which time grew since the row above: 1 is in proportion.

It ends with an estimate on paper: the CPU time of the pseudo-labels of a million images.
"""

import argparse
import ctypes
import gc
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from suite.peers import single_threaded_environment

if __name__ == "__main__":
    os.environ.update(single_threaded_environment())

import torch
from rich.console import Console
from rich.table import Table
from suite import inputs, pseudo_labels
from suite.report import machine
from timing import begin_peak, status

from point2mask import ops
from point2mask.data.files import write_json
from point2mask.pseudo_masks import PointBatch, pseudo_masks

ROOT = Path(__file__).resolve().parents[1]
SLOW = 5.0  # seconds: a call that takes longer is not repeated
MILLION = 1_000_000


@dataclass(frozen=True)
class Point:
    """One call: ``size`` is what grows, the pixels or the targets of the problem."""

    operator: str
    grows: str
    size: int
    work: int  # entries of the problem: pixels x targets or channels
    seconds: float
    memory: int  # bytes


def timed(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(operator: str, grows: str, size: int, work: int, call: Callable[[], Any]) -> Point:
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed memory would hide what the call takes anew
    begin_peak()
    before = status("VmRSS")
    seconds = timed(call)
    memory = max(0, status("VmHWM") - before)
    if seconds < SLOW:
        seconds = timed(call)
    return Point(operator, grows, size, work, seconds, memory)


def series(largest: int, targets: int) -> Iterator[Point]:
    """Squares up to ``largest`` pixels a side with 20 targets; a fixed square up to ``targets``."""
    sides = [side for side in (256, 512, 1024, 2048) if side <= largest]
    counts = [count for count in (5, 20, 80, 320, 1000) if count <= targets]
    fixed = min(256, largest)
    for grows, sizes in (
        ("pixels", [(side, 20) for side in sides]),
        ("targets", [(fixed, count) for count in counts]),
    ):
        for side, count in sizes:
            pixels = side * side
            size = pixels if grows == "pixels" else count
            cost, supply, demand = inputs.transport_problem(1, pixels, count, "random")
            call = partial(ops.sinkhorn, cost, supply, demand, 0.01, 80)
            yield measure("sinkhorn, epsilon 1e-2, 80 iterations", grows, size, cost.numel(), call)
            del cost, supply, demand, call
        for side, count in sizes:
            pixels = side * side
            size = pixels if grows == "pixels" else count
            costs = inputs.edge_costs(inputs.picture("astronaut", side)[None])
            seeds = inputs.seeds(1, pixels, count)
            call = partial(ops.geodesic_distance, costs, seeds)
            yield measure("geodesic_distance", grows, size, pixels * count, call)
            del costs, call
    for side in sides:
        weights = inputs.edge_weights(inputs.picture("astronaut", side)[None])
        call = partial(ops.spanning_tree, weights)
        yield measure("spanning_tree", "pixels", side * side, side * side, call)
    for grows, sizes in (
        ("pixels", [(side, 20) for side in sides]),
        ("channels", [(fixed, count) for count in counts]),
    ):
        for side, count in sizes:
            pixels = side * side
            tree = ops.spanning_tree(inputs.edge_weights(inputs.picture("astronaut", side)[None]))
            feature = torch.rand(1, count, pixels)
            similarity = torch.exp(-tree.weight / 0.02)
            call = partial(ops.tree_filter, feature, tree.order, tree.parent, similarity)
            size = pixels if grows == "pixels" else count
            yield measure("tree_filter", grows, size, pixels * count, call)
            del feature, call
    for side in sides:
        yield step(side, side)


def step(height: int, width: int, images: int = 1, targets: int = 20) -> Point:
    """The pseudo-labels of a batch with everything published."""
    semantic, boundary, feature, clicks = pseudo_labels.make_batch(images, targets, height, width)
    is_thing = torch.arange(pseudo_labels.CLASSES) < pseudo_labels.CLASSES - 1
    points = PointBatch.from_lists(clicks)
    pixels = images * height * width

    def call() -> Any:
        return pseudo_masks(semantic, points, is_thing, boundary_logits=boundary, feature=feature)

    return measure("pseudo_masks", "pixels", pixels, pixels * (targets + 1), call)


def show(console: Console, points: list[Point]) -> None:
    before: Point | None = None
    table = Table("size", "seconds", "ns an entry", "MiB", "bytes an entry", "exponent")
    for point in points:
        same = before is not None and (before.operator, before.grows) == (
            point.operator,
            point.grows,
        )
        exponent = ""
        if same and before is not None:
            rise = math.log(point.seconds / before.seconds) / math.log(point.size / before.size)
            exponent = f"{rise:.2f}"
        elif before is not None:
            table.add_section()
        if not same:
            table.add_row(f"[bold]{point.operator}, {point.grows}")
        table.add_row(
            f"{point.size:,}",
            f"{point.seconds:.3f}",
            f"{point.seconds / point.work * 1e9:.2f}",
            f"{point.memory / 2**20:.1f}",
            f"{point.memory / point.work:.1f}",
            exponent,
        )
        before = point
    console.print(table)


def estimate(one: Point) -> dict[str, float]:
    """A million images of 600 x 800 pixels and 20 things, from the time of one."""
    core_hours = one.seconds * MILLION / 3600
    return {
        "seconds_an_image": one.seconds,
        "core_hours": core_hours,
        "hours_on_64_cores": core_hours / 64,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="up to 512 pixels and 80 targets")
    parser.add_argument("--out", type=Path, help="folder for scale.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    points = list(series(512, 80) if args.quick else series(2048, 1000))
    console = Console(width=None if sys.stdout.isatty() else 120)
    show(console, points)
    paper = estimate(step(600, 800))
    console.print(
        f"600 x 800 pixels, 20 things: {paper['seconds_an_image']:.2f} CPU s an image; a million: "
        f"{paper['core_hours']:.0f} core hours, {paper['hours_on_64_cores']:.1f} h on 64 cores"
    )
    out = args.out or (ROOT / "out" / "bench" if args.quick else ROOT / "bench" / "results")
    out.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "points": [asdict(p) for p in points], "million": paper}
    write_json(out / "scale.json", content)
    console.print(f"{out / 'scale.json'}")


if __name__ == "__main__":
    main()
