"""Runs that differ in a few values, and what came out of them side by side.

Every run is an ordinary one in a folder of its own, so that a sweep is taken up again run by run,
and a run can be looked at, predicted with or gone on with by itself.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from point2mask.checkpoint import read_json_value
from point2mask.data.errors import DataError
from point2mask.data.files import write_json
from point2mask.train.config import RunConfig, load_config

GROUPS = {"all": "PQ", "things": "PQ things", "stuff": "PQ stuff"}


@dataclass(frozen=True)
class Variant:
    """A row of a table: what it is called, and ``key=value`` on top of the configuration."""

    name: str
    overrides: tuple[str, ...]


def _points(count: int, assigner: str) -> tuple[str, ...]:
    return (
        "supervision.kind=points",
        f"data.train.points_per_segment={count}",
        f"supervision.pseudo_masks.assigner={assigner}",
    )


_TRANSPORT = ("supervision.kind=points", "supervision.pseudo_masks.assigner=transport")

# The rows of the supplement's tables A1, A2 and A3.
TABLES = {
    "supervision": (
        Variant("M", ("supervision.kind=masks",)),
        Variant("P10", _points(10, "transport")),
        Variant("P1", _points(1, "transport")),
        Variant("P1 shortest_path", _points(1, "shortest_path")),
        Variant("P1 nearest", _points(1, "nearest")),
    ),
    "iterations": tuple(
        Variant(
            f"iterations={count}",
            (*_TRANSPORT, f"supervision.pseudo_masks.transport.iterations={count}"),
        )
        for count in (40, 60, 80, 100, 120)
    ),
    "beta": tuple(
        Variant(f"beta={beta}", (*_TRANSPORT, f"supervision.pseudo_masks.boundary_weight={beta}"))
        for beta in (1.0, 0.5, 0.2, 0.1, 0.05, 0.01)
    ),
}


def vary(text: str) -> tuple[Variant, ...]:
    """A row for every value of ``key=value,value,...``; commas inside [] and {} split nothing.

    Raises:
        DataError: there is no key, or a value is empty.
    """
    key, _, values = text.partition("=")
    parts, depth = [""], 0
    for character in values:
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if not all(key.split(".")) or not all(part.strip() for part in parts):
        raise DataError(f"expected key=value,value,..., got {text!r}")
    last = key.rpartition(".")[2]
    return tuple(Variant(f"{last}={part.strip()}", (f"{key}={part}",)) for part in parts)


@dataclass(frozen=True)
class Trial:
    """A run of a sweep: one variant with one seed."""

    variant: Variant
    seed: int
    folder: Path
    overrides: tuple[str, ...]  # all of them
    config: RunConfig  # which the overrides lead to


def plan(
    recipe: str, overrides: Sequence[str], variants: Sequence[Variant], out: Path, seeds: list[int]
) -> list[Trial]:
    """All runs, all variants with the first seed first; without seeds the configuration's own.

    Raises:
        DataError: a configuration is wrong, nothing would be scored, or two runs would be one.
    """
    base = load_config(recipe, overrides)
    for variant in variants:
        if any(entry.startswith("seed=") for entry in variant.overrides):
            raise DataError(f"{variant.name}: expected no seed in a row; give them by --seeds")
    if base.data.val is None:
        raise DataError(f"{recipe}: a sweep compares the quality on data.val, got none")
    trials = []
    for seed in seeds or [base.seed]:
        for variant in variants:
            every = (*overrides, *variant.overrides, f"seed={seed}")
            folder = out / (re.sub(r"[^A-Za-z0-9.+-]+", "_", variant.name) + f"_seed{seed}")
            trials.append(Trial(variant, seed, folder, every, load_config(recipe, every)))
    folders = [trial.folder for trial in trials]
    for folder in folders:
        if folders.count(folder) > 1:
            raise DataError(f"expected different values and seeds, got two runs for {folder}")
    return trials


class TrialOutcome(NamedTuple):
    """What a run came to: its ``result.json``, or why there is none."""

    trial: Trial
    result: dict[str, Any] | None
    error: str | None


RESULT = "sweep.json"
# Trains a trial in its folder, from its last checkpoint if it has one; says what went wrong.
Start = Callable[[Trial], str | None]


def sweep(
    trials: Sequence[Trial], out: Path, start: Start, say: Callable[[str], None]
) -> list[TrialOutcome]:
    """Trains what is not finished, one run after the other, and keeps ``out`` up to date.

    A run that fails does not stop the others. After every run ``sweep.json`` has what is
    known so far.
    """
    outcomes: list[TrialOutcome] = []
    for number, trial in enumerate(trials, start=1):
        title = f"[{number}/{len(trials)}] {trial.variant.name}, seed {trial.seed}"
        result, error = None, None
        try:
            result = finished(trial)
            if result is not None:
                say(f"{title}: finished before")
            else:
                say(title)
                error = start(trial)
                result = finished(trial) if error is None else None
                if error is None and result is None:
                    error = f"{trial.folder}: expected result.json of the planned configuration"
        except DataError as failure:
            error = str(failure)
        if error is not None:
            say(f"{title}: failed: {error}")
        outcomes.append(TrialOutcome(trial, result, error))
        write_json(out / RESULT, sweep_to_plain(rows(outcomes)))
    return outcomes


def finished(trial: Trial) -> dict[str, Any] | None:
    """The result of a run, if it is one of the configuration that is asked for."""
    result, config = trial.folder / "result.json", trial.folder / "config.yaml"
    if not (result.is_file() and config.is_file()):
        return None
    if load_config(config, needs_weights=False) != trial.config:
        return None
    found = read_json_value(result)
    if not isinstance(found, dict) or not {"quality", "seconds"} <= found.keys():
        raise DataError(f"{result}: expected the result of a run, got something else; remove it")
    return found


class Figure(NamedTuple):
    """A panoptic quality in [0, 1] over the seeds of a row; None where it is not known."""

    mean: float | None
    spread: float | None  # standard deviation; of two seeds or more
    ratio: float | None  # of the mean to that of the first row


class Row(NamedTuple):
    """What a variant came to."""

    variant: Variant
    outcomes: list[TrialOutcome]
    figures: dict[str, Figure]  # by the names of GROUPS


def rows(outcomes: Sequence[TrialOutcome]) -> list[Row]:
    """The outcomes by variant, in the order of their first runs."""
    table: list[Row] = []
    for variant in dict.fromkeys(outcome.trial.variant for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.trial.variant == variant]
        figures = {}
        for group in GROUPS:
            values = [o.result["quality"][group]["pq"] for o in own if o.result is not None]
            values = [value for value in values if value is not None]
            average = mean(values) if values else None
            first = table[0].figures[group].mean if table else average
            figures[group] = Figure(
                average,
                stdev(values) if len(values) > 1 else None,
                average / first if average is not None and first else None,
            )
        table.append(Row(variant, own, figures))
    return table


def sweep_to_plain(table: Sequence[Row]) -> dict[str, object]:
    """What ``sweep.json`` has: all figures in [0, 1]."""
    return {"rows": [_row_to_plain(row) for row in table]}


def _row_to_plain(row: Row) -> dict[str, object]:
    return {
        "name": row.variant.name,
        "overrides": list(row.variant.overrides),
        "pq": {group: figure._asdict() for group, figure in row.figures.items()},
        "runs": [
            {
                "seed": trial.seed,
                "folder": trial.folder.name,
                "quality": None if result is None else result["quality"],
                "seconds": None if result is None else result["seconds"],
                "error": error,
            }
            for trial, result, error in row.outcomes
        ],
    }
