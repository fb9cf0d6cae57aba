"""``point2mask points``: make point labels, and exchange them with other tools."""

import argparse
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from point2mask.cli.command import (
    Parser,
    Subparsers,
    UsageError,
    add_command,
    add_json,
    add_leaving_out,
    add_reading,
    local,
    positive,
    print_report,
    progress_bar,
    report_of,
    share,
    write_result,
)
from point2mask.cli.replacing import check_replaceable, check_table, write_over
from point2mask.messages import number_of

if TYPE_CHECKING:
    from point2mask.data import PointLabels
    from point2mask.data.report import Report


# What a file of clicks has many of.
READ = {"csv": "rows", "labelme": "files", "cvat": "images", "label-studio": "tasks"}


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "points",
        None,
        "Make point labels, and exchange them with other tools.",
        """
          point2mask points sample --annotations panoptic_train.json --out points.json
          point2mask points import csv clicks.csv --images photos --out points.json
          point2mask points export labelme --points points.json --out photos
        """,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_sample(actions)
    _add_import(actions)
    _add_export(actions)


def _add_sample(actions: Subparsers) -> None:
    sample = add_command(
        actions,
        "sample",
        run_sample,
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
        "--annotations", type=local, required=True, metavar="JSON", help="COCO panoptic JSON"
    )
    sample.add_argument(
        "--masks",
        type=local,
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
    sample.add_argument(
        "--areas",
        type=share,
        metavar="LOG_ERROR",
        help="segments' areas too, as somebody might estimate them: this is the standard deviation "
        "of their logarithms' errors, 0 for true areas (default: none)",
    )
    sample.add_argument("--out", type=local, metavar="JSON", help="write points as JSON")
    sample.add_argument("--png-dir", type=local, metavar="DIR", help="write points as PNGs")

    add_json(sample)


def _add_import(actions: Subparsers) -> None:
    parser = add_command(
        actions,
        "import",
        None,
        "Read clicks of tables and of annotation tools.",
        """
          point2mask points import csv clicks.csv --images photos --stuff sky grass \\
            --out points.json
          point2mask points import labelme photos --categories panoptic_train.json \\
            --out points.json
          docs/data_formats.md says what each format must look like.
        """,
    )
    formats = parser.add_subparsers(title="formats", metavar="FORMAT", required=True, dest="format")
    for name, summary, source in (
        ("csv", "Read clicks of a table: image,x,y,category[,instance].", "clicks.csv"),
        ("labelme", "Read points of labelme, a JSON or a folder of them.", "photos"),
        (
            "cvat",
            "Read points of 'CVAT for images 1.1' or 'CVAT for video 1.1'.",
            "annotations.xml",
        ),
        ("label-studio", "Read key points of Label Studio.", "export.json"),
    ):
        example = f"point2mask points import {name} {source} --images photos --out points.json"
        command = add_command(formats, name, run_import, summary, example)
        command.add_argument("source", type=local, metavar="PATH", help="what to read")
        command.add_argument(
            "--images",
            type=local,
            required=name == "csv",
            metavar="DIR",
            help="the pictures, whose sizes are looked at"
            + ("" if name == "csv" else " (default: the sizes that the file gives)"),
        )
        kinds = command.add_mutually_exclusive_group()
        kinds.add_argument(
            "--categories",
            type=local,
            metavar="JSON",
            help="panoptic or point JSON whose categories these are, looked for by name (default: "
            "those found, numbered in the order of their names)",
        )
        kinds.add_argument(
            "--stuff",
            nargs="+",
            default=[],
            metavar="NAME",
            help="categories that are stuff: all clicks on one in an image are one target "
            "(default: all are things)",
        )
        add_reading(command, READ[name])
        _add_out(command)
    pngs = add_command(
        formats,
        "pngs",
        run_pngs,
        "Read the published format: PNGs with ids of segments on the clicked pixels.",
        """
          point2mask points import pngs voc_panoptic_train_1pnt_uniform \\
            --annotations voc_panoptic_train.json --out points.json
        """,
    )
    pngs.add_argument("source", type=local, metavar="DIR", help="the folder of PNGs")
    pngs.add_argument(
        "--annotations",
        type=local,
        required=True,
        metavar="JSON",
        help="the panoptic JSON that they were made for",
    )
    add_leaving_out(pngs, "images")
    _add_out(pngs)


def _add_out(command: Parser) -> None:
    command.add_argument(
        "--out", type=local, required=True, metavar="JSON", help="write points as JSON"
    )
    add_json(command)


def _add_export(actions: Subparsers) -> None:
    parser = add_command(
        actions,
        "export",
        None,
        "Write clicks for other tools.",
        """
          point2mask points export csv --points points.json --out clicks.csv
          point2mask points export labelme --points points.json --out photos
        """,
    )
    formats = parser.add_subparsers(title="formats", metavar="FORMAT", required=True, dest="format")
    for name, summary, out, help_text in (
        (
            "csv",
            "Write a table: image,x,y,category,instance.",
            "clicks.csv",
            "the table; images without clicks, areas and crowds are not in it",
        ),
        (
            "labelme",
            "Write a JSON of labelme for every image.",
            "photos",
            "folder that gets a JSON for every image; beside the pictures labelme finds them. "
            "Existing files are not replaced; areas and crowds are not written",
        ),
    ):
        frame = "shown" if name == "labelme" else "stored"
        example = f"point2mask points export {name} --points points.json --out {out}"
        command = add_command(formats, name, run_export, summary, example)
        command.add_argument(
            "--points", type=local, required=True, metavar="JSON", help="clicks, as JSON"
        )
        command.add_argument("--out", type=local, required=True, metavar="PATH", help=help_text)
        command.add_argument(
            "--images",
            type=local,
            metavar="DIR",
            help="the pictures, whose EXIF tags say how viewers turn them: the clicks are written "
            f"as the format has them, on pictures as {frame} (default: "
            + ("--out)" if name == "labelme" else "clicks stay as they are)"),
        )
        add_json(command)


def run_import(args: argparse.Namespace) -> int:
    from point2mask.data.formats import READERS, Pictures, to_labels
    from point2mask.data.records import read_categories

    check_replaceable(args.out)
    known = None
    if args.categories is not None:
        known = read_categories(args.categories)
    report = report_of(args)
    pictures = Pictures(args.images, frame=args.frame, report=report)
    images = READERS[args.format](args.source, pictures)
    labels = to_labels(images, args.source, known, args.stuff, report)
    write_over(args.out, labels)
    return _report(args, labels, report)


def run_pngs(args: argparse.Namespace) -> int:
    from point2mask.data import read_point_pngs

    check_replaceable(args.out)
    report = report_of(args)
    labels = read_point_pngs(args.annotations, args.source, report=report)
    write_over(args.out, labels)
    return _report(args, labels, report)


def run_export(args: argparse.Namespace) -> int:
    from point2mask.data import read_points
    from point2mask.data.formats import WRITERS
    from point2mask.data.frames import FRAMES
    from point2mask.data.report import Report
    from point2mask.data.turning import turn_labels

    if args.format == "csv":
        check_table(args.out)
    labels, report = read_points(args.points), Report()
    pictures = args.images or (args.out if args.format == "labelme" else None)
    labels = turn_labels(labels, FRAMES[args.format], pictures, report)
    WRITERS[args.format](args.out, labels)
    _count_lost(args.format, labels, report)
    return _report(args, labels, report)


def _count_lost(format_name: str, labels: "PointLabels", report: "Report") -> None:
    """What the formats of other tools have no place for."""
    names = Counter(category.name for category in labels.categories.values())
    for category in labels.categories.values():
        if names[category.name] > 1:
            report.leave_out("categories of a name that another has", category.name)
        if format_name == "csv" and category.name != category.name.strip():
            report.leave_out("blanks at the ends of names", repr(category.name))
    for record, targets in labels.images:
        if format_name == "csv" and record.file_name != record.file_name.strip():
            report.leave_out("blanks at the ends of names", repr(record.file_name))
        kinds = (labels.categories[target.category_id] for target in targets)
        stuff = Counter(category.id for category in kinds if not category.isthing)
        if format_name == "csv" and not targets:
            report.leave_out("images without clicks", record.file_name)
        if record.id in labels.marks:
            report.leave_out("images' clicks on nothing, corrections or status", record.file_name)
        for target in targets:
            place = f"{record.file_name}: target {target.id}"
            if stuff[target.category_id] > 1:
                report.leave_out("targets of stuff that become one with others", place)
            if target.area is not None:
                report.leave_out("areas of targets", place)
            if target.iscrowd:
                report.leave_out("marks of crowds", place)


def _report(args: argparse.Namespace, labels: "PointLabels", report: "Report | None" = None) -> int:
    targets = [target for _, targets in labels.images for target in targets]
    points = sum(len(target.points) for target in targets)
    where = f"{number_of(len(targets), 'target')} in {number_of(len(labels.images), 'image')}"
    print(f"{number_of(points, 'point')} on {where}: {args.out}", file=sys.stderr)
    result: dict[str, object] = {
        "out": str(args.out),
        "images": len(labels.images),
        "targets": len(targets),
        "points": points,
        "categories": {c.name: c.id for c in labels.categories.values()},
    }
    if report is not None:
        print_report(report)
        result.update(report.to_json())
    write_result(args.json, result)
    return 0


def run_sample(args: argparse.Namespace) -> int:
    from point2mask.data import read_panoptic, sample_points, write_point_pngs
    from point2mask.data.claims import claimed

    if args.out is None and args.png_dir is None:
        raise UsageError("points sample: give --out JSON, --png-dir DIR or both")
    if args.out is None and args.areas is not None:
        raise UsageError("points sample: --areas needs --out: PNGs hold no areas")
    if args.out is not None:
        check_replaceable(args.out)
    dataset = read_panoptic(args.annotations, args.masks)
    if args.png_dir is not None and args.png_dir.resolve() == dataset.masks_dir.resolve():
        raise UsageError(
            f"--png-dir {args.png_dir}: this would overwrite the masks of the data set"
        )
    names = {}
    with ExitStack() as stack:
        if args.png_dir is not None:  # before any work
            names = {image.record.id: image.mask_name for image in dataset.images}
            own = {PurePosixPath(name).parts[0] for name in names.values()}
            stack.enter_context(claimed(args.png_dir, "points sample", own))
        with progress_bar("sampling") as progress:
            labels = sample_points(dataset, args.per_segment, args.seed, progress, args.areas)
        if args.out is not None:
            write_over(args.out, labels)
        if args.png_dir is not None:
            with progress_bar("writing PNGs") as progress:
                write_point_pngs(args.png_dir, labels, mask_names=names, progress=progress)
    targets = [target for _, targets in labels.images for target in targets]
    points = sum(len(target.points) for target in targets)
    where = f"{number_of(len(targets), 'segment')} of {number_of(len(labels.images), 'image')}"
    print(f"{number_of(points, 'point')} for {where}", file=sys.stderr)
    write_result(
        args.json,
        {"images": len(labels.images), "segments": len(targets), "points": points},
    )
    return 0
