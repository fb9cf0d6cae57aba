"""Every operator beside its peers and the machine's floors: one process, runs interleaved.

    python bench/run.py              # all sizes, into bench/results/cpu.json and cpu.svg
    python bench/run.py --quick      # small sizes, about two minutes, into out/bench
    python bench/run.py --goals      # what the goals are judged by, in a quarter of an hour
    python bench/run.py --only tree geodesic

CPU time (median of repeats, and its middle half) on one thread; ``threads`` compares the wall time
of two. Peers are those of the extra ``bench`` that are installed; the others are listed. What a run
does not measure stays in the results with its date and processor, and docs/benchmarks.md gets their
table. ``--goals`` leaves out what no goal reads, the checks, and the pseudo-label step, whose peer
takes minutes a call (``--only pseudo_labels`` has it).
"""

import argparse
import ctypes
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from suite.peers import single_threaded_environment

if __name__ == "__main__":
    os.environ.update(single_threaded_environment())

import torch
from rich.console import Console
from suite import (
    geodesic,
    goal_table,
    maps,
    native,
    pairs,
    pseudo_labels,
    small,
    threads,
    transport,
    tree,
)
from suite.goals import judge, needed
from suite.harness import CHECK, QUICK_SECONDS, SECONDS, Row, measure_all
from suite.peers import versions
from suite.report import as_json, beside, describe, plot, show_goals, show_peers, show_rows

from point2mask.data.files import write_json

FAMILIES = {
    "floors": native.cases,
    "transport": transport.cases,
    "newton": transport.solutions,
    "tree": tree.cases,
    "geodesic": geodesic.cases,
    "pairs": pairs.cases,
    "maps": maps.cases,
    "pseudo_labels": pseudo_labels.cases,
    "threads": threads.cases,
    "small": small.cases,
}
GOALS = ("floors", "transport", "newton", "tree", "geodesic", "threads", "small")
QUICK_LEAVES_OUT = "torch.compile: a compilation takes up to a minute"
FULL_LEAVES_OUT = "torch.compile, but for three sizes of sinkhorn and the larger pair losses"
ROOT = native.ROOT
RESULTS = ROOT / "bench" / "results"


def rows(names: Sequence[str], quick: bool, for_goals: bool, console: Console) -> Iterator[Row]:
    """Of all families, each shown when it is done."""
    for name in names:
        start = time.perf_counter()
        cases = FAMILIES[name](quick)
        if for_goals:
            cases = filter(None, map(needed, cases))
        family = list(measure_all(cases, QUICK_SECONDS if quick else SECONDS))
        if name == "small":
            family.append(small.import_time(2 if quick else 9))
        show_rows(console, family)
        console.print(f"{name}: {time.perf_counter() - start:.0f} s", style="dim")
        yield from family


def keep_heap() -> None:
    """glibc keeps freed memory instead of returning it."""
    m_trim_threshold, m_mmap_threshold = -1, -3
    for parameter in (m_trim_threshold, m_mmap_threshold):
        ctypes.CDLL("libc.so.6").mallopt(parameter, 1 << 30)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    parser.add_argument("--goals", action="store_true", help="what the goals are judged by alone")
    parser.add_argument("--only", nargs="+", choices=FAMILIES, metavar="FAMILY")
    parser.add_argument("--out", type=Path, help="folder for cpu.json and cpu.svg")
    parser.add_argument(
        "--keep-heap",
        action="store_true",
        help="without the page faults of large temporaries, which the peers have more of",
    )
    args = parser.parse_args(arguments)
    out = args.out or (ROOT / "out" / "bench" if args.quick else RESULTS)
    console = Console(width=None if sys.stdout.isatty() else 120)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore")  # those of the peers
    if args.keep_heap:
        keep_heap()
    start = time.perf_counter()
    names = args.only or (GOALS if args.goals else tuple(FAMILIES))
    measured = list(rows(names, args.quick, args.goals, console))
    goals, left_out = judge(measured), [QUICK_LEAVES_OUT if args.quick else FULL_LEAVES_OUT]
    show_goals(console, goals)
    show_peers(console, versions(), left_out)
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        "quick": args.quick,
        "goals": args.goals,
        "only": list(names),
        "heap_kept": args.keep_heap,
        "seconds": time.perf_counter() - start,
    }
    result, file = as_json(measured, goals, versions(), left_out, settings), out / "cpu.json"
    if file.exists():
        result = beside(json.loads(file.read_text()), result)
    write_json(file, result)
    if out == RESULTS and not args.quick:
        goal_table.write(result["goals"])
    try:
        plot(measured, out / "cpu.svg")
    except ModuleNotFoundError as error:
        console.print(f"No plot: {error}; pip install 'point2mask[bench]'", style="yellow")
    console.print(f"{out / 'cpu.json'}; {settings['seconds']:.0f} s")
    if apart := [
        f"{row.operator} ({describe(row.problem)})" for row in measured if CHECK in row.errors
    ]:
        sys.exit(f"run.py: not the same results as the peers: {'; '.join(apart)}")


if __name__ == "__main__":
    main()
