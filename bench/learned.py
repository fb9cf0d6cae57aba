"""Many short trainings side by side within a budget: what a way to grow masks is worth.

    python bench/learned.py penn_fudan data.root=DATA --out out/learned --minutes 60 --jobs 2
    python bench/learned.py coco_mini data.root=DATA --ways transport learned --seeds 0 1 2

Every run is an ordinary ``point2mask train`` on one core in a folder of its own. What the budget
does not allow is stopped with a checkpoint, and the same command goes on with it. Results are added
to ``--json``; the table has means and standard deviations over the seeds, and for each way the
difference to the first one, seed by seed.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

from point2mask.data.files import write_json
from point2mask.data.json_files import read_json
from point2mask.rounds import RESULT
from point2mask.train.sweep import Trial, Variant, finished, plan

RESULTS = Path(__file__).parent / "results" / "learned.json"
GROUPS = {"pq": "all", "things": "things", "stuff": "stuff"}  # a run's figures, and the result's
SAME = ("data", "learnt_from", "assigner", "round", "seed", "steps", "command")  # of one run
LAST_EPOCH = "report.evaluate_epochs=1000000"

# The recipe of a data set, and what makes it a matter of minutes.
DATA = {
    "penn_fudan": (
        "penn_fudan_lite0",
        *("augment.short_sides=[224,256,288]", "augment.max_side=416"),
        "augment.test_short_side=256",
    ),
    "coco_mini": ("coco_mini_lite0",),
    "nuclei": ("nuclei_lite0",),
}
_BRANCH = "network.click_layers=3"
_MASKS = "supervision.pseudo_masks"
WAYS = {
    "transport": (f"{_MASKS}.transport.supplies=uniform",),
    "shortest_path": (f"{_MASKS}.assigner=shortest_path",),
    "learned": (_BRANCH, f"{_MASKS}.assigner=learned"),
    "transport, learned": (
        *(_BRANCH, f"{_MASKS}.learned_weight=0.1"),
        f"{_MASKS}.transport.supplies=learned",
    ),
    # The losses of the branch alone: masks are grown as by "transport".
    "transport beside a branch": (_BRANCH, f"{_MASKS}.transport.supplies=uniform"),
    "masks": ("supervision.kind=masks",),
}


@dataclass(frozen=True)
class Study:
    """All runs of a command."""

    data: str
    recipe: str
    trials: list[Trial]
    rounds: int = 1

    def in_rounds(self, trial: Trial) -> bool:
        """True masks need no second round."""
        return self.rounds > 1 and trial.config.supervision.kind == "points"

    def command(self, trial: Trial) -> list[str]:
        """Of a run, but for its folder: what there is to repeat."""
        rounds = ["--rounds", str(self.rounds)] if self.in_rounds(trial) else []
        return ["train", self.recipe, *trial.overrides, *rounds]

    def results(self, trial: Trial) -> list[dict[str, Any]]:
        """What there is of a run, round by round."""
        folder = trial.folder / "round_1" if self.in_rounds(trial) else trial.folder
        first = finished(replace(trial, folder=folder))
        if first is None or not self.is_done(trial):
            return [] if first is None else [first]
        if not self.in_rounds(trial):
            return [first]
        return read_json(trial.folder / RESULT, list[dict[str, Any]], "the results of rounds")

    def is_done(self, trial: Trial) -> bool:
        """Whether there is nothing left to train."""
        if self.in_rounds(trial):
            return (trial.folder / RESULT).is_file()
        return finished(trial) is not None


def variants(ways: Sequence[str], clicks: Sequence[int]) -> list[Variant]:
    """Each way from each number of clicks; from true masks once."""
    found = [Variant("masks, masks", WAYS["masks"])] if "masks" in ways else []
    for count in clicks:
        learnt_from = f"{count} click" + "s" * (count > 1)
        points = ("supervision.kind=points", f"data.train.points_per_segment={count}")
        found += [
            Variant(f"{learnt_from}, {way}", (*points, *WAYS[way]))
            for way in ways
            if way != "masks"
        ]
    return found


def train_all(study: Study, jobs: int, seconds: float, console: Console) -> list[Trial]:
    """Runs what is not finished, ``jobs`` at a time; returns the runs that failed."""
    waiting = [trial for trial in study.trials if not study.is_done(trial)]
    running: dict[subprocess.Popen[bytes], Trial] = {}
    failed, end = [], time.monotonic() + seconds
    while waiting or running:
        if time.monotonic() >= end:
            console.print(f"the budget is spent: {len(waiting) + len(running)} runs are not done")
            _stop(list(running))
            break
        while waiting and len(running) < jobs:
            trial = waiting.pop(0)
            console.print(f"{trial.variant.name}, seed {trial.seed}")
            running[_start(study, trial)] = trial
        for process in [process for process in running if process.poll() is not None]:
            trial = running.pop(process)
            if process.returncode:
                console.print(f"failed: see {_log(trial)}")
                failed.append(trial)
        time.sleep(0.2)
    return failed


def _log(trial: Trial) -> Path:
    return trial.folder.with_suffix(".log")


def _start(study: Study, trial: Trial) -> subprocess.Popen[bytes]:
    trial.folder.parent.mkdir(parents=True, exist_ok=True)
    arguments = [*study.command(trial), "--out", str(trial.folder), "--resume", "--device", "cpu"]
    with _log(trial).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "point2mask", *arguments],
            stdout=log,
            stderr=log,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Each at the end of its step, with a checkpoint."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait()


def entries(study: Study) -> list[dict[str, Any]]:
    """All that is finished, a line of the results each."""
    found = []
    for trial in study.trials:
        learnt_from, _, assigner = trial.variant.name.partition(", ")
        for number, result in enumerate(study.results(trial), start=1):
            found.append(
                {
                    "data": study.data,
                    "learnt_from": learnt_from,
                    "assigner": assigner,
                    "round": number,
                    "seed": trial.seed,
                    "steps": result["steps"],
                    **{key: result["quality"][group]["pq"] for key, group in GROUPS.items()},
                    "command": " ".join(["point2mask", *study.command(trial)]),
                }
            )
    return found


def keep(path: Path, found: Sequence[dict[str, Any]]) -> None:
    """Adds runs to a file of results; the same run is replaced."""
    known = []
    if path.is_file():
        known = read_json(path, dict[str, list[dict[str, Any]]], "results of runs")["runs"]
    runs = {tuple(run[key] for key in SAME): run for run in [*known, *found]}
    write_json(path, {"runs": list(runs.values())})


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation in percent, without the latter for a single value."""
    if not values:
        return ""
    text = f"{100 * mean(values):.1f}"
    return text if len(values) < 2 else f"{text} ± {100 * stdev(values):.1f}"


def differences(
    own: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]], key: str
) -> list[float]:
    """Of a figure, between runs of one seed."""
    other = {run["seed"]: run[key] for run in base}
    return [run[key] - other[run["seed"]] for run in own if run["seed"] in other]


def table(found: Sequence[dict[str, Any]]) -> Table:
    """Ways by rounds, with what they gain over the first one in the same round."""
    made = Table("learnt from", "by", "round", "seeds", *GROUPS, "things, against the first")
    ways = dict.fromkeys((run["learnt_from"], run["assigner"]) for run in found)
    for number in sorted({run["round"] for run in found}):
        of_round = [run for run in found if run["round"] == number]
        first: list[dict[str, Any]] = []
        for way in ways:
            own = [run for run in of_round if (run["learnt_from"], run["assigner"]) == way]
            if not own:
                continue
            gain = spread(differences(own, first, "things")) if first else ""
            first = first or own
            figures = [spread([run[key] for run in own]) for key in GROUPS]
            made.add_row(*way, str(number), str(len(own)), *figures, gain)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help=f"what results call the data; known: {', '.join(DATA)}")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="on top of the recipe")
    parser.add_argument("--recipe", help="by default that of the data")
    parser.add_argument("--out", type=Path, default=Path("out/learned"))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--clicks", type=int, nargs="+", default=[1], help="a segment")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="the budget")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, of one core each")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where results are added")
    args = parser.parse_args()
    if args.recipe is None and args.data not in DATA:
        parser.error(f"--recipe: expected one, as {args.data} is none of {', '.join(DATA)}")
    recipe, *preset = DATA.get(args.data, (args.recipe,)) if args.recipe is None else (args.recipe,)
    overrides = [*preset, LAST_EPOCH, *args.overrides]
    chosen = variants(args.ways, args.clicks)
    trials = plan(recipe, overrides, chosen, args.out / args.data, args.seeds)
    study = Study(args.data, recipe, trials, args.rounds)
    console = Console()
    failed = train_all(study, args.jobs, 60 * args.minutes, console)
    found = entries(study)
    keep(args.json, found)
    console.print(table(found))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
