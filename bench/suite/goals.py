"""The goals, each judged by its worst row: what was asked, what was measured, met or not.

A goal whose rows were not measured (other sizes, a peer that is not installed) has no value.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from suite import small, threads, transport, tree
from suite.harness import OURS, Case, Row
from suite.inputs import NOISE, PHOTOGRAPHS

Value = float | None


@dataclass(frozen=True)
class Goal:
    """``at_least``: larger is better. ``floor``: what the same run says about what is possible."""

    name: str
    target: float
    value: Value
    at_least: bool = True
    floor: str = ""

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        sign = ">=" if self.at_least else "<="
        target = f"{sign} {self.target:g}"
        return {
            "name": self.name,
            "target": target,
            "value": self.value,
            "met": self.met,
            "floor": self.floor,
        }


def fits(problem: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a problem has these values; a tuple gives several to choose from."""
    return all(
        problem.get(key) in (value if isinstance(value, tuple) else (value,))
        for key, value in wanted.items()
    )


def select(rows: Iterable[Row], operator: str, **wanted: Any) -> list[Row]:
    """Rows of an operator whose problem fits."""
    return [row for row in rows if row.operator == operator and fits(row.problem, wanted)]


# What the goals read: operator, problems, and runs beside ours. Of the floors, the threads and the
# small calls it is all.
SMALL = {"images": 1, "pixels": (16384, 65536), "targets": 20}
BATCHES = {"images": 8, "pixels": 65536, "targets": (20, 80)}
PEERS = {"PyTorch", "OTT-JAX", transport.FLOOR}
READ: tuple[tuple[str, Mapping[str, Any], set[str]], ...] = (
    ("sinkhorn", SMALL, PEERS),
    ("sinkhorn", BATCHES, PEERS),
    ("sinkhorn to 1e-6", {}, set()),
    (
        "spanning_tree",
        {"neighbours": 4, "image": PHOTOGRAPHS},
        {"SciPy", "SciPy, rooted", "higra"},
    ),
    ("tree_filter", {}, {"both gradients", "read of 8 bytes", tree.STREAMS, "scalar loop"}),
    ("geodesic_distance", {"image": (*PHOTOGRAPHS, NOISE)}, {"SciPy"}),
    ("pseudo_masks", {}, {"published"}),
)


def needed(case: Case) -> Case | None:
    """The case with the runs that goals read alone, unchecked; None where no goal reads it."""
    if case.operator.startswith(("floor: ", "threads: ", "call of ")):
        return case
    for operator, wanted, peers in READ:
        if case.operator == operator and fits(case.problem, wanted):
            runs = {name: run for name, run in case.runs.items() if name in {OURS, *peers}}
            return replace(case, runs=runs, check=None)
    return None


def extreme(worst: Callable[[list[float]], float], values: Iterable[Value]) -> Value:
    known = [value for value in values if value is not None]
    return worst(known) if known else None


def slowest(rows: Iterable[Row], peer: str, mine: str = OURS, clock: str = "cpu") -> Value:
    """The smallest ratio of a peer's time to ours."""
    return extreme(min, (row.ratio(peer, mine, clock) for row in rows))


def say(text: str, *values: Value) -> str:
    """The text with the values in it; nothing where one was not measured."""
    return "" if None in values else text.format(*values)


def reads(rows: Iterable[Row], floor: str) -> Value:
    """The largest ratio of our time to that of a floor."""
    ratios = (row.ratio(floor) for row in rows)
    return extreme(max, (1 / ratio for ratio in ratios if ratio))


def judge(rows: Sequence[Row]) -> list[Goal]:
    return [
        *transport_goals(rows),
        *tree_goals(rows),
        *geodesic_goals(rows),
        *whole_goals(rows),
    ]


def transport_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    single = select(rows, "sinkhorn", **SMALL)
    batches = select(rows, "sinkhorn", **BATCHES)
    for where, some, eager, jax in (
        ("1 x 16384 and 65536 x 20", single, 60, 20),
        ("8 x 65536 x 20 and 80", batches, 30, 10),
    ):
        floor = say("an iteration takes {:.2g} reads of the cost", reads(some, transport.FLOOR))
        yield Goal(f"sinkhorn over PyTorch, {where}", eager, slowest(some, "PyTorch"), floor=floor)
        yield Goal(f"sinkhorn over OTT-JAX, {where}", jax, slowest(some, "OTT-JAX"), floor=floor)
    # Share of the bandwidth: a read of the cost over an iteration, whose time is 1 / 80 of ours.
    floors = (row.ratio(transport.FLOOR) for row in batches)
    yield Goal("sinkhorn's share of read bandwidth, 8 x 65536", 0.8, extreme(min, floors))
    growth = epsilon_growth([*single, *batches])
    yield Goal("sinkhorn, epsilon 1e-3 over 1e-1, those sizes", 1.5, growth, at_least=False)
    passes = (row.problem["passes"] for row in select(rows, "sinkhorn to 1e-6"))
    yield Goal(
        "Newton's passes to a marginal error of 1e-6", 16, extreme(max, passes), at_least=False
    )


def epsilon_growth(rows: Sequence[Row]) -> Value:
    def of(epsilon: float) -> dict[tuple[Any, ...], float]:
        keys = ("images", "pixels", "targets", "cost")
        chosen = select(rows, "sinkhorn", epsilon=epsilon)
        return {tuple(row.problem[k] for k in keys): row.figures[OURS].cpu for row in chosen}

    hard, easy = of(1e-3), of(1e-1)
    return extreme(max, (hard[key] / easy[key] for key in hard.keys() & easy.keys()))


def tree_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    photographs = [
        row
        for row in select(rows, "spanning_tree", neighbours=4)
        if row.problem["image"] != "noise"
    ]
    floor = say(
        "over SciPy with an order and a root: {:.3g}", slowest(photographs, "SciPy, rooted")
    )
    yield Goal(
        "spanning_tree over SciPy, 4 neighbours", 8, slowest(photographs, "SciPy"), floor=floor
    )
    yield Goal(
        "spanning_tree over higra, 4 neighbours", 12, slowest(photographs, "higra"), floor=floor
    )
    large = select(rows, "tree_filter", pixels=512**2, channels=150)
    copies = extreme(max, (row.ratio("read of 8 bytes", tree.STREAMS) for row in large))
    floor = say("four passes of rows, copied: {:.3g}", None if copies is None else 1 / copies)
    yield Goal(
        "tree_filter over a read of 8 bytes, 512^2 x 150",
        4,
        reads(large, "read of 8 bytes"),
        at_least=False,
        floor=floor,
    )
    one = select(rows, "tree_filter", channels=1)
    yield Goal("tree_filter over the scalar loop, C = 1", 1, slowest(one, "scalar loop"))
    many = select(rows, "tree_filter", channels=(20, 150))
    yield Goal("tree_filter over the scalar loop, C >= 20", 6, slowest(many, "scalar loop"))
    gradients = (row.ratio("both gradients") for row in select(rows, "tree_filter"))
    yield Goal("tree_filter's gradients over forward", 2.2, extreme(max, gradients), at_least=False)


def geodesic_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    natural = select(rows, "geodesic_distance", image=("astronaut", "coffee"))
    noise = select(rows, "geodesic_distance", image="noise")
    yield Goal("geodesic_distance over SciPy, photographs", 20, slowest(natural, "SciPy"))
    yield Goal("geodesic_distance over SciPy, white noise", 5, slowest(noise, "SciPy"))


def whole_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    whole = select(rows, "pseudo_masks", pixels=600 * 800)
    yield Goal("pseudo_masks over the published step", 50, slowest(whole, "published"))
    pairs = [row for row in rows if row.operator.startswith("threads: ")]
    for row in pairs:
        name = row.operator.removeprefix("threads: ")
        gain = row.ratio(threads.ONE, clock="wall")
        yield Goal(f"two threads over one, {name}, B = 2", 1.8, gain, floor=possible(row))
    calls = [row for row in rows if row.operator.startswith("call of ")]
    slow = max(calls, key=lambda row: row.nanoseconds(), default=None)
    yield Goal(
        "microseconds of the slowest small call",
        20,
        None if slow is None else slow.nanoseconds() / 1e3,
        at_least=False,
        floor="" if slow is None else unavoidable(slow, calls),
    )
    imports = (row.nanoseconds() / 1e6 for row in select(rows, "import"))
    yield Goal("milliseconds of the import beyond torch", 50, extreme(max, imports), at_least=False)


def possible(row: Row) -> str:
    """What two threads could gain at most: one has to be started, memory serves both."""
    wall = {name: figure.wall for name, figure in row.figures.items()}
    if {threads.STARTED, threads.NOTHING, threads.ONE} <= wall.keys():
        start, alone = wall[threads.STARTED] - wall[threads.NOTHING], wall[threads.ONE]
        most = alone / (alone / 2 + start)
        return f"a start takes {1e6 * start:.0f} us of {1e6 * alone:.0f}: at most {most:.3g}"
    if {threads.COPIED, threads.COPIED_ALONE} <= wall.keys():
        gain = wall[threads.COPIED_ALONE] / wall[threads.COPIED]
        return f"a copy of the costs: {gain:.3g}"
    return ""


def unavoidable(slow: Row, calls: Iterable[Row]) -> str:
    """What PyTorch takes of the slowest small call."""
    parts = [f"{slow.operator.removeprefix('call of ')}"]
    if small.BARE in slow.figures:
        parts.append(
            f"without PyTorch's kernel for gradients {slow.nanoseconds(small.BARE) / 1e3:.3g}"
        )
    parts += [
        f"{name} {row.nanoseconds(name) / 1e3:.3g}"
        for row in calls
        for name in (small.EMPTY, small.EMPTY_WITH_RESULTS)
        if name in row.figures
    ]
    return "; ".join(parts)
