"""``point2mask predict``: panoptic maps of pictures by a trained network."""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from point2mask.cli.command import (
    Subparsers,
    UsageError,
    add_command,
    add_json,
    local,
    place,
    print_report,
    progress_bar,
    share,
)
from point2mask.cli.device import (
    add_batch,
    add_device,
    add_precision,
    device_of,
    precision_of,
)
from point2mask.cli.making import (
    add_frame,
    add_skip_broken,
    add_spreading,
    check_apart,
    leaving_out_broken,
    report_made,
    spreading_of,
)

if TYPE_CHECKING:
    from point2mask.data import ImageRecord
    from point2mask.data.frames import Frame
    from point2mask.models import MergeConfig


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "predict",
        run,
        "Find the segments of pictures with a trained network.",
        """
          all pictures in a folder, with the last checkpoint of a run:
            point2mask predict --checkpoint out/run --images photos --out predicted
          some pictures, and those of a pattern (with quotes, or the shell looks for them):
            point2mask predict --checkpoint out/run --images a.jpg 'trip/**/*.jpg' --out predicted
          the frames of a video:
            ffmpeg -i video.mp4 frames/%06d.png
            point2mask predict --checkpoint out/run --images frames --out predicted
          the images of a data set, and how good the result is:
            point2mask predict --checkpoint out/run --images val2017 \\
              --annotations panoptic_val2017.json --out predicted
            point2mask evaluate --truth panoptic_val2017.json --predictions predicted
        """,
    )
    parser.add_argument(
        "--checkpoint",
        type=local,
        required=True,
        metavar="DIR",
        help="folder of a run, of one of its checkpoints, or of save_pretrained",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        required=True,
        metavar="PATH",
        help="pictures, folders of them and patterns; results are named by the paths below the "
        "folder that all lie in",
    )
    parser.add_argument(
        "--annotations",
        type=place,
        metavar="JSON",
        help="panoptic JSON, or point labels, whose images are wanted, "
        "and whose ids the result is to have; --images is then its one folder (default: all "
        "pictures in --images)",
    )
    add_frame(parser, "segments are wanted on")
    parser.add_argument(
        "--out",
        type=place,
        required=True,
        metavar="DIR",
        help="gets panoptic.json, panoptic/*.png, overlays/*.jpg and summary.json; must be new or "
        "empty, or with --resume from an earlier run",
    )
    parser.add_argument(
        "--overlays",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write pictures tinted by their segments (default: yes)",
    )
    parser.add_argument(
        "--quality",
        type=share,
        metavar="Q",
        help="leave segments out whose quality, in [0, 1], is below this (default: merge.quality_* "
        "of the run)",
    )
    add_batch(parser)
    add_device(parser)
    add_precision(parser)
    add_spreading(parser, "1, whose network uses all CPUs, or the GPU")
    add_skip_broken(parser, "picture is missing, broken or of another size")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from point2mask.data.frames import STORED
    from point2mask.data.places import path_of
    from point2mask.data.report import Report
    from point2mask.data.sources import find_pictures
    from point2mask.hub import load_predictor
    from point2mask.predict import predict_folder

    records: Sequence[ImageRecord]
    report = Report()
    if args.annotations is None:
        folder, records = find_pictures(args.images, args.frame or STORED, args.skip_broken, report)
    else:
        if len(args.images) > 1:
            raise UsageError("predict: with --annotations, --images is one folder; give one")
        folder = path_of(args.images[0])
        records = _listed(args.annotations, args.frame)
    check_apart(args.out, folder, args.images if args.annotations is None else ())
    if not records:
        raise UsageError(f"{args.annotations}: there is no image in it")
    predictor = load_predictor(args.checkpoint, device_of(args), precision_of(args))
    if args.quality is not None:
        merge = replace(predictor.merge, quality_things=args.quality, quality_stuff=args.quality)
        predictor = replace(predictor, merge=merge)
    spreading = spreading_of(args, 1)
    start = time.perf_counter()
    with leaving_out_broken(args.skip_broken) as on_broken, progress_bar("prediction") as progress:
        made = predict_folder(
            predictor, folder, records, args.out, spreading, progress, args.overlays, on_broken
        )
    report_made(args, made, "segment", time.perf_counter() - start)
    print_report(report)
    if not made.segments:
        print(f"point2mask: warning: {nothing_found(predictor.merge)}", file=sys.stderr)
    return 0


def _listed(annotations: Path, frame: "Frame | None") -> "Sequence[ImageRecord]":
    """The images of a file; those of long lists are read when they are asked for."""
    from point2mask.data import DataError, read_panoptic, read_points
    from point2mask.data.panoptic import in_frame
    from point2mask.data.points import LONG_LISTS
    from point2mask.data.targets import labels_in_frame

    if annotations.suffix in LONG_LISTS:
        return labels_in_frame(read_points(annotations), frame).records
    try:
        return in_frame(read_panoptic(annotations), frame).records
    except DataError as error:
        with suppress(DataError):
            return labels_in_frame(read_points(annotations), frame).records
        raise error


def nothing_found(merge: "MergeConfig") -> str:
    """What to do where no picture has a segment."""
    return (
        "no segment was found in any picture. Most often the network was trained for too few "
        "steps: look at the pictures of its run, then train longer (schedule.steps). Or nothing "
        f"reaches the quality that a segment needs, {merge.quality_things:g} for things and "
        f"{merge.quality_stuff:g} for stuff: try a lower --quality"
    )
