"""Start-up time and memory of commands that take long lists of clicks, up to the first picture.

    python bench/long_lists.py [--json 118287] [--lines 1000000] [--table 1000000]

Every list is made up: a picture of 640 x 480 an entry, seven targets of one click each. The time
and the peak of memory are those of a process of its own that reads the list, checks it, prepares
the folder of results and comes to the first picture: to label it, to predict it (by a network that
finds nothing), or to train on it. A list of one entry says what Python and imports take of it.
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

SIZE = (480, 640)
TARGETS = 7
CATEGORIES = {1: Category(1, "cat", True, (220, 20, 60))}


class Enough(Exception):
    """The first picture is done."""


def stop(done: int, total: int) -> None:
    raise Enough


def entry(index: int) -> tuple[ImageRecord, list[PointTarget]]:
    record = ImageRecord(index, f"{index % 100}/{index:012}.jpg", *SIZE)
    points = np.random.default_rng(index).permutation(SIZE[0])[:TARGETS].tolist()
    targets = [PointTarget(n, 1, ((float(p), float(p)),)) for n, p in zip(count(1), points)]
    return record, targets


def label(folder: Path, points: Path) -> None:
    from point2mask.label import label_folder

    label_folder(folder, read_points(points), folder / f"label_{points.suffix[1:]}", progress=stop)


def predict(folder: Path, points: Path) -> None:
    import torch

    from point2mask.predict import predict_folder

    class FindsNothing:
        categories = CATEGORIES
        device = torch.device("cpu")
        network = torch.nn.Identity()

        def digest(self) -> str:
            return ""

        def predict_batch(self, pictures: list[np.ndarray]) -> list[tuple[np.ndarray, list]]:
            return [(np.zeros(picture.shape[:2], np.int32), []) for picture in pictures]

    records = read_points(points).records
    out = folder / f"predict_{points.suffix[1:]}"
    predict_folder(FindsNothing(), folder, records, out, progress=stop)


def train(folder: Path, points: Path) -> None:
    from point2mask.data.augment import AugmentConfig
    from point2mask.data.training import DataConfig, SourceConfig, TrainingSet

    config = DataConfig(train=SourceConfig(images=str(folder), points=str(points)))
    TrainingSet(config, AugmentConfig(short_sides=(64,)))[0, 0]


COMMANDS = {"label": label, "predict": predict, "train": train}


def first_picture(command: str, folder: Path, points: Path) -> None:
    try:
        COMMANDS[command](folder, points)
    except Enough:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{command} {points.name} of {points.stat().st_size / 1e6:.0f} MB: at the first picture "
        f"after {time.process_time():.1f} s of processor time, {peak:.0f} MB at most",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=int, default=118_287, metavar="N", help="entries as JSON")
    parser.add_argument("--lines", type=int, default=1_000_000, metavar="N", help="as JSON Lines")
    parser.add_argument("--table", type=int, default=1_000_000, metavar="N", help="as Parquet")
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS), choices=COMMANDS)
    parser.add_argument("--of", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.of is not None:
        first_picture(args.of[0], *map(Path, args.of[1:]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        write_rgb(folder / entry(0)[0].file_name, noise)
        lists = ("json", args.json), ("jsonl", args.lines), ("parquet", args.table)
        for suffix, entries in lists:
            if not entries:
                continue
            points = folder / f"{entries}.{suffix}"
            write_points(points, PointLabels(CATEGORIES, Mapped(entry, range(entries))))
            for command in args.commands:
                of = [sys.executable, __file__, "--of", command, folder, points]
                subprocess.run(of, check=True)
            points.unlink()


if __name__ == "__main__":
    main()
