"""What the suite shows and leaves behind: tables, JSON and a plot of time against size."""

import datetime
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from suite.goals import Goal
from suite.harness import OURS, Row

# A floor is a line of its own; a point is a row.
PLOTTED = (
    "sinkhorn",
    "spanning_tree",
    "tree_filter",
    "geodesic_distance",
    "lab_affinity_loss",
)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((s.partition(":")[2].strip() for s in lines if "model name" in s), model)
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def describe(problem: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in problem.items())


def show_rows(console: Console, rows: Iterable[Row]) -> None:
    """A table for each run of equal operators: CPU time a unit, spread, and ratios to ours."""
    for operator, group in groupby(rows, key=lambda row: row.operator):
        some = list(group)
        with_memory = any(f.peak_bytes is not None for row in some for f in row.figures.values())
        table = Table(title=f"{operator}: ns a {some[0].unit}", title_justify="left")
        table.add_column("run", no_wrap=True)
        for column in ("CPU", "middle half", "wall", "over ours", *["MiB"] * with_memory):
            table.add_column(column, justify="right", no_wrap=True)
        for row in some:
            table.add_row(describe(row.problem), style="italic")
            for name in row.figures:
                style = "bold" if name == OURS else ""
                table.add_row(f"  {name}", *cells(row, name), style=style)
            for name, error in row.errors.items():
                table.add_row(f"  {name}", "failed", error[:60], style="red")
            table.add_section()
        console.print(table)


def cells(row: Row, name: str) -> Iterator[str]:
    figure, scale, ratio = row.figures[name], 1e9 / row.units, row.ratio(name)
    yield f"{figure.cpu * scale:.4g}"
    yield f"{figure.cpu_low * scale:.4g} to {figure.cpu_high * scale:.4g}"
    yield f"{figure.wall * scale:.4g}"
    yield "" if ratio is None or name == OURS else f"{ratio:.3g}x"
    if figure.peak_bytes is not None:
        yield f"{figure.peak_bytes / 2**20:.1f}"


def show_goals(console: Console, goals: Sequence[Goal]) -> None:
    table = Table("goal", title="Goals")
    for column in ("target", "value", "met"):
        table.add_column(column, justify="right")
    table.add_column("floor")
    words = {True: "yes", False: "no", None: "not measured"}
    for goal in goals:
        entry = goal.as_json()
        value = "" if goal.value is None else f"{goal.value:.3g}"
        style = {True: "green", False: "red", None: "dim"}[goal.met]
        table.add_row(goal.name, entry["target"], value, words[goal.met], goal.floor, style=style)
    console.print(table)


def show_peers(
    console: Console, versions: Mapping[str, str | None], left_out: Sequence[str]
) -> None:
    present = (f"{peer} {version}" for peer, version in versions.items() if version)
    console.print("Peers:", ", ".join(present))
    missing = [peer for peer, version in versions.items() if version is None]
    if missing:
        console.print("Not installed, so not measured:", ", ".join(missing), style="yellow")
    for reason in left_out:
        console.print("Left out:", reason, style="yellow")


def as_json(
    rows: Sequence[Row],
    goals: Sequence[Goal],
    versions: Mapping[str, str | None],
    left_out: Sequence[str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    here = machine()
    measured = {"date": datetime.date.today().isoformat(), "processor": here["processor"]}
    return {
        "machine": here,
        "settings": dict(settings),
        "peers": dict(versions),
        "left_out": list(left_out),
        "goals": [goal.as_json() | {"measured": measured} for goal in goals],
        "rows": [asdict(row) | {"measured": measured} for row in rows],
    }


def beside(before: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """A result with what only an earlier one has measured."""
    old_goals = {goal["name"]: goal for goal in before["goals"]}
    goals = [
        old_goals.get(goal["name"], goal) if goal["value"] is None else goal
        for goal in result["goals"]
    ]

    def key(row: Mapping[str, Any]) -> tuple[str, str]:
        return row["operator"], describe(row["problem"])

    new = {key(row) for row in result["rows"]}
    kept = [row for row in before["rows"] if key(row) not in new]
    return {**result, "goals": goals, "rows": [*result["rows"], *kept]}


def plot(rows: Sequence[Row], path: Path) -> None:
    """CPU time a call against pixels, both logarithmic: a straight line of slope 1 is linear."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    operators = [name for name in PLOTTED if any(row.operator == name for row in rows)]
    columns = min(3, max(1, len(operators)))
    lines = -(-max(1, len(operators)) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(5 * columns, 4 * lines), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(operators) :]:
        axis.set_visible(False)
    for axis, operator in zip(axes.flat, operators, strict=False):
        some = [row for row in rows if row.operator == operator]
        problem = largest_family(some)
        names = dict.fromkeys(name for row in problem for name in row.figures)
        for name in names:
            points = [
                (r.problem["pixels"], r.figures[name].cpu) for r in problem if name in r.figures
            ]
            x, y = zip(*sorted(points), strict=True)
            style: dict[str, Any] = {"color": "black", "linewidth": 2} if name == OURS else {}
            axis.loglog(x, y, marker="o", markersize=3, label=name, **style)
        fixed = {k: v for k, v in problem[0].problem.items() if k != "pixels"}
        axis.set_title(f"{operator}\n{describe(fixed)}", fontsize=9)
        axis.set_xlabel("pixels")
        axis.set_ylabel("CPU seconds")
        axis.legend(fontsize=7)
    figure.savefig(path)
    pyplot.close(figure)


def largest_family(rows: Sequence[Row]) -> list[Row]:
    """The rows that differ in pixels alone, of the parameters that most rows share."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        key = describe({k: v for k, v in row.problem.items() if k != "pixels"})
        families.setdefault(key, []).append(row)
    return max(families.values(), key=len)
