"""The goals, each judged by its worst row: what was asked, what was measured, met or not.

A goal whose rows were not measured (other sizes, a peer that is not installed) has no value.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from suite import threads, transport
from suite.harness import OURS, Row

Value = float | None


@dataclass(frozen=True)
class Goal:
    """``at_least``: larger is better."""

    name: str
    target: float
    value: Value
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def as_json(self) -> dict[str, Any]:
        sign = ">=" if self.at_least else "<="
        target = f"{sign} {self.target:g}"
        return {"name": self.name, "target": target, "value": self.value, "met": self.met}


def select(rows: Iterable[Row], operator: str, **wanted: Any) -> list[Row]:
    """Rows of an operator whose problem has these values; a tuple gives several to choose from."""

    def fits(row: Row, key: str, value: Any) -> bool:
        allowed = value if isinstance(value, tuple) else (value,)
        return row.problem.get(key) in allowed

    return [
        row
        for row in rows
        if row.operator == operator and all(fits(row, *item) for item in wanted.items())
    ]


def extreme(worst: Callable[[list[float]], float], values: Iterable[Value]) -> Value:
    known = [value for value in values if value is not None]
    return worst(known) if known else None


def slowest(rows: Iterable[Row], peer: str, mine: str = OURS, clock: str = "cpu") -> Value:
    """The smallest ratio of a peer's time to ours."""
    return extreme(min, (row.ratio(peer, mine, clock) for row in rows))


def judge(rows: Sequence[Row]) -> list[Goal]:
    return [
        *transport_goals(rows),
        *tree_goals(rows),
        *geodesic_goals(rows),
        *whole_goals(rows),
    ]


def transport_goals(rows: Sequence[Row]) -> Iterator[Goal]:
    small = select(rows, "sinkhorn", images=1, pixels=(16384, 65536), targets=20)
    batches = select(rows, "sinkhorn", images=8, pixels=65536, targets=(20, 80))
    for where, some, eager, jax in (
        ("1 x 16384 and 65536 x 20", small, 60, 20),
        ("8 x 65536 x 20 and 80", batches, 30, 10),
    ):
        yield Goal(f"sinkhorn over PyTorch, {where}", eager, slowest(some, "PyTorch"))
        yield Goal(f"sinkhorn over OTT-JAX, {where}", jax, slowest(some, "OTT-JAX"))
    # Share of the bandwidth: a read of the cost over an iteration, whose time is 1 / 80 of ours.
    floors = (row.ratio(transport.FLOOR) for row in batches)
    yield Goal("sinkhorn's share of read bandwidth, 8 x 65536", 0.8, extreme(min, floors))
    growth = epsilon_growth([*small, *batches])
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
    yield Goal("spanning_tree over SciPy, 4 neighbours", 8, slowest(photographs, "SciPy"))
    yield Goal("spanning_tree over higra, 4 neighbours", 12, slowest(photographs, "higra"))
    large = select(rows, "tree_filter", pixels=512**2, channels=150)
    floors = [row.ratio("read of 8 bytes") for row in large]
    stream = extreme(max, (1 / ratio for ratio in floors if ratio))
    yield Goal("tree_filter over a read of 8 bytes, 512^2 x 150", 1.5, stream, at_least=False)
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
        yield Goal(f"two threads over one, {name}, B = 2", 1.8, gain)
    calls = [row.nanoseconds() / 1e3 for row in rows if row.operator.startswith("call of ")]
    yield Goal("microseconds of the slowest small call", 20, extreme(max, calls), at_least=False)
    imports = (row.nanoseconds() / 1e6 for row in select(rows, "import"))
    yield Goal("milliseconds of the import beyond torch", 50, extreme(max, imports), at_least=False)
