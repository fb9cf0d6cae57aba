"""``point2mask convert``: data sets of other layouts to COCO panoptic."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from point2mask.cli.command import Subparsers, add_command, positive, progress_bar

if TYPE_CHECKING:
    from point2mask.data import PanopticDataset


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "convert",
        None,
        "Convert data sets of other layouts to COCO panoptic.",
        """
          point2mask convert voc --voc VOCdevkit/VOC2012 --out data/voc
        """,
    )
    kinds = parser.add_subparsers(title="layouts", metavar="LAYOUT", required=True)
    voc = add_command(
        kinds,
        "voc",
        run_voc,
        "Convert Pascal VOC 2012, alone or with SBD, as configs/voc_*.yaml expect it.",
        """
          as published, with one and with ten points a segment:
            point2mask convert voc --voc VOCdevkit/VOC2012 --sbd benchmark_RELEASE/dataset \\
              --out data/voc --points 1 10
          docs/voc.md has all commands from the archives to training.
        """,
    )
    voc.add_argument(
        "--voc",
        type=Path,
        required=True,
        metavar="DIR",
        help="the folder VOC2012, with JPEGImages, SegmentationClass, SegmentationObject and "
        "ImageSets",
    )
    voc.add_argument(
        "--sbd",
        type=Path,
        metavar="DIR",
        help="the folder benchmark_RELEASE/dataset of SBD: its pictures that are not in VOC's val "
        "join the training set, which is then named voc_panoptic_train_aug (default: none, "
        "voc_panoptic_train)",
    )
    voc.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="gets train/ and val/ (hard links to the pictures, or copies on another file system), "
        "voc_panoptic_*.json and their folders of masks",
    )
    voc.add_argument(
        "--points",
        type=positive,
        nargs="+",
        default=[],
        metavar="N",
        help="also sample N points in each segment for training, as PNGs in "
        "voc_panoptic_train_aug_Npnt_uniform; several numbers make several folders, in which fewer "
        "points are part of more",
    )
    voc.add_argument("--seed", type=int, default=0, help="of the points (default: 0)")


def run_voc(args: argparse.Namespace) -> int:
    from point2mask.data.voc import convert_split, read_splits

    for split in read_splits(args.voc, args.sbd):
        with progress_bar(split.stem) as progress:
            dataset = convert_split(split, args.out, progress)
        segments = sum(len(image.segments) for image in dataset.images)
        print(
            f"{len(dataset.images)} images, {segments} segments: {args.out / split.stem}.json",
            file=sys.stderr,
        )
        if split.images == "train" and args.points:
            write_points(dataset, args.out / split.stem, sorted({*args.points}), args.seed)
    return 0


def write_points(dataset: "PanopticDataset", prefix: Path, counts: list[int], seed: int) -> None:
    """Folders of PNGs with each number of points; masks are read once."""
    from point2mask.data import sample_points, write_point_pngs

    with progress_bar("sampling points") as progress:
        most = sample_points(dataset, counts[-1], seed, progress)
    for count in counts:
        images = [
            (record, [replace(target, points=target.points[:count]) for target in targets])
            for record, targets in most.images
        ]
        folder = prefix.with_name(f"{prefix.name}_{count}pnt_uniform")
        with progress_bar(folder.name) as progress:
            write_point_pngs(folder, replace(most, images=images), progress=progress)
        print(f"{count} points a segment: {folder}", file=sys.stderr)
