"""Timers and roofs for ``bench_gpu.py``: CUDA events on a GPU, the clock on the CPU."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

Run = Callable[[], Any]
# One sample runs the call so often that it takes about this long: short kernels are not resolved.
SAMPLE_SECONDS = 2e-3
MOST_CALLS = 50
# After so long no more samples are taken, once there are three.
ROW_SECONDS = 2.0
# Assumed in the design of the kernels: memory, and exp2 at 16 a clock of 132 multiprocessors.
PUBLISHED_ROOFS = {"H100 SXM": {"bytes_per_second": 3.35e12, "exponentials_per_second": 3.7e12}}
EXPONENTIALS_A_VALUE = 256


class Timer:
    """Seconds of a call; ``cuda`` by events on the current stream, ``cpu`` by the clock."""

    def __init__(self, device: str) -> None:
        self.on_gpu = torch.device(device).type == "cuda"

    def wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def sample(self, run: Run, calls: int) -> float:
        """Mean of so many calls, one after the other."""
        if not self.on_gpu:
            begin = time.perf_counter()
            for _ in range(calls):
                run()
            return (time.perf_counter() - begin) / calls
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(calls):
            run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1e-3 / calls

    def measure(self, peers: dict[str, Run], repeats: int) -> dict[str, dict[str, Any]]:
        """Median seconds of every peer and its spread (slowest over fastest sample).

        Peers take turns. One that cannot run is left out of the turns: ``{"reason": ...}``. The
        first is ours and may not fail.
        """
        results: dict[str, dict[str, Any]] = {}
        calls: dict[str, int] = {}
        samples: dict[str, list[float]] = {}
        for number, (name, run) in enumerate(peers.items()):
            try:
                run()  # compiles, fills caches
                self.wait()
                once = self.sample(run, 1)
            except Exception as error:  # of other people's code on machines we have not seen
                if number == 0:
                    raise
                results[name] = {"reason": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
                self.forget()
                continue
            calls[name] = max(1, min(MOST_CALLS, int(SAMPLE_SECONDS / max(once, 1e-9))))
            samples[name] = []
        begin = time.perf_counter()
        for repeat in range(repeats):
            if repeat >= 3 and time.perf_counter() - begin > ROW_SECONDS:
                break
            for name, taken in samples.items():
                taken.append(self.sample(peers[name], calls[name]))
        for name, taken in samples.items():
            results[name] = {
                "seconds": statistics.median(taken),
                "spread": max(taken) / min(taken),
            }
        return {name: results[name] for name in peers}

    def graph(self, run: Run, repeats: int) -> dict[str, Any]:
        """The same of one call in a CUDA graph, without the host's part; or a reason."""
        if not self.on_gpu:
            return {"reason": "not on a GPU"}
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                run()
        except Exception as error:  # what cannot be captured is said in the row
            torch.cuda.synchronize()
            return {"reason": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        return self.measure({"graph": graph.replay}, repeats)["graph"]

    def forget(self) -> None:
        """Gives memory back after a failure, say for want of memory."""
        if self.on_gpu:
            torch.cuda.empty_cache()


def measured_roofs(device: str, timer: Timer, repeats: int) -> dict[str, float]:
    """Bytes a second of a copy (read and written), and exponentials a second, of this device."""
    words = 1 << 28 if timer.on_gpu else 1 << 20
    source = torch.zeros(words, device=device)
    target = torch.empty_like(source)
    run_exponentials, count = _exponentials(device)
    taken = timer.measure(
        {"copy": lambda: target.copy_(source), "exponentials": run_exponentials}, repeats
    )
    roofs = {"bytes_per_second": 8 * words / taken["copy"]["seconds"]}
    if "seconds" in taken["exponentials"]:
        roofs["exponentials_per_second"] = count / taken["exponentials"]["seconds"]
    return roofs


def _exponentials(device: str) -> tuple[Run, int]:
    """A kernel that does little but exp2, and how many it takes."""
    if torch.device(device).type != "cuda":
        x = torch.rand(1 << 14)
        return lambda: torch.exp2(x), x.numel()
    code = f"""template <typename T> T chain(T x) {{
        for (int i = 0; i < {EXPONENTIALS_A_VALUE}; ++i) x = exp2f(-x);
        return x;
    }}"""
    x = torch.rand(1 << 22, device=device)
    kernel = torch.cuda.jiterator._create_jit_fn(code)
    return lambda: kernel(x), x.numel() * EXPONENTIALS_A_VALUE
