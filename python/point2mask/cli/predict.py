"""``point2mask predict``: panoptic maps of pictures by a trained network."""

import argparse
import sys
import time
from pathlib import Path

from point2mask.cli.command import Subparsers, UsageError, add_command, progress_bar


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "predict",
        run,
        "Find the segments of pictures with a trained network.",
        """
          all pictures in a folder, with the last checkpoint of a run:
            point2mask predict --checkpoint out/run --images photos --out predicted
          the images of a data set, and how good the result is:
            point2mask predict --checkpoint out/run --images val2017 \\
              --annotations panoptic_val2017.json --out predicted
            point2mask evaluate --truth panoptic_val2017.json --predictions predicted
        """,
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of a run, or of one of its checkpoints",
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="the pictures")
    parser.add_argument(
        "--annotations",
        type=Path,
        metavar="JSON",
        help="panoptic JSON whose images are wanted, and whose ids the result is to have "
        "(default: all pictures in --images)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="gets panoptic.json, panoptic/*.png and overlays/*.jpg",
    )
    parser.add_argument(
        "--overlays",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write pictures tinted by their segments (default: yes)",
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU")


def run(args: argparse.Namespace) -> int:
    import torch

    from point2mask.data import read_panoptic
    from point2mask.engine.build import load_trained
    from point2mask.engine.evaluate import Predictor, list_pictures, predict_folder

    if args.annotations is None:
        records = list_pictures(args.images)
    else:
        records = [image.record for image in read_panoptic(args.annotations).images]
    if not records:
        raise UsageError(f"{args.annotations}: there is no image in it")
    trained = load_trained(args.checkpoint)
    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    config = trained.config
    network = trained.network.to(device)
    predictor = Predictor(network, trained.categories, config.augment, config.merge)
    start = time.perf_counter()
    with progress_bar("prediction") as progress:
        dataset = predict_folder(
            predictor, args.images, records, args.out, progress, overlays=args.overlays
        )
    segments = sum(len(image.segments) for image in dataset.images)
    print(
        f"{segments} segments in {len(records)} images in {time.perf_counter() - start:.1f} s: "
        f"{args.out / 'panoptic.json'}",
        file=sys.stderr,
    )
    return 0
