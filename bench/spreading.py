"""What sharing out costs: labelling by one process, by two, and by a Ray cluster of this machine.

    python bench/spreading.py [--pictures 2000] [--size 240 320] [--ways 1 2 ray]

Processor time says it also on a busy machine: that of the parent, which only hands out and counts,
and that of all processes together, start included. Every way must make the same bytes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def label(folder: Path, way: str) -> None:
    """Labels and prints: seconds, and those of processors of the parent and of all."""
    labels = read_points(folder / "points.json")
    spreading = Spreading(cluster="local") if way == "ray" else Spreading(workers=int(way))
    begin, before = time.perf_counter(), processor_times()
    after = before

    def last(done: int, total: int) -> None:
        nonlocal after
        if done == total:  # Ray's processes are still there, and are nobody's children afterwards
            after = processor_times()

    out = folder / f"out_{way}"
    options = LabelOptions(overlays=False)
    label_folder(folder / "images" / "val", labels, out, options, spreading, last)
    end = processor_times() if way != "ray" else after
    parent, every = (late - early for late, early in zip(end, before, strict=True))
    print(time.perf_counter() - begin, parent, every)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("H", "W"))
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
        for way in args.ways:
            command = [sys.executable, __file__, "--of", name, way]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, parent, every = map(float, done.stdout.split()[-3:])
            each = 1000 * every / args.pictures
            print(
                f"{way:>4}: {args.pictures / seconds:6.1f} pictures a second of clock, {each:6.2f} "
                f"ms of processors each, of which the parent {1000 * parent / args.pictures:6.3f} "
                f"({parent / every:.1%})",
                flush=True,
            )
            found = {n: c for n, c in contents(folder / f"out_{way}").items() if "runs/" not in n}
            first = found if first is None else first
            if found != first:
                raise SystemExit(f"{way}: other files than {args.ways[0]}")


if __name__ == "__main__":
    main()
