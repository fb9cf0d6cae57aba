"""``point2mask demo``: the whole way on generated images, in commands that anyone can repeat."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from point2mask.cli.command import Subparsers, add_command, positive

if TYPE_CHECKING:
    from point2mask.data import PanopticDataset, PanopticImage, PointLabels

SHOWN = 4  # images in the picture at the end
ZOOM = 2  # every pixel becomes a square of this side there


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "demo",
        run,
        "Make pictures, click on them, turn the clicks into masks and score the masks.",
        """
          a minute, everything in out/demo:
            point2mask demo --out out/demo
        """,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets all files")
    parser.add_argument(
        "--images", type=positive, default=60, metavar="N", help="how many (default: 60)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, other images and clicks")


def run(args: argparse.Namespace) -> int:
    from point2mask.cli import main

    data, points, masks = args.out / "shapes", args.out / "points.json", args.out / "masks"
    truth = data / "annotations" / "panoptic_val.json"
    steps: list[tuple[str, list[object]]] = [
        ("Images with true masks", ["shapes", data, "--train", 0, "--val", args.images,
                                    "--seed", args.seed]),
        ("One click a segment", ["points", "sample", "--annotations", truth, "--per-segment", 1,
                                 "--seed", args.seed, "--out", points]),
        ("Masks from the clicks", ["label", "--images", data / "images" / "val",
                                   "--points", points, "--out", masks]),
        ("How good they are", ["evaluate", "--truth", truth, "--predictions", masks,
                               "--mask-quality", "--json", args.out / "quality.json"]),
    ]  # fmt: skip
    for title, step in steps:
        command = [str(word) for word in step]
        print(f"\n{title}\n  $ point2mask {shlex.join(command)}", flush=True)
        code = main(command)
        if code:
            return code
    picture = args.out / "demo.png"
    draw(picture, data, points, masks)
    print(f"\nPictures\n  {picture}: clicks, masks, truth\n  {masks / 'overlays'}: every image")
    sys.stdout.flush()
    return 0


def draw(path: Path, data: Path, points: Path, masks: Path) -> None:
    """One row an image: the clicks, the masks made from them, the true masks."""
    import numpy as np

    from point2mask.data import read_panoptic, read_points
    from point2mask.data.png import write_rgb
    from point2mask.visualize import side_by_side

    truth = read_panoptic(data / "annotations" / "panoptic_val.json")
    result = read_panoptic(masks / "panoptic.json")
    labels = read_points(points)
    rows = []
    for index in range(min(SHOWN, len(truth.images))):
        folder = data / "images" / "val"
        pictures = [
            _picture(folder, truth, truth.images[index], labels, index, masked=False),
            _picture(folder, result, result.images[index], labels, index),
            _picture(folder, truth, truth.images[index], labels, index),
        ]
        titles = ["one click a segment", "masks from clicks", "true masks"] if index == 0 else None
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
) -> "np.typing.NDArray[np.uint8]":
    from point2mask.data.png import read_rgb
    from point2mask.visualize import overlay

    record = image.record
    pixels = read_rgb(folder / record.file_name, (record.height, record.width))
    ids = dataset.segment_map(image)
    targets = labels.images[index][1]
    if masked:
        return overlay(pixels, ids, image.segments, dataset.categories)
    return overlay(pixels, ids * 0, image.segments, dataset.categories, targets)


if TYPE_CHECKING:
    import numpy as np
