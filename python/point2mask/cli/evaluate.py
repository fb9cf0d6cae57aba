"""``point2mask evaluate``: panoptic quality of predictions."""

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from point2mask.cli.command import (
    PRINT,
    Subparsers,
    add_command,
    add_json,
    positive,
    progress_bar,
    write_result,
)

if TYPE_CHECKING:
    from point2mask.data import PanopticDataset
    from point2mask.evaluation import MaskQuality, PanopticQuality

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
          every category, and the figures for a script:
            point2mask evaluate --truth panoptic_val.json --predictions out --per-category \\
              --json quality.json
        """,
    )
    parser.add_argument(
        "--truth", type=Path, required=True, metavar="JSON", help="COCO panoptic JSON of the truth"
    )
    parser.add_argument(
        "--truth-masks",
        type=Path,
        metavar="DIR",
        help="its folder of PNGs (default: beside the JSON, named like it without .json)",
    )
    parser.add_argument(
        "--predictions",
        type=Path,
        required=True,
        metavar="PATH",
        help="folder with panoptic.json and panoptic/, or a panoptic JSON with its PNGs beside it",
    )
    parser.add_argument(
        "--mask-quality",
        action="store_true",
        help="also the mean IoU of each target's own mask; predictions must have kept the ids of "
        "the true segments, as masks from sampled points do",
    )
    parser.add_argument("--per-category", action="store_true", help="a row for every category")
    add_json(parser)
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="processes (default: one a CPU)"
    )


def run(args: argparse.Namespace) -> int:
    from point2mask.data import read_panoptic
    from point2mask.evaluation import mask_quality, panoptic_quality, read_predictions

    truth = read_panoptic(args.truth, args.truth_masks)
    predictions = read_predictions(args.predictions, truth)
    if doubt := differing_images(truth, predictions):
        print(f"point2mask: warning: {args.predictions}: {doubt}", file=sys.stderr)
    workers = args.workers
    if workers is None and len(truth.images) >= IMAGES_WORTH_PROCESSES:
        workers = os.cpu_count()
    with progress_bar("panoptic quality") as progress:
        quality = panoptic_quality(truth, predictions, workers, progress)
    masks = None
    if args.mask_quality:
        with progress_bar("mask quality") as progress:
            masks = mask_quality(truth, predictions, workers, progress)
    if args.json is not None:
        write_result(args.json, to_json(quality, masks, truth))
    if args.json != PRINT:
        print_tables(quality, masks, truth, args.per_category)
    return 0


def differing_images(truth: "PanopticDataset", predictions: "PanopticDataset") -> str:
    """What hints at predictions for other images than those of the truth; empty if nothing does."""
    names = {image.record.id: image.record.file_name for image in truth.images}
    records = [image.record for image in predictions.images]
    unknown = [record for record in records if record.id not in names]
    renamed = [
        record for record in records if names.get(record.id, record.file_name) != record.file_name
    ]
    doubts = []
    if unknown:
        doubts.append(
            f"{len(unknown)} images are not in the truth and not looked at, such as "
            f"{unknown[0].id!r} ({unknown[0].file_name})"
        )
    if renamed:
        record = renamed[0]
        doubts.append(
            f"{len(renamed)} images have another file name in the truth, such as {record.id!r} "
            f"({record.file_name}, there {names[record.id]})"
        )
    return "; ".join(doubts)


def to_json(
    quality: "PanopticQuality", masks: "MaskQuality | None", truth: "PanopticDataset"
) -> dict[str, object]:
    """All figures in [0, 1]; null where there is nothing to average."""

    def finite(values: dict[str, float]) -> dict[str, float | None]:
        return {key: None if math.isnan(value) else value for key, value in values.items()}

    groups = ("all", "things", "stuff")
    figures: dict[str, object] = {
        group: finite(getattr(quality, group)._asdict()) for group in groups
    }
    if masks is not None:
        figures["masks"] = {group: finite(getattr(masks, group)._asdict()) for group in groups}
    figures["per_category"] = [
        {"id": key, "name": truth.categories[key].name, **finite(value._asdict())}
        for key, value in quality.per_category.items()
    ]
    return figures


def print_tables(
    quality: "PanopticQuality",
    masks: "MaskQuality | None",
    truth: "PanopticDataset",
    per_category: bool,
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def percent(*values: float) -> list[str]:
        return ["-" if math.isnan(value) else f"{100 * value:.1f}" for value in values]

    def table(*columns: str) -> Table:
        result = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        result.add_column(columns[0])
        for column in columns[1:]:
            result.add_column(column, justify="right")
        return result

    console = Console(file=sys.stdout, highlight=False)
    groups = ("all", "things", "stuff")
    if per_category:
        rows = table("category", "PQ", "SQ", "RQ", "TP", "FP", "FN")
        for key, figures in quality.per_category.items():
            name = Text(truth.categories[key].name)
            rows.add_row(name, *percent(*figures[:3]), *map(str, figures[3:]))
        console.print(rows)
        console.print()
    rows = table("", "PQ", "SQ", "RQ", "categories")
    for group in groups:
        average = getattr(quality, group)
        rows.add_row(group, *percent(*average[:3]), str(average.categories))
    console.print(rows)
    if masks is not None:
        rows = table("own masks", "mean IoU", "IoU > 0.5", "targets")
        for group in groups:
            score = getattr(masks, group)
            rows.add_row(group, *percent(*score[:2]), str(score.targets))
        console.print()
        console.print(rows)
