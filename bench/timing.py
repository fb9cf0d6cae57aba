"""Honest timing for the scripts of this folder: one process, repeats interleaved, medians."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def interleaved(
    peers: Mapping[str, Callable[[], Any]], repeats: int = 5, warmup: int = 1
) -> dict[str, dict[str, float]]:
    """Runs the peers in turn, ``repeats`` times; median wall and CPU seconds of each.

    Interleaving spreads slow spells of a busy machine over all peers, so that ratios stay fair.
    """
    wall: dict[str, list[float]] = {name: [] for name in peers}
    cpu: dict[str, list[float]] = {name: [] for name in peers}
    for function in peers.values():
        for _ in range(warmup):
            function()
    for _ in range(repeats):
        for name, function in peers.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            function()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    return {
        name: {
            "wall": statistics.median(wall[name]),
            "cpu": statistics.median(cpu[name]),
            "spread": max(wall[name]) / min(wall[name]),
        }
        for name in peers
    }
