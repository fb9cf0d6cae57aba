"""Honest timing for the scripts of this folder: one process, repeats interleaved, medians."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Samples:
    """Seconds of the single calls of one function."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def sample(
    calls: Mapping[str, Callable[[], Any]],
    repeats: Mapping[str, int],
    prepare: Callable[[str], Any] = lambda name: None,
) -> dict[str, Samples]:
    """Calls each function as often as it says, in turn; ``prepare`` before each, off the clock.

    Interleaving spreads slow spells of a busy machine over all, so that ratios stay fair. Whoever
    has fewer repeats has them spread over the rounds.
    """
    samples = {name: Samples() for name in calls}
    rounds = max(repeats.values(), default=0)
    for turn in range(rounds):
        for name, call in calls.items():
            if turn * repeats[name] // rounds == (turn + 1) * repeats[name] // rounds:
                continue
            prepare(name)
            start, start_cpu = time.perf_counter(), time.process_time()
            call()
            samples[name].cpu.append(time.process_time() - start_cpu)
            samples[name].wall.append(time.perf_counter() - start)
    return samples


def interleaved(
    peers: Mapping[str, Callable[[], Any]], repeats: int = 5, warmup: int = 1
) -> dict[str, dict[str, float]]:
    """Runs the peers in turn, ``repeats`` times; median wall and CPU seconds of each."""
    for function in peers.values():
        for _ in range(warmup):
            function()
    return {
        name: {
            "wall": statistics.median(taken.wall),
            "cpu": statistics.median(taken.cpu),
            "spread": max(taken.wall) / min(taken.wall),
        }
        for name, taken in sample(peers, dict.fromkeys(peers, repeats)).items()
    }


def cores_busy(seconds: float = 2.0) -> float:
    """How many cores everything on this machine keeps busy while we sleep."""

    def ticks() -> tuple[int, int]:
        numbers = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    (total, idle), _ = ticks(), time.sleep(seconds)
    total_after, idle_after = ticks()
    share = 1 - (idle_after - idle) / (total_after - total)
    return share * (os.cpu_count() or 1)


def status(field: str) -> int:
    """A size from Linux's account of this process, in bytes: VmRSS, or VmHWM for its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(field)))


def begin_peak() -> None:
    """VmHWM is the present size again."""
    Path("/proc/self/clear_refs").write_text("5")


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Beside so many processes that count."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
