"""Start-up time and memory of labelling long lists of clicks, up to the first picture.

    python bench/long_lists.py [--json 118287] [--lines 1000000]

Every list is made up: a picture of 640 x 480 a line, seven targets of one click each. The time and
the peak of memory are those of a process of its own that reads the list, checks it, prepares the
folder of results and labels one picture.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

import numpy as np

from point2mask.data import (
    Category,
    ImageRecord,
    PointLabels,
    PointTarget,
    read_points,
    write_points,
    write_rgb,
)
from point2mask.data.sequences import Mapped
from point2mask.label import label_folder

SIZE = (480, 640)
TARGETS = 7


class Enough(Exception):
    """The first picture is done."""


def stop(done: int, total: int) -> None:
    raise Enough


def entry(index: int) -> tuple[ImageRecord, list[PointTarget]]:
    record = ImageRecord(index, f"{index % 100}/{index:012}.jpg", *SIZE)
    points = np.random.default_rng(index).permutation(SIZE[0])[:TARGETS].tolist()
    targets = [PointTarget(n, 1, ((float(p), float(p)),)) for n, p in zip(count(1), points)]
    return record, targets


def first_picture(folder: Path, points: Path) -> None:
    start = time.perf_counter()
    labels = read_points(points)
    read = time.perf_counter()
    try:
        label_folder(folder, labels, folder / f"out_{points.suffix[1:]}", progress=stop)
    except Enough:
        pass
    ready = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{points.name}: {len(labels.images)} pictures, {points.stat().st_size / 1e6:.0f} MB: read "
        f"and checked in {read - start:.1f} s, at the first picture after {ready - start:.1f} s "
        f"({time.process_time():.1f} s of CPU), {peak:.0f} MB at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=int, default=118_287, metavar="N", help="entries as JSON")
    parser.add_argument("--lines", type=int, default=1_000_000, metavar="N", help="as JSON Lines")
    parser.add_argument("--of", type=Path, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.of is not None:
        first_picture(*args.of)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        write_rgb(folder / entry(0)[0].file_name, noise)
        for suffix, entries in ((".json", args.json), (".jsonl", args.lines)):
            points = folder / f"points{suffix}"
            categories = {1: Category(1, "cat", True, (220, 20, 60))}
            write_points(points, PointLabels(categories, Mapped(entry, range(entries))))
            subprocess.run([sys.executable, __file__, "--of", folder, points], check=True)


if __name__ == "__main__":
    main()
