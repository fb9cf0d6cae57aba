"""``point2mask train``: a panoptic network from clicks."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from point2mask.cli.command import (
    PRINT,
    Subparsers,
    UsageError,
    add_command,
    add_json,
    add_recipe,
    local,
    positive,
    progress_bar,
    write_result,
)
from point2mask.cli.device import add_device, device_of
from point2mask.cli.making import check_apart
from point2mask.cli.tables import percent, print_tables, quality_table, table
from point2mask.messages import number_of

if TYPE_CHECKING:
    from point2mask.train.config import RunConfig

STOPPED = 75  # EX_TEMPFAIL of sysexits.h: to be tried again


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "train",
        run,
        "Train a panoptic network from clicks.",
        """
          generated pictures, a small network, no GPU:
            point2mask shapes out/shapes --train 400 --val 60
            point2mask train shapes_tiny --out out/run
          other values, and going on after an interruption:
            point2mask train shapes_tiny schedule.epochs=40 data.workers=0 \\
              --out out/run --resume
          four GPUs, of which each gets a quarter of schedule.batch_size:
            torchrun --standalone --nproc_per_node 4 -m point2mask train \\
              voc_r50 --processes 4 --out out/voc
          and a second network from the masks that the first has grown from the clicks:
            point2mask train penn_fudan_lite0 --rounds 2 --out out/penn_fudan
        """,
    )
    add_recipe(parser)
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="values on top of the file's, such as schedule.epochs=12",
    )
    parser.add_argument(
        "--out",
        type=local,
        metavar="DIR",
        help="folder of the run: checkpoints, result.json, pictures, TensorBoard files (default: "
        "out/ and the name of RECIPE)",
    )
    parser.add_argument(
        "--rounds",
        type=positive,
        default=1,
        metavar="N",
        help="train up to N networks, each from the masks that the one before grows from the "
        "clicks, into round_1, labels_2, round_2 and so on of --out; from the third on only while "
        "validation gets better (default: %(default)s)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint in --out, if any; after SIGTERM, which writes one and "
        "ends with exit code 75",
    )
    parser.add_argument(
        "--processes",
        type=positive,
        metavar="N",
        help="how many processes must take part, or it is an error",
    )
    add_device(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    from point2mask.train.config import load_config
    from point2mask.train.errors import Stopped, TrainingError
    from point2mask.train.launch import leave_group
    from point2mask.train.train import train

    config = load_config(args.recipe, args.overrides, needs_weights=not args.resume)
    out = args.out or Path("out") / Path(args.recipe).stem
    images = Path(config.data.root) / config.data.train.images
    check_apart(out, images, [images])  # pictures of the run among them are predicted, too
    try:
        if args.rounds > 1:
            return _train_rounds(args, config, out)
        result = train(
            config, out, resume=args.resume, processes=args.processes, device=device_of(args)
        )
    except TrainingError as error:
        raise UsageError(str(error)) from error
    except Stopped as error:
        leave_group()
        print(f"point2mask: {error}", file=sys.stderr)
        return STOPPED
    leave_group()
    if int(os.environ.get("RANK", "0")) == 0:
        write_result(args.json, result)
        if args.json != PRINT:
            print_result(result)
        steps = number_of(result["steps"], "step")
        print(f"{steps} in {result['seconds']:.0f} s: {out}", file=sys.stderr)
    return 0


def _train_rounds(args: argparse.Namespace, config: "RunConfig", out: Path) -> int:
    from point2mask.rounds import train_rounds

    if args.processes not in (None, 1):
        raise UsageError("--rounds works in one process; leave --processes out")
    with progress_bar("labelling") as progress:
        rounds = train_rounds(
            config,
            out,
            args.rounds,
            resume=args.resume,
            device=device_of(args),
            say=lambda text: print(text, file=sys.stderr),
            progress=progress,
        )
    write_result(args.json, {"rounds": [entry.result for entry in rounds]})
    if args.json != PRINT:
        qualities = table("round", "PQ", "things", "stuff", "folder")
        for entry in rounds:
            quality = entry.result["quality"] or {}
            groups = (quality.get(group, {}).get("pq") for group in ("all", "things", "stuff"))
            qualities.add_row(str(entry.number), *map(percent, groups), entry.folder.name)
        print_tables(qualities)
    return 0


def print_result(result: dict[str, Any]) -> None:
    """Tables of the last losses and of the final quality."""
    losses = table("loss", "last")
    for name, value in result["losses"].items():
        losses.add_row(name, f"{value:.4f}")
    quality = result["quality"]
    tables = [losses] if result["losses"] else []
    print_tables(*tables, *([] if quality is None else [quality_table(quality)]))
    if result["broken_images"]:
        broken = number_of(len(result["broken_images"]), "image")
        print(f"\n{broken} could not be read, see result.json")
