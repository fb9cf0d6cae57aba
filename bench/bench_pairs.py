"""Pair operators against eager torch with ``unfold``: ``python bench/bench_pairs.py``.

CPU time (median of interleaved repeats, one thread unless ``--threads``) of forward and backward,
and the peak of what torch allocates meanwhile, the gradient included. The engine's own scratch is
not torch's: lab_affinity_loss holds a ring of 2 R + 1 rows of probabilities and R + 1 rows of pair
weights a thread, R = dilation * (kernel_size // 2); the others next to nothing.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from point2mask import ops
from point2mask.ops.reference._grid import OFFSETS

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
import unfolded


def sliced_difference(feature: Tensor) -> Tensor:
    """Each undirected pair once, as a careful torch user would write it."""
    height, width = feature.shape[2:]
    parts = feature.new_zeros(feature.shape[0], 8, height, width)
    for d, (dy, dx) in enumerate(OFFSETS[:4]):
        here = slice(0, height - dy), slice(max(0, -dx), width - max(0, dx))
        there = slice(dy, height), slice(max(0, dx), width - max(0, -dx))
        step = (feature[..., *here] - feature[..., *there]).abs().sum(1)
        parts[:, d, *here] = step
        parts[:, d + 4, *there] = step
    return parts


def peak_bytes(run: Callable[[], object]) -> int:
    """Highest sum of live torch allocations made during the call."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        run()
    live = peak = 0
    for event in trace.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def compare(
    title: str,
    ours: Callable[[], Tensor],
    theirs: Callable[[], Tensor],
    leaf: Tensor,
    runs: int,
) -> None:
    def step(call: Callable[[], Tensor]) -> Tensor:
        return torch.autograd.grad(call().sum(), leaf)[0]

    grads = step(ours), step(theirs)
    torch.testing.assert_close(*grads, rtol=0, atol=1e-4 * float(grads[1].abs().max()))
    times: list[tuple[float, float]] = []
    for _ in range(runs):
        begin = time.process_time()
        step(ours)
        middle = time.process_time()
        step(theirs)
        times.append((middle - begin, time.process_time() - middle))
    first, second = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    peaks = [peak_bytes(lambda call=call: step(call)) / 2**20 for call in (ours, theirs)]
    figures = (first, second, second / first, *peaks)
    print(f"{title:<58s}", *(f"{figure:10.1f}" for figure in figures), flush=True)


def measure_feature_maps(channels: int, height: int, width: int, runs: int) -> None:
    size = f"C={channels} {height}x{width}"
    logits = torch.randn(2, channels, height, width, requires_grad=True)
    # Patches with noise: some pairs are near and some are not, as in photographs.
    lab = F.interpolate(8 * torch.randn(2, 3, height // 4, width // 4), (height, width))
    lab = lab + 0.7 * torch.randn_like(lab)

    def two_windows(loss: Callable[..., Tensor]) -> Callable[[], Tensor]:
        return lambda: loss(logits, lab, 3, 2) + loss(logits, lab, 5, 2)

    compare(
        f"neighbor_difference l1 {size}",
        lambda: ops.neighbor_difference(logits).square(),
        lambda: sliced_difference(logits).square(),
        logits,
        runs,
    )
    compare(
        f"lab_affinity_loss k=3 and 5, dilation 2 {size}",
        two_windows(ops.lab_affinity_loss),
        two_windows(unfolded.lab_affinity_loss),
        logits,
        runs,
    )


def measure_boundary(height: int, width: int, runs: int) -> None:
    boundary = torch.rand(2, height, width, requires_grad=True)
    blocks = torch.randint(-1, 5, (2, height // 25, width // 25), dtype=torch.int32)
    instance = blocks.repeat_interleave(25, 1).repeat_interleave(25, 2)
    semantic = instance // 2
    compare(
        f"boundary_loss k=3 {height}x{width}",
        lambda: ops.boundary_loss(boundary, instance, semantic),
        lambda: unfolded.boundary_loss(boundary, instance, semantic),
        boundary,
        runs,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    columns = ("ours ms", "torch ms", "ratio", "ours MiB", "torch MiB")
    print(f"{'B = 2, float32':<58s}", *(f"{column:>10s}" for column in columns))
    for channels in (21, 133):
        for height, width in ((75, 100), (150, 200)):
            measure_feature_maps(channels, height, width, args.runs)
    measure_boundary(600, 800, args.runs)


if __name__ == "__main__":
    main()
