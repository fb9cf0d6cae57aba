"""One operator on one problem beside its peers: what to call, how often, and what it took."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from timing import Samples, sample
from torch.profiler import ProfilerActivity, profile

OURS, CHECK = "point2mask", "check of agreement"
# A run is repeated until it has taken this long, within bounds; short calls are timed in batches.
SECONDS, FEWEST, MOST, SHORTEST = 1.5, 3, 15, 2e-3
QUICK_SECONDS = 0.15


@dataclass(frozen=True)
class Run:
    """A call, the share of the case's work that it does, and the threads that it may use."""

    call: Callable[[], Any]
    share: float = 1.0
    threads: int = 1


@dataclass(frozen=True)
class Case:
    """One problem.

    Attributes:
        operator: what is measured.
        problem: sizes and parameters; ``pixels`` is the axis of the plot.
        units: how many units of work the whole case is, and ``unit`` what one is called.
        runs: by name, ``OURS`` among them; only peers that are installed.
        check: raises AssertionError unless the peers compute the same.
        memory: also the peak of what torch allocates during a call.
    """

    operator: str
    problem: Mapping[str, Any]
    units: float
    unit: str
    runs: Mapping[str, Run]
    check: Callable[[], None] | None = None
    memory: bool = False


@dataclass(frozen=True)
class Figure:
    """Seconds for the whole work of a case: medians, and the middle half of the CPU times."""

    cpu: float
    wall: float
    cpu_low: float
    cpu_high: float
    repeats: int
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Row:
    """A measured case."""

    operator: str
    problem: Mapping[str, Any]
    units: float
    unit: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def ratio(self, peer: str, mine: str = OURS, clock: str = "cpu") -> float | None:
        """How many times longer the peer takes; None where either was not measured."""
        if peer not in self.figures or mine not in self.figures:
            return None
        return float(getattr(self.figures[peer], clock) / getattr(self.figures[mine], clock))

    def nanoseconds(self, name: str = OURS) -> float:
        """CPU time a unit of work."""
        return self.figures[name].cpu / self.units * 1e9


def summarize(taken: Samples, scale: float, peak: int | None = None) -> Figure:
    """Figures of samples that are each ``1 / scale`` of the whole work."""
    cpu = sorted(seconds * scale for seconds in taken.cpu)
    quarter = len(cpu) // 4
    return Figure(
        cpu=statistics.median(cpu),
        wall=statistics.median(taken.wall) * scale,
        cpu_low=cpu[quarter],
        cpu_high=cpu[-1 - quarter],
        repeats=len(cpu),
        peak_bytes=peak,
    )


def one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def batched(call: Callable[[], Any], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            call()

    return run


def measure(case: Case, seconds: float = SECONDS) -> Row:
    """Checks that the peers agree, then times them in turn.

    A peer that raises is left out and its error kept, as is a disagreement; an error of ours is an
    error.
    """

    def prepare(name: str) -> None:
        if torch.get_num_threads() != case.runs[name].threads:
            torch.set_num_threads(case.runs[name].threads)
            case.runs[name].call()  # starts the threads

    calls, batches, repeats, errors = {}, {}, {}, {}
    try:
        if case.check is not None:
            case.check()
    except Exception as error:  # a peer that fails is no agreement either
        errors[CHECK] = one_line(error)
    for name, run in case.runs.items():
        try:
            prepare(name)
            run.call()  # compiles, and fills caches
            start = time.perf_counter()
            run.call()
            once = time.perf_counter() - start
        except Exception as error:
            if name == OURS:
                raise
            errors[name] = one_line(error)
            continue
        batches[name] = max(1, round(SHORTEST / max(once, 1e-7)))
        calls[name] = batched(run.call, batches[name])
        repeats[name] = min(MOST, max(FEWEST, int(seconds / (once * batches[name]))))
    samples = sample(calls, repeats, prepare)
    figures = {
        name: summarize(
            taken,
            1 / (case.runs[name].share * batches[name]),
            peak_bytes(case.runs[name].call) if case.memory else None,
        )
        for name, taken in samples.items()
    }
    torch.set_num_threads(1)
    return Row(case.operator, case.problem, case.units, case.unit, figures, errors)


def peak_bytes(call: Callable[[], Any]) -> int:
    """Highest sum of live torch allocations made during the call."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        call()
    live = peak = 0
    for event in trace.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return int(peak)


def measure_all(cases: Iterator[Case], seconds: float) -> Iterator[Row]:
    """Rows as they come; a case's tensors go before the next is made."""
    for case in cases:
        yield measure(case, seconds)
