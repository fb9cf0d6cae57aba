"""``point2mask demo``: the whole way on generated images, in commands that anyone can repeat."""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import IO, TYPE_CHECKING

from point2mask.cli.command import Subparsers, UsageError, add_command, local, positive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from point2mask.data import PanopticDataset, PanopticImage, PointLabels

RECIPE = "shapes_maskdino"
SHOWN = 6  # images in the picture at the end
ZOOM = 2  # every pixel becomes a square of this side there
CLICKS, MASKS = "points", "masks"  # what the two networks learn from, and their folders


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "demo",
        run,
        "Make pictures, click on them, train on the clicks, and compare with true masks.",
        """
          minutes, everything in out/demo:
            point2mask demo --out out/demo
        """,
    )
    parser.add_argument("--out", type=local, required=True, metavar="DIR", help="gets all files")
    parser.add_argument(
        "--train", type=positive, default=320, metavar="N", help="images to learn (default: 320)"
    )
    parser.add_argument(
        "--images", type=positive, default=60, metavar="N", help="images to test (default: 60)"
    )
    parser.add_argument(
        "--epochs", type=positive, metavar="N", help="of the training (default: the recipe's)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other images and clicks")


def run(args: argparse.Namespace) -> int:
    from point2mask.data.files import write_json

    out: Path = args.out
    data, points = out / "shapes", out / "points.json"
    images, truth = data / "images" / "val", data / "annotations" / "panoptic_val.json"
    settings = [
        f"data.root={_as_yaml(str(data))}",
        f"data.train.point_seed={args.seed}",
        f"seed={args.seed}",
        "data.workers=0",
    ]
    if args.epochs:
        settings += [f"schedule.epochs={args.epochs}", "schedule.milestones=[]"]
    train = {
        kind: ["train", RECIPE, *settings, f"supervision.kind={kind}", "--out", out / kind]
        for kind in (CLICKS, MASKS)
    }
    _announce("Images with true masks; one click a segment", "Masks from clicks, untrained")
    _do(["shapes", data, "--train", args.train, "--val", args.images, "--things", 3,
         "--scale", 2.4, "--seed", args.seed])  # fmt: skip
    _do(["points", "sample", "--annotations", truth, "--per-segment", 1, "--seed", args.seed,
         "--out", points])  # fmt: skip
    _do(["label", "--images", images, "--points", points, "--out", out / "labels"])
    print("\nTwo networks, side by side: one learns from clicks, one from true masks")
    _do_together({kind: [str(word) for word in words] for kind, words in train.items()})
    quality = {}
    for kind, title in ((CLICKS, "learnt from clicks"), (MASKS, "learnt from true masks")):
        _announce(f"Images never seen, by the network that {title}")
        found = out / f"predicted-{kind}"
        _do(["predict", "--checkpoint", out / kind, "--images", images, "--annotations", truth,
             "--out", found])  # fmt: skip
        _do(["evaluate", "--truth", truth, "--predictions", found, "--json",
             out / f"quality-{kind}.json"])  # fmt: skip
        quality[kind] = things_quality(out / f"quality-{kind}.json")
    share = quality[CLICKS] / quality[MASKS] if quality[MASKS] else 0.0
    write_json(out / "demo.json", {"pq_things": quality, "clicks_over_masks": share})
    draw(out / "demo.png", out, points)
    print(
        f"\nPQ of things: {100 * quality[CLICKS]:.1f} from clicks, "
        f"{100 * quality[MASKS]:.1f} from true masks. P1/M: {share:.2f}"
        f"\n{out / 'demo.png'}: clicks, untrained masks, both networks, truth"
    )
    sys.stdout.flush()
    return 0


def things_quality(path: Path) -> float:
    """PQ over things of a JSON of ``point2mask evaluate``."""
    figures = json.loads(path.read_text(encoding="utf-8"))
    return float(figures["things"]["pq"] or 0.0)


def _as_yaml(text: str) -> str:
    """A text as a value on the command line, in quotes where it would be taken for another."""
    from point2mask.data import DataError
    from point2mask.data.yaml_file import parse_yaml, to_yaml

    try:
        plain = parse_yaml(text, "--out") == text
    except DataError:
        plain = False
    return text if plain else to_yaml(text)


def _announce(*titles: str) -> None:
    print("\n" + "; ".join(titles), flush=True)


def _do(words: Sequence[object]) -> None:
    """Runs a command in this process and shows it."""
    from point2mask.cli import main

    command = [str(word) for word in words]
    print(f"  $ point2mask {shlex.join(command)}", flush=True)
    if main(command):
        raise UsageError(f"demo: 'point2mask {command[0]}' failed; see above")


def _do_together(commands: dict[str, list[str]]) -> None:
    """Runs commands side by side, each with its share of the cores, and shows how far they are."""
    threads = str(max(1, (os.cpu_count() or 1) // len(commands)))
    said: dict[str, list[str]] = {name: [] for name in commands}
    running, readers = {}, []
    for name, command in commands.items():
        print(f"  $ point2mask {shlex.join(command)}", flush=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "point2mask", *command],
            env=os.environ | {"OMP_NUM_THREADS": threads},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running[name] = process
        assert process.stdout is not None
        readers.append(Thread(target=_relay, args=(name, process.stdout, said[name])))
        readers[-1].start()
    try:
        failed = [name for name, process in running.items() if process.wait()]
    finally:
        for process in running.values():
            process.terminate()
        for reader in readers:
            reader.join()
    for name in failed:
        print(*said[name], sep="\n", file=sys.stderr)
    if failed:
        raise UsageError(f"demo: training from {' and '.join(failed)} failed; see above")


def _relay(name: str, lines: IO[str], said: list[str]) -> None:
    with lines:
        for line in map(str.rstrip, lines):
            said.append(line)
            if line.startswith("step "):
                print(f"  {name:>6} | {line}", flush=True)


def draw(path: Path, out: Path, points: Path) -> None:
    """One row an image: clicks, untrained masks, what the networks find, the true masks."""
    import numpy as np

    from point2mask.data import read_panoptic, read_points
    from point2mask.data.png import write_rgb
    from point2mask.visualize import side_by_side

    folder = out / "shapes" / "images" / "val"
    truth = read_panoptic(out / "shapes" / "annotations" / "panoptic_val.json")
    labels = read_points(points)
    columns = {
        "untrained": read_panoptic(out / "labels" / "panoptic.json"),
        "network, clicks": read_panoptic(out / f"predicted-{CLICKS}" / "panoptic.json"),
        "network, true masks": read_panoptic(out / f"predicted-{MASKS}" / "panoptic.json"),
        "truth": truth,
    }
    rows = []
    for index in range(min(SHOWN, len(truth.images))):
        pictures = [_picture(folder, truth, truth.images[index], labels, index, masked=False)]
        for dataset in columns.values():
            pictures.append(_picture(folder, dataset, dataset.images[index], labels, index))
        titles = ["one click a segment", *columns] if index == 0 else None
        enlarged = [picture.repeat(ZOOM, 0).repeat(ZOOM, 1) for picture in pictures]
        rows.append(side_by_side(enlarged, titles))
    write_rgb(path, np.concatenate(rows))


def _picture(
    folder: Path,
    dataset: "PanopticDataset",
    image: "PanopticImage",
    labels: "PointLabels",
    index: int,
    masked: bool = True,
) -> "NDArray[np.uint8]":
    from point2mask.data.png import read_rgb
    from point2mask.visualize import overlay

    record = image.record
    pixels = read_rgb(folder / record.file_name, (record.height, record.width))
    ids = dataset.segment_map(image)
    targets = labels.images[index][1]
    if masked:
        return overlay(pixels, ids, image.segments, dataset.categories)
    return overlay(pixels, ids * 0, image.segments, dataset.categories, targets)
