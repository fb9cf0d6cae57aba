"""``point2mask points``: make point labels."""

import argparse
import sys
from pathlib import Path

from point2mask.cli.command import Subparsers, UsageError, add_command, positive, progress_bar


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "points",
        None,
        "Make point labels.",
        """
          point2mask points sample --annotations panoptic_train.json --out points.json
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    sample = add_command(
        actions,
        "sample",
        run,
        "Sample points, uniform inside each segment of a data set that has masks.",
        """
          one point a segment, as JSON:
            point2mask points sample --annotations panoptic_train.json --out points.json
          ten points, also as PNGs in the published format (ids on labelled pixels, 0 elsewhere):
            point2mask points sample --annotations panoptic_train.json --per-segment 10 \\
              --out points.json --png-dir panoptic_train_10pnt_uniform
        """,
    )
    sample.add_argument(
        "--annotations", type=Path, required=True, metavar="JSON", help="COCO panoptic JSON"
    )
    sample.add_argument(
        "--masks",
        type=Path,
        metavar="DIR",
        help="its folder of PNGs (default: beside the JSON, named like it without .json)",
    )
    sample.add_argument(
        "--per-segment", type=positive, default=1, metavar="N", help="points a segment (default: 1)"
    )
    sample.add_argument(
        "--seed",
        type=int,
        default=0,
        help="another seed gives other points; an image's points do not depend on other images "
        "(default: 0)",
    )
    sample.add_argument("--out", type=Path, metavar="JSON", help="write points as JSON")
    sample.add_argument("--png-dir", type=Path, metavar="DIR", help="write points as PNGs")


def run(args: argparse.Namespace) -> int:
    from point2mask.data import read_panoptic, sample_points, write_point_pngs, write_points

    if args.out is None and args.png_dir is None:
        raise UsageError("points sample: give --out JSON, --png-dir DIR or both")
    dataset = read_panoptic(args.annotations, args.masks)
    if args.png_dir is not None and args.png_dir.resolve() == dataset.masks_dir.resolve():
        raise UsageError(
            f"--png-dir {args.png_dir}: this would overwrite the masks of the data set"
        )
    with progress_bar("sampling") as progress:
        labels = sample_points(dataset, args.per_segment, args.seed, progress)
    if args.out is not None:
        write_points(args.out, labels)
    if args.png_dir is not None:
        names = {image.record.id: image.mask_name for image in dataset.images}
        with progress_bar("writing PNGs") as progress:
            write_point_pngs(args.png_dir, labels, mask_names=names, progress=progress)
    targets = [target for _, targets in labels.images for target in targets]
    points = sum(len(target.points) for target in targets)
    print(
        f"{points} points for {len(targets)} segments of {len(labels.images)} images",
        file=sys.stderr,
    )
    return 0
