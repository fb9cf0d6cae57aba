"""``point2mask label``: clicks to panoptic masks, without training."""

import argparse
import time

from point2mask.cli.command import (
    Parser,
    Subparsers,
    UsageError,
    add_command,
    add_json,
    local,
    place,
    positive,
    progress_bar,
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

ASSIGNERS = ("merge", "watershed", "shortest_path", "transport", "network")


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "label",
        run,
        "Make panoptic masks from clicks, without training or with a trained network.",
        """
          masks for pictures whose clicks are in points.json:
            point2mask label --images train2017 --points points.json --out labels
          with the edge maps of a learned detector, a grey picture NAME.png for every NAME.jpg:
            point2mask label --images train2017 --points points.json --out labels --edges edges
          with the boundaries that a network trained on these clicks has learned:
            point2mask label --images train2017 --points points.json --out labels \\
              --checkpoint out/run
          with what a promptable network says of every target (its encoder and decoder as ONNX):
            point2mask label --images train2017 --points points.json --out labels \\
              --prompts sam
          on after an interruption, and the third of forty parts (then: point2mask gather labels):
            point2mask label --images train2017 --points points.json --out labels --resume
            point2mask label --images train2017 --points points.json --out labels --shard 3/40
          how good are they?
            point2mask evaluate --truth panoptic_train.json --predictions labels --mask-quality
        """,
    )
    parser.add_argument(
        "--images",
        type=place,
        required=True,
        metavar="DIR",
        help="the pictures, used as stored unless the clicks say that they are on them as shown",
    )
    parser.add_argument(
        "--points", type=place, required=True, metavar="JSON", help="clicks on targets, as JSON"
    )
    parser.add_argument(
        "--point-pngs",
        type=place,
        metavar="DIR",
        help="clicks as published with PSPS and Point2Mask: PNGs with ids on the clicked pixels "
        "only; --points is then the ordinary panoptic JSON",
    )
    parser.add_argument(
        "--out",
        type=place,
        required=True,
        metavar="DIR",
        help="gets panoptic.json, panoptic/*.png, overlays/*.jpg and summary.json; must be new or "
        "empty, or with --resume from an earlier run",
    )
    add_frame(parser, "clicks are on")
    _add_options(parser)


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "--assigner",
        choices=ASSIGNERS,
        default=ASSIGNERS[0],
        help="merge: join regions that look alike (default, best without areas or with rough "
        "ones); watershed: flood from the clicks; shortest_path: nearest click along the picture; "
        "transport: shortest paths such that targets get their area, best if the clicks come with "
        "exact areas; network: what the network of --checkpoint grows from the clicks",
    )
    parser.add_argument(
        "--edges",
        type=place,
        metavar="DIR",
        help="edge maps to use beside the built-in ones: a grey picture of the same name for every "
        "picture, of any size, bright on edges",
    )
    parser.add_argument(
        "--checkpoint",
        type=local,
        metavar="RUN",
        help="folder of a run, of one of its checkpoints, or of save_pretrained: the boundaries "
        "that its network sees are used beside the built-in edges",
    )
    add_prompts(parser)
    parser.add_argument(
        "--network-side",
        type=positive,
        metavar="PIXELS",
        help="shorter side of the pictures that the network sees (default: that of its test "
        "images; half as much again gives finer masks)",
    )
    parser.add_argument(
        "--redraw",
        action="store_true",
        help="with --assigner network: what a finished network finds without clicks has a say, and "
        "a thing becomes what the network draws for it where that holds its clicks and overlaps "
        "what was grown",
    )
    parser.add_argument(
        "--max-side",
        type=positive,
        metavar="PIXELS",
        help="work on pictures reduced to this longer side (default: 640, and more where a "
        "picture is long or its clicks are close together); not for network",
    )
    add_device(parser)
    add_precision(parser)
    add_batch(parser)
    add_spreading(
        parser,
        "one a CPU; with --checkpoint or --prompts, whose networks use all CPUs or the GPU, 1",
    )
    parser.add_argument(
        "--overlays",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write pictures tinted by their masks (default: yes)",
    )
    add_skip_broken(
        parser, "picture is missing, broken or of another size, or whose edge map is broken"
    )
    add_json(parser)


def add_prompts(parser: Parser) -> None:
    parser.add_argument(
        "--prompts",
        type=local,
        metavar="FOLDER",
        help="the two ONNX files of a promptable network, encoder and decoder, as Segment Anything "
        "is exported: the masks that it gives for the clicks become a part of every pixel's cost",
    )


def run(args: argparse.Namespace) -> int:
    from point2mask.data import read_point_pngs, read_points
    from point2mask.data.targets import labels_in_frame
    from point2mask.label import LabelOptions, label_folder

    if args.checkpoint is None and (args.assigner == "network" or args.network_side):
        raise UsageError("--assigner network and --network-side need --checkpoint RUN")
    if args.redraw and args.assigner != "network":
        raise UsageError("--redraw needs --assigner network")
    for option in ("device", "precision", "batch"):
        if args.checkpoint is None and getattr(args, option) is not None:
            raise UsageError(f"--{option} is for the network of --checkpoint RUN")
    if args.checkpoint is not None and args.edges is not None:
        raise UsageError("--edges and --checkpoint both give edges; leave one of them out")
    if args.prompts is not None and args.assigner == "network":
        raise UsageError("--assigner network asks no promptable network; leave --prompts out")
    check_apart(args.out, args.images)
    if args.point_pngs is None:
        labels = read_points(args.points)
    else:
        labels = read_point_pngs(args.points, args.point_pngs)
    labels = labels_in_frame(labels, args.frame)
    if not labels.images:
        raise UsageError(f"{args.points}: there is no image in it")
    options = LabelOptions(
        assigner=args.assigner,
        edges_dir=args.edges,
        max_side=args.max_side,
        overlays=args.overlays,
        checkpoint=args.checkpoint,
        network_side=args.network_side,
        redraw=args.redraw,
        device="cpu" if args.checkpoint is None else device_of(args),
        precision=precision_of(args),
        prompts=args.prompts,
    )
    alone = args.checkpoint is not None or args.prompts is not None
    spreading = spreading_of(args, 1 if alone else None)
    start = time.perf_counter()
    with leaving_out_broken(args.skip_broken) as on_broken, progress_bar("labelling") as progress:
        made = label_folder(args.images, labels, args.out, options, spreading, progress, on_broken)
    report_made(args, made, "mask", time.perf_counter() - start)
    return 0
