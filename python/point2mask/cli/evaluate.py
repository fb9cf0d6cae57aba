"""``point2mask evaluate``: panoptic quality of predictions."""

import argparse
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from point2mask.cli.command import (
    PRINT,
    Subparsers,
    UsageError,
    add_command,
    add_json,
    place,
    print_report,
    process_count,
    progress_bar,
    write_result,
)
from point2mask.cli.tables import percent, print_tables, quality_table, table
from point2mask.messages import number_of, shown

if TYPE_CHECKING:
    from rich.table import Table

    from point2mask.data import PanopticDataset
    from point2mask.data.records import Category
    from point2mask.evaluation import MaskQuality, PanopticQuality
    from point2mask.evaluation.pairs import ImagePairs

# Below this many images, starting processes takes longer than they save.
IMAGES_WORTH_PROCESSES = 200


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "evaluate",
        run,
        "Measure the panoptic quality of predictions by the COCO rules.",
        """
          masks that 'point2mask label' wrote to out/ (out/panoptic.json, out/panoptic/*.png):
            point2mask evaluate --truth panoptic_val.json --predictions out
          two folders, such as those of two ways to label:
            point2mask evaluate --truth labels --predictions other_labels
          every category, and the figures for a script:
            point2mask evaluate --truth panoptic_val.json --predictions out --per-category \\
              --json quality.json
        """,
    )
    parser.add_argument(
        "--truth",
        type=place,
        required=True,
        metavar="PATH",
        help="COCO panoptic JSON of the truth, or a folder with panoptic.json and panoptic/",
    )
    parser.add_argument(
        "--truth-masks",
        type=place,
        metavar="DIR",
        help="its folder of PNGs (default: beside the JSON, named like it without .json)",
    )
    parser.add_argument(
        "--predictions",
        type=place,
        required=True,
        metavar="PATH",
        help="folder with panoptic.json and panoptic/, or a panoptic JSON with its PNGs beside it; "
        "images are paired by id, or by file name where ids differ",
    )
    parser.add_argument(
        "--predictions-masks",
        type=place,
        metavar="DIR",
        help="its folder of PNGs, where the JSON lies among them or elsewhere (default: beside the "
        "JSON, named like it without .json)",
    )
    parser.add_argument(
        "--mask-quality",
        action="store_true",
        help="also the mean IoU of each target's own mask; predictions must have kept the ids of "
        "the true segments, as masks from sampled points do",
    )
    parser.add_argument("--per-category", action="store_true", help="a row for every category")
    parser.add_argument(
        "--skip-broken",
        action="store_true",
        help="leave images out that have no prediction or whose masks cannot be used, and list "
        "them at the end (default: stop at the first)",
    )
    add_json(parser)
    parser.add_argument(
        "--workers", type=process_count, metavar="N", help="processes (default: one a CPU)"
    )


def run(args: argparse.Namespace) -> int:
    from point2mask.data.places import is_folder
    from point2mask.data.report import Report
    from point2mask.evaluation import (
        MaskSums,
        PanopticStatistics,
        image_mask_statistics,
        image_statistics,
        pair_images,
        read_predictions,
        read_truth,
        sum_over_images,
    )

    truth = read_truth(args.truth, args.truth_masks)
    predictions = read_predictions(args.predictions, truth, args.predictions_masks)
    for dataset, option in ((truth, "--truth-masks"), (predictions, "--predictions-masks")):
        folder = dataset.masks_dir  # in a tar, its parent is none
        if folder.parent.is_dir() and not is_folder(folder):
            raise UsageError(
                f"{folder}: expected the folder of the masks, but there is no such folder; "
                f"{option} says where else they are"
            )
    report = Report(skip_broken=args.skip_broken)
    on_broken = partial(report.broken, what="images") if args.skip_broken else None
    pairs = pair_images(truth, predictions, on_broken)
    if doubt := doubts(pairs):
        print(f"point2mask: warning: {args.predictions}: {doubt}", file=sys.stderr)
    workers = args.workers
    if workers is None and len(truth.images) >= IMAGES_WORTH_PROCESSES:
        workers = os.cpu_count()
    with progress_bar("panoptic quality") as progress:
        zero = PanopticStatistics.zero(truth.categories)
        statistics = sum_over_images(image_statistics, zero, pairs, workers, progress, on_broken)
        quality = statistics.quality()
    masks = None
    if args.mask_quality:
        with progress_bar("mask quality") as progress:
            said = None if on_broken is None else lambda _: None  # by the quality already
            sums = sum_over_images(
                image_mask_statistics, MaskSums(), pairs, workers, progress, said
            )
            masks = sums.quality()
    left_out = report.count("images")
    if left_out == len(truth.images):
        raise UsageError(f"{args.predictions}: none of the {left_out} images can be used")
    print_report(report)
    if args.json is not None:
        result = to_json(quality, masks, truth)
        if args.skip_broken:
            result["left_out"] = report.to_json()["left_out"]
        write_result(args.json, result)
    if args.json != PRINT:
        print_tables(*make_tables(quality, masks, truth, args.per_category))
    return 0


def doubts(pairs: "ImagePairs") -> str:
    """What hints at predictions for other images than those of the truth; empty if nothing does."""
    found = []
    if pairs.unused:
        record = pairs.predictions.records[pairs.unused[0]]
        found.append(
            f"not in the truth and not looked at: {number_of(len(pairs.unused), 'image')}, such as "
            f"{shown(record.id)} ({record.file_name})"
        )
    if pairs.by_name:
        count = number_of(pairs.by_name, "image")
        found.append(f"found by their file names, as their ids differ: {count}")
    if pairs.renamed:
        truth, prediction = pairs.records(pairs.renamed[0])
        found.append(
            f"of another file name in the truth: {number_of(len(pairs.renamed), 'image')}, such as "
            f"{shown(prediction.id)} ({prediction.file_name}, there {truth.file_name})"
        )
    if pairs.turned:
        truth, prediction = pairs.records(pairs.turned[0])
        found.append(
            f"with masks on the picture as {prediction.frame}, and in the truth as {truth.frame}: "
            f"{number_of(len(pairs.turned), 'image')}, such as {truth.file_name}"
        )
    both = [pairs.truth.categories, pairs.predictions.categories]
    for id in sorted(both[0].keys() & both[1].keys()):
        there, here = (categories[id] for categories in both)
        if (there.name, there.isthing) != (here.name, here.isthing):
            found.append(
                f"category {id} is {shown(here.name)}, {_kind(here)}, and in the truth "
                f"{shown(there.name)}, {_kind(there)}; they are matched by their ids"
            )
            break
    return "; ".join(found)


def _kind(category: "Category") -> str:
    return "a thing" if category.isthing else "stuff"


def to_json(
    quality: "PanopticQuality", masks: "MaskQuality | None", truth: "PanopticDataset"
) -> dict[str, object]:
    """All figures in [0, 1]; null where there is nothing to average."""
    from point2mask.evaluation import category_figures, figures

    result: dict[str, object] = dict(figures(quality))
    if masks is not None:
        result["masks"] = figures(masks)
    result["per_category"] = [
        {"id": key, "name": truth.categories[key].name, **category_figures(value)}
        for key, value in quality.per_category.items()
    ]
    return result


def make_tables(
    quality: "PanopticQuality",
    masks: "MaskQuality | None",
    truth: "PanopticDataset",
    per_category: bool,
) -> "list[Table]":
    from rich.text import Text

    from point2mask.evaluation import category_figures, figures

    tables = []
    if per_category:
        rows = table("category", "PQ", "SQ", "RQ", "TP", "FP", "FN")
        for key, value in quality.per_category.items():
            *shares, tp, fp, fn = category_figures(value).values()
            name = Text(truth.categories[key].name)
            rows.add_row(name, *map(percent, shares), str(tp), str(fp), str(fn))
        tables.append(rows)
    tables.append(quality_table(figures(quality)))
    if masks is not None:
        rows = table("own masks", "mean IoU", "IoU > 0.5", "targets")
        for group, values in figures(masks).items():
            shares = [values["mean_iou"], values["hit_rate"]]
            rows.add_row(group, *map(percent, shares), str(values["targets"]))
        tables.append(rows)
    return tables
