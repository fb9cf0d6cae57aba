"""What sharing out costs: labelling by one process, by two, and by a Ray cluster of this machine.

    python bench/spreading.py [--pictures 2000] [--size 160 240] [--ways 1 2 ray]

Printed are pictures a second of the clock, and processor time, which says it also on a busy
machine: of all processes together, and of the parent, which only hands out and counts. Each with
the start of processes, and without: from the first result to the last. Numerical libraries have one
thread. Every way must make the same bytes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from killed_runs import contents

from point2mask.data import Spreading, read_panoptic, read_points, sample_points, write_points
from point2mask.data.shapes import write_shapes
from point2mask.label import LabelOptions, label_folder

TICK = os.sysconf("SC_CLK_TCK")


def processor_times() -> tuple[float, float]:
    """Seconds of this process, and of all that descend from it, those that have ended included."""
    times, children = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            values = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        number = int(entry.name)
        own, ended = sum(map(int, values[11:13])), sum(map(int, values[13:15]))
        times[number] = own, ended
        children.setdefault(int(values[1]), []).append(number)
    total, waiting = 0, [os.getpid()]
    while waiting:
        number = waiting.pop()
        total += sum(times.get(number, (0, 0)))
        waiting += children.get(number, [])
    return times[os.getpid()][0] / TICK, total / TICK


class Mark(NamedTuple):
    """How far a run is."""

    done: int
    clock: float  # seconds
    parent: float  # seconds of processors
    every: float

    @classmethod
    def now(cls, done: int) -> "Mark":
        return cls(done, time.perf_counter(), *processor_times())


class Rate(NamedTuple):
    """What a picture takes between two marks."""

    second: float  # pictures
    parent: float  # milliseconds of processors
    every: float

    @classmethod
    def between(cls, first: Mark, last: Mark) -> "Rate":
        done, clock, parent, every = np.subtract(last, first).tolist()
        return cls(done / clock, 1000 * parent / done, 1000 * every / done)


def label(folder: Path, way: str) -> None:
    """Labels, and prints the rates with and without the start."""
    labels = read_points(folder / "points.json")
    spreading = Spreading(cluster="local") if way == "ray" else Spreading(workers=int(way))
    marks = [Mark.now(0)]

    def note(done: int, total: int) -> None:
        # At the end Ray's processes are still there, and are nobody's children afterwards.
        if done in (1, total):
            marks.append(Mark.now(done))

    out = folder / f"out_{way}"
    options = LabelOptions(overlays=False)
    label_folder(folder / "images" / "val", labels, out, options, spreading, note)
    if way != "ray":  # with the index that the parent writes
        marks.append(Mark.now(marks[-1].done))
    print(json.dumps([Rate.between(marks[0], marks[-1]), Rate.between(*marks[1:3])]))


def said(rates: dict[str, Rate]) -> None:
    """Prints the rates of all ways, and what follows from them."""
    for way, rate in rates.items():
        print(
            f"  {way:>4}: {rate.second:6.1f} pictures a second, {rate.every:6.2f} ms of processors "
            f"each, of which the parent {rate.parent:6.3f}"
        )
    if {"1", "2"} <= rates.keys():
        print(
            f"  two workers: {rates['2'].second / rates['1'].second:.2f} times as many pictures a "
            f"second, {rates['2'].every / rates['1'].every - 1:+.1%} of processor time; the parent "
            f"takes {rates['2'].parent / (rates['2'].every - rates['2'].parent):.2%} of a worker's"
        )
    if {"2", "ray"} <= rates.keys():
        print(
            f"  Ray: {rates['2'].second / rates['ray'].second - 1:+.1%} of the clock of two "
            f"workers, {rates['ray'].every / rates['2'].every - 1:+.1%} of processor time"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--size", type=int, nargs=2, default=(160, 240), metavar=("H", "W"))
    parser.add_argument("--ways", nargs="+", default=["1", "2", "ray"])
    parser.add_argument("--of", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.of is not None:
        label(Path(args.of[0]), args.of[1])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shapes(folder, "val", args.pictures, tuple(args.size))
        labels = sample_points(read_panoptic(folder / "annotations" / "panoptic_val.json"))
        write_points(folder / "points.json", labels)
        first = None
        whole, under_way = {}, {}
        for way in args.ways:
            command = [sys.executable, __file__, "--of", name, way]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env=environment
            )
            rates = json.loads(done.stdout.splitlines()[-1])
            whole[way], under_way[way] = (Rate(*rate) for rate in rates)
            found = {n: c for n, c in contents(folder / f"out_{way}").items() if "runs/" not in n}
            first = found if first is None else first
            if found != first:
                raise SystemExit(f"{way}: other files than {args.ways[0]}")
        print(f"{args.pictures} pictures of {args.size[0]} x {args.size[1]}, start included:")
        said(whole)
        print("from the first result to the last:")
        said(under_way)


if __name__ == "__main__":
    main()
