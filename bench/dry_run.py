"""The published recipes at full size, from made-up archives to a score, and what each stage takes.

    python bench/dry_run.py                      # voc_r50, coco_r50 and voc_swinl, 16 pictures each
    python bench/dry_run.py voc_r50 --pictures 5 --set augment.short_sides=[160]

Pictures have the sizes of the real ones, and the trees their real layouts: VOC 2012 with SBD, COCO
panoptic with 80 + 53 classes. Every stage is the command that a user types; weights are random
(``pretrained: none``), the batch is as large as three steps an epoch allow.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy import sparse
from scipy.io import savemat

from point2mask.data.coco_categories import CATEGORIES as COCO
from point2mask.data.files import write_json

RECIPES = ("voc_r50", "coco_r50", "voc_swinl")
SIZES = {"voc": (375, 500), "coco": (480, 640)}
STEPS = 3


def scene(index: int, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture of three boxes and the numbers of the boxes, 0 for what lies behind."""
    rng = np.random.default_rng(index)
    numbers = np.zeros(size, np.uint8)
    height, width = size
    for number in (1, 2, 3):
        top, left = int(rng.integers(height * 2 // 3)), int(rng.integers(width * 2 // 3))
        numbers[top : top + height // 3, left : left + width // 3] = number
    colours = rng.integers(0, 256, (4, 3))
    pixels = colours[numbers] + rng.integers(-20, 21, (*size, 3))
    return pixels.clip(0, 255).astype(np.uint8), numbers


def write_voc(root: Path, pictures: int) -> None:
    """``VOCdevkit/VOC2012`` and ``benchmark_RELEASE/dataset``; two fifths are val."""
    voc, sbd = root / "VOCdevkit" / "VOC2012", root / "benchmark_RELEASE" / "dataset"
    (voc / "ImageSets" / "Segmentation").mkdir(parents=True)
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        (voc / folder).mkdir()
    for folder in ("img", "inst"):
        (sbd / folder).mkdir(parents=True)
    names = [f"2008_{index:06}" for index in range(pictures)]
    held_out = pictures * 2 // 5
    val, train = names[:held_out], names[held_out:][::2]
    more = [name for name in names if name not in {*val, *train}]
    palette = [part for value in range(256) for part in (value, value, value)]
    for index, name in enumerate(names):
        pixels, numbers = scene(index, SIZES["voc"])
        classes = np.where(numbers > 0, (numbers + index) % 20 + 1, 0).astype(np.uint8)
        if name in more:
            Image.fromarray(pixels).save(sbd / "img" / f"{name}.jpg")
            found = [n for n in (1, 2, 3) if (numbers == n).any()]
            boundaries = np.empty((len(found), 1), object)
            renumbered = np.zeros_like(numbers)
            for place, number in enumerate(found):
                renumbered[numbers == number] = place + 1
                boundaries[place, 0] = sparse.csc_array(numbers == number)
            kinds = np.array([[(n + index) % 20 + 1] for n in found], np.float64)
            fields = {"Segmentation": renumbered, "Boundaries": boundaries, "Categories": kinds}
            savemat(sbd / "inst" / f"{name}.mat", {"GTinst": fields}, do_compression=True)
            continue
        Image.fromarray(pixels).save(voc / "JPEGImages" / f"{name}.jpg")
        for folder, values in (("SegmentationClass", classes), ("SegmentationObject", numbers)):
            image = Image.fromarray(values).convert("P")
            image.putdata(values.ravel().tolist())
            image.putpalette(palette)
            image.save(voc / folder / f"{name}.png")
    lists = {"train": train, "val": val}
    for split, of_split in lists.items():
        text = "".join(f"{name}\n" for name in of_split)
        (voc / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text)
    (sbd / "train.txt").write_text("".join(f"{name}\n" for name in more))
    (sbd / "val.txt").write_text("".join(f"{name}\n" for name in val))


def write_coco(root: Path, pictures: int) -> None:
    """``train2017``, ``val2017`` and ``annotations`` of COCO panoptic; two fifths are val."""
    held_out = pictures * 2 // 5
    categories = [
        {"id": c.id, "name": c.name, "isthing": int(c.isthing), "color": list(c.color)}
        for c in COCO.values()
    ]
    things = [c.id for c in COCO.values() if c.isthing]
    stuff = [c.id for c in COCO.values() if not c.isthing]
    for split, indices in (("val2017", range(held_out)), ("train2017", range(held_out, pictures))):
        masks = root / "annotations" / f"panoptic_{split}"
        for folder in (masks, root / split):
            folder.mkdir(parents=True)
        images, annotations = [], []
        for index in indices:
            pixels, numbers = scene(index, SIZES["coco"])
            name = f"{index + 1:012}"
            Image.fromarray(pixels).save(root / split / f"{name}.jpg")
            ids = np.zeros((*numbers.shape, 3), np.uint8)
            ids[..., 0] = numbers + 1
            Image.fromarray(ids).save(masks / f"{name}.png")
            segments = []
            for number in np.unique(numbers).tolist():
                rows, columns = np.nonzero(numbers == number)
                known = things if number else stuff
                box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
                segments.append(
                    {
                        "id": number + 1,
                        "category_id": known[(7 * index + number) % len(known)],
                        "area": len(rows),
                        "bbox": [int(value) for value in box],
                        "iscrowd": 0,
                    }
                )
            height, width = numbers.shape
            image = {"id": index + 1, "file_name": f"{name}.jpg", "height": height, "width": width}
            images.append(image)
            annotations.append(
                {"image_id": index + 1, "file_name": f"{name}.png", "segments_info": segments}
            )
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))


def measured(arguments: list[str], log: Path) -> dict[str, float]:
    """Seconds, CPU seconds and the largest resident size, GiB, of a command that writes to log."""
    began = time.perf_counter()
    with log.open("ab") as file:
        command = [sys.executable, "-m", "point2mask", *arguments]
        process = subprocess.Popen(command, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: failed, see {log}")
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_gib": usage.ru_maxrss / 2**20,
    }


def dry_run(
    recipe: str, out: Path, pictures: int, values: list[str]
) -> dict[str, dict[str, float]]:
    """All stages of a recipe on ``pictures`` made-up pictures."""
    kind = recipe.partition("_")[0]
    archives, data, run = out / f"{kind}_archives", out / kind, out / recipe
    log = out / f"{recipe}.log"
    stages: dict[str, dict[str, float]] = {}
    train = pictures - pictures * 2 // 5
    if kind == "coco":
        clicks = "data.train.points=null"
        more = [clicks, "data.train.points_per_segment=1"]
        annotations, split = "annotations/panoptic_val2017.json", "val2017"
        if not data.exists():
            write_coco(data, pictures)
    else:
        more, annotations, split = [], "voc_panoptic_val.json", "val"
        if not data.exists():
            write_voc(archives, pictures)
            convert = ["convert", "voc", "--voc", str(archives / "VOCdevkit" / "VOC2012")]
            convert += ["--sbd", str(archives / "benchmark_RELEASE" / "dataset")]
            stages["convert"] = measured([*convert, "--out", str(data), "--points", "1", "10"], log)
    changes = [
        *more,
        f"data.root={data}",
        "data.workers=0",
        "network.backbone.pretrained=none",
        f"schedule.batch_size={train // STEPS}",
        f"schedule.accumulation={train // STEPS}",
        "schedule.milestones=[1]",
        "report.log_steps=1",
        "report.evaluate_images=1",
        *values,
    ]
    common = ["train", recipe, "--device", "cpu", "--out", str(run)]
    stages["train, 3 steps"] = measured([*common, *changes, "schedule.epochs=1"], log)
    stages["train --resume, 3 more"] = measured(
        [*common, "--resume", *changes, "schedule.epochs=2"], log
    )
    truth, predicted = data / annotations, out / f"{recipe}_predicted"
    predict = ["predict", "--checkpoint", str(run), "--images", str(data / split)]
    stages["predict"] = measured(
        [*predict, "--annotations", str(truth), "--out", str(predicted)], log
    )
    evaluate = ["evaluate", "--truth", str(truth), "--predictions", str(predicted)]
    stages["evaluate"] = measured(evaluate, log)
    return stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=RECIPES, metavar="RECIPE")
    parser.add_argument("--pictures", type=int, default=16, help="two fifths are val")
    parser.add_argument("--out", type=Path, default=Path("build/dry_run"), help="made anew")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="on top of the recipes"
    )
    parser.add_argument("--json", type=Path, help="gets the figures")
    args = parser.parse_args()
    if args.pictures < 5:
        parser.error("--pictures: three of them are needed to train on, expected at least 5")
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    results: dict[str, Any] = {}
    table = Table("recipe", "stage", "seconds", "CPU seconds", "peak GiB")
    for recipe in args.recipes:
        results[recipe] = dry_run(recipe, args.out, args.pictures, args.set)
        for stage, row in results[recipe].items():
            values = (row["seconds"], row["cpu_seconds"], row["peak_gib"])
            table.add_row(recipe, stage, *(f"{value:.1f}" for value in values))
            print(recipe, stage, *(f"{value:.1f}" for value in values), flush=True)
    Console().print(table)
    if args.json:
        write_json(args.json, {"pictures": args.pictures, "recipes": results})


if __name__ == "__main__":
    main()
