"""``point2mask convert``: data sets of other layouts, and published checkpoints."""

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from point2mask.cli.command import (
    Parser,
    Subparsers,
    add_command,
    add_json,
    add_reading,
    local,
    positive,
    print_report,
    progress_bar,
    report_of,
    write_result,
)
from point2mask.messages import number_of

if TYPE_CHECKING:
    from point2mask.data import PanopticDataset
    from point2mask.data.formats.conversion import Split
    from point2mask.data.report import Report


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "convert",
        None,
        "Convert data sets of other layouts to COCO panoptic, or a published checkpoint.",
        """
          point2mask convert voc --voc VOCdevkit/VOC2012 --out data/voc
          point2mask convert coco --instances cells.json --images photos --out data/cells
          point2mask convert cityscapes --cityscapes cityscapes --out data/cityscapes
          point2mask convert ade20k --ade20k ADEChallengeData2016 --out data/ade20k
          point2mask convert checkpoint point2mask_voc_r50.pth --out out/published
        """,
    )
    kinds = parser.add_subparsers(title="layouts", metavar="LAYOUT", required=True, dest="layout")
    _add_voc(kinds)
    _add_coco(kinds)
    _add_folder(
        kinds,
        "cityscapes",
        "Convert Cityscapes' fine annotations: 8 things and 11 classes of stuff.",
        "cityscapes",
        "with leftImg8bit and gtFine, each with train and val",
    )
    _add_folder(
        kinds,
        "ade20k",
        "Convert ADE20K as its challenges published it: 100 things and 50 classes of stuff.",
        "ADEChallengeData2016",
        "ADEChallengeData2016, with images, annotations, objectInfo150.txt and, from an archive of "
        "its own, annotations_instance",
    )
    _add_checkpoint(kinds)


def _add_voc(kinds: Subparsers) -> None:
    voc = add_command(
        kinds,
        "voc",
        run_voc,
        "Convert Pascal VOC 2012, alone or with SBD, as the recipes voc_* expect it.",
        """
          as published, with one and with ten points a segment:
            point2mask convert voc --voc VOCdevkit/VOC2012 --sbd benchmark_RELEASE/dataset \\
              --out data/voc --points 1 10
          docs/voc.md has all commands from the archives to training.
        """,
    )
    voc.add_argument(
        "--voc",
        type=local,
        required=True,
        metavar="DIR",
        help="the folder VOC2012, with JPEGImages, SegmentationClass, SegmentationObject and "
        "ImageSets",
    )
    voc.add_argument(
        "--sbd",
        type=local,
        metavar="DIR",
        help="the folder benchmark_RELEASE/dataset of SBD: its pictures that are not in VOC's val "
        "join the training set, which is then named voc_panoptic_train_aug (default: none, "
        "voc_panoptic_train)",
    )
    _add_output(voc, "voc_panoptic_train_aug")


def _add_coco(kinds: Subparsers) -> None:
    coco = add_command(
        kinds,
        "coco",
        run_coco,
        "Convert instances as COCO has them, your own too, with or without stuff.",
        """
          instances alone, everything else void:
            point2mask convert coco --instances instances_val2017.json --images val2017 \\
              --out data/coco
          instances over COCO's stuff:
            point2mask convert coco --instances instances_val2017.json \\
              --stuff stuff_val2017.json --images val2017 --out data/coco
          your own things before one background, with clicks to train on:
            point2mask convert coco --instances cells.json --images photos --background \\
              background --out data/cells --points 1
        """,
    )
    coco.add_argument(
        "--instances", type=local, required=True, metavar="JSON", help="COCO instances JSON"
    )
    coco.add_argument(
        "--images", type=local, required=True, metavar="DIR", help="the pictures that it names"
    )
    rest = coco.add_mutually_exclusive_group()
    rest.add_argument(
        "--stuff",
        type=local,
        metavar="JSON",
        help="JSON of the same layout whose categories are stuff, under the things (default: none)",
    )
    rest.add_argument(
        "--background",
        metavar="NAME",
        help="what no instance covers becomes stuff of this name (default: void)",
    )
    coco.add_argument(
        "--name", metavar="NAME", help="of the set (default: that of the folder --images)"
    )
    _add_output(coco, "panoptic_NAME")


def _add_folder(kinds: Subparsers, name: str, summary: str, folder: str, contents: str) -> None:
    """A layout that is one folder of the published name and contents."""
    example = f"point2mask convert {name} --{name} {folder} --out data/{name} --points 1"
    parser = add_command(kinds, name, run_folder, summary, example)
    parser.add_argument(
        f"--{name}",
        type=local,
        required=True,
        metavar="DIR",
        dest="folder",
        help=f"the folder {contents}",
    )
    _add_output(parser, f"{name}_panoptic_train")


def _add_checkpoint(kinds: Subparsers) -> None:
    checkpoint = add_command(
        kinds,
        "checkpoint",
        run_checkpoint,
        "Convert a checkpoint that Point2Mask or Panoptic SegFormer published.",
        """
          a folder that predict, label and annotate --checkpoint, export and network.weights= take:
            point2mask convert checkpoint point2mask_voc_r50.pth --out out/published
            point2mask predict --checkpoint out/published --images photos --out out/predicted
          one learned from full masks, which has no maps to grow masks from: it predicts, and
          training can start from it
            point2mask convert checkpoint panoptic_segformer_r50_2x.pth --out out/segformer
        """,
    )
    checkpoint.add_argument(
        "file",
        type=local,
        metavar="FILE",
        help="a checkpoint of mmdet (.pth), of ResNet-50, ResNet-101 or Swin-L on VOC or COCO, of "
        "which no code is run, or the tensors of its state_dict (.safetensors)",
    )
    checkpoint.add_argument(
        "--out",
        type=local,
        required=True,
        metavar="DIR",
        help="gets config.json and model.safetensors; the network computes as published to the "
        "letter (docs/fidelity.md)",
    )
    add_json(checkpoint)


def _add_output(parser: Parser, stem: str) -> None:
    """The options of every layout; ``stem`` is the name of the JSON that is for training."""
    parser.add_argument(
        "--out",
        type=local,
        required=True,
        metavar="DIR",
        help="gets folders of pictures (hard links, or copies on another file system), panoptic "
        "JSONs and their folders of masks",
    )
    parser.add_argument(
        "--points",
        type=positive,
        nargs="+",
        default=[],
        metavar="N",
        help=f"also sample N points in each segment for training, as PNGs in {stem}_Npnt_uniform; "
        "several numbers make several folders, in which fewer points are part of more",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the points (default: 0)")
    add_reading(parser, "pictures")
    add_json(parser)


def run_voc(args: argparse.Namespace) -> int:
    from point2mask.data.formats.voc import read_splits

    return _convert(args, read_splits(args.voc, args.sbd), report_of(args))


def run_coco(args: argparse.Namespace) -> int:
    from point2mask.data.formats.coco import read_split

    name, report = args.name or args.images.resolve().name, report_of(args)
    split = read_split(
        args.instances, args.images, name, args.stuff, args.background, report=report
    )
    return _convert(args, [split], report)


def run_folder(args: argparse.Namespace) -> int:
    reader = import_module(f"point2mask.data.formats.{args.layout}")
    return _convert(args, reader.read_splits(args.folder), report_of(args))


def run_checkpoint(args: argparse.Namespace) -> int:
    from point2mask.train.published import convert_checkpoint

    converted = convert_checkpoint(args.file, args.out)
    system = "Panoptic SegFormer itself, as in" if converted.original else "the network of"
    print(f"{system} {converted.recipe}, {converted.tensors} tensors: {args.out}", file=sys.stderr)
    print(f"left over: {', '.join(converted.left_over) or 'nothing'}", file=sys.stderr)
    result = {
        "folder": str(args.out),
        "recipe": converted.recipe,
        "original": converted.original,
        "tensors": converted.tensors,
        "left_over": converted.left_over,
    }
    write_result(args.json, result)
    return 0


def _convert(args: argparse.Namespace, splits: Iterable["Split"], report: "Report") -> int:
    from point2mask.data.formats.conversion import convert_split

    results = []
    for split in splits:
        counts = sorted({*args.points}) if split.trained else []
        points = [args.out / f"{split.stem}_{count}pnt_uniform" for count in counts]
        beside = [folder.name for folder in points]
        with progress_bar(split.stem) as progress:
            dataset = convert_split(split, args.out, progress, report, args.frame, beside)
        segments = sum(len(image.segments) for image in dataset.images)
        path = args.out / f"{split.stem}.json"
        made = f"{number_of(len(dataset.images), 'image')}, {number_of(segments, 'segment')}"
        print(f"{made}: {path}", file=sys.stderr)
        if points:
            write_points(dataset, dict(zip(counts, points, strict=True)), args.seed)
        results.append(
            {
                "annotations": str(path),
                "images": len(dataset.images),
                "segments": segments,
                "points": [str(folder) for folder in points],
            }
        )
    print_report(report)
    write_result(args.json, {"sets": results, **report.to_json()})
    return 0


def write_points(dataset: "PanopticDataset", folders: Mapping[int, Path], seed: int) -> None:
    """Folders of PNGs by their number of points, in order; masks are read once."""
    from msgspec import structs

    from point2mask.data import sample_points, write_point_pngs

    with progress_bar("sampling points") as progress:
        most = sample_points(dataset, max(folders), seed, progress)
    for count, folder in folders.items():
        images = [
            (record, [structs.replace(target, points=target.points[:count]) for target in targets])
            for record, targets in most.images
        ]
        with progress_bar(folder.name) as progress:
            write_point_pngs(folder, replace(most, images=images), progress=progress)
        print(f"{number_of(count, 'point')} a segment: {folder}", file=sys.stderr)
