"""``point2mask sweep``: the tables of the paper on any configuration."""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from point2mask.cli.command import (
    ERROR,
    PRINT,
    Subparsers,
    UsageError,
    add_command,
    add_json,
    add_recipe,
    local,
    positive,
    write_result,
)
from point2mask.cli.device import add_device, device_of
from point2mask.cli.tables import percent, print_tables, table
from point2mask.data.files import named

if TYPE_CHECKING:
    from point2mask.train.sweep import Row, Trial


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "sweep",
        run,
        "Train runs that differ in a few values, and compare their panoptic quality.",
        """
          full masks, ten clicks, one click, and three ways to grow masks (table A1):
            point2mask sweep shapes_tiny --table supervision --out out/a1
          Sinkhorn iterations and the weight of the boundary map (tables A2 and A3), three seeds:
            point2mask sweep shapes_tiny --table iterations --out out/a2 --seeds 0 1 2
            point2mask sweep shapes_tiny --table beta --out out/a3 --seeds 0 1 2
          any other key, on top of other values; interrupted, the same command goes on:
            point2mask sweep shapes_tiny schedule.epochs=10 \\
              --vary supervision.pseudo_masks.transport.supplies=centroid,uniform,network \\
              --out out/supplies
        """,
    )
    add_recipe(parser)
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="values for all runs, as for 'train'"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--table", choices=("supervision", "iterations", "beta"), help="a table of the paper"
    )
    what.add_argument("--vary", metavar="KEY=V1,V2,...", help="one row for every value")
    parser.add_argument(
        "--out",
        type=local,
        required=True,
        metavar="DIR",
        help="gets a folder for every run, and sweep.json",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[], metavar="N", help="default: that of RECIPE"
    )
    parser.add_argument(
        "--processes", type=positive, default=1, metavar="N", help="of every run (default: 1)"
    )
    add_device(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from point2mask.data.claims import claimed
    from point2mask.train.sweep import RESULT, TABLES, plan, rows, sweep, sweep_to_plain, vary

    variants = TABLES[args.table] if args.table else vary(args.vary)
    trials = plan(args.recipe, args.overrides, variants, args.out, args.seeds)
    flags = ["--device", device_of(args), "--resume"]

    def start(trial: "Trial") -> str | None:
        words = ["train", args.recipe, *trial.overrides, "--out", trial.folder, *flags]
        return train_in_process([str(word) for word in words], trial.folder, args.processes)

    with claimed(args.out, "sweep", [RESULT]):
        outcomes = sweep(trials, args.out, start, say)
    results = rows(outcomes)
    write_result(args.json, sweep_to_plain(results))
    if args.json != PRINT:
        print_table(results)
    say(str(args.out / "sweep.json"))
    failed = [outcome.trial.folder.name for outcome in outcomes if outcome.error is not None]
    if failed:
        raise UsageError(
            f"{len(failed)} of {len(trials)} runs failed, see train.log in {args.out}: "
            f"{', '.join(failed)}; the same command tries them again"
        )
    return 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def train_in_process(command: Sequence[str], folder: Path, processes: int) -> str | None:
    """Runs ``point2mask train`` in processes of its own and returns what went wrong.

    What it says goes to our error stream and to ``train.log`` in its folder. Not in this process: a
    run that ends by a signal, or leaves a GPU unusable, shall not take the others along.
    """
    say(f"  $ point2mask {shlex.join(command)}")
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
        command = [*command, "--processes", str(processes)]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train.log"
    last = error = ""
    with (
        named(path),
        path.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            [*launcher, "point2mask", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sys.stderr.write(f"  {line}")
                log.write(line)
                log.flush()
                last = line.strip() or last
                if line.startswith(ERROR):
                    error = line.removeprefix(ERROR).strip()
        except BaseException:
            process.terminate()
            raise
    if process.returncode == 0:
        return None
    return error or f"ended with {process.returncode} ({last or 'without a word'})"


def print_table(rows: Sequence["Row"]) -> None:
    """Percentages, mean and spread over the seeds, and the ratio to the first row."""
    from point2mask.train.sweep import GROUPS

    columns = [column for title in GROUPS.values() for column in (title, "ratio")]
    shown = table("", "seeds", *columns)
    for row in rows:
        done = sum(outcome.result is not None for outcome in row.outcomes)
        cells = [str(done) if done == len(row.outcomes) else f"{done} of {len(row.outcomes)}"]
        for mean, spread, ratio in row.figures.values():
            deviation = "" if spread is None else f" ± {100 * spread:.1f}"
            cells.append(percent(mean) + deviation)
            cells.append("-" if ratio is None else f"{ratio:.2f}")
        shown.add_row(row.variant.name, *cells)
    print_tables(shown)
