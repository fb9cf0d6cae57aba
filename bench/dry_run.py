"""The published recipes at full size, from made-up archives to a score, and what each stage takes.

    python bench/dry_run.py                      # voc_r50, coco_r50 and voc_swinl, 16 pictures each
    python bench/dry_run.py voc_r50 --pictures 5 --set augment.short_sides=[160] --step 160 224

Pictures have sizes of real ones, and the trees their real layouts: VOC 2012 with SBD, COCO panoptic
with 80 + 53 classes; a fifth of them is val. Every stage is the command that a user types; weights
are random (``pretrained: none``), and a step has one picture. Training gets SIGTERM in its third
step, which it finishes, and is taken up again for a fourth; the first step is by the nearest click,
the others by transport. Last, one more step is taken apart by ``bench_training_step.py``.
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

from point2mask.checkpoint import checkpoint_name
from point2mask.data.coco_categories import CATEGORIES as COCO
from point2mask.data.files import write_json

RECIPES = ("voc_r50", "coco_r50", "voc_swinl")
SIZES = {
    "voc": ((375, 500), (500, 375), (333, 500)),
    "coco": ((480, 640), (640, 480), (427, 640)),
}
RESIZED = {"voc": (600, 800), "coco": (800, 1066)}  # as the first of them is at test time
STOPPED, STEPS = 3, 4
EX_STOPPED = 75
NOT_REAPED = os.WEXITED | os.WNOHANG | os.WNOWAIT
STEP = Path(__file__).with_name("bench_training_step.py")


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
    """``VOCdevkit/VOC2012`` and ``benchmark_RELEASE/dataset``."""
    voc, sbd = root / "VOCdevkit" / "VOC2012", root / "benchmark_RELEASE" / "dataset"
    (voc / "ImageSets" / "Segmentation").mkdir(parents=True)
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        (voc / folder).mkdir()
    for folder in ("img", "inst"):
        (sbd / folder).mkdir(parents=True)
    names = [f"2008_{index:06}" for index in range(pictures)]
    held_out = pictures // 5
    val, train = names[:held_out], names[held_out:][::2]
    more = [name for name in names if name not in {*val, *train}]
    palette = [part for value in range(256) for part in (value, value, value)]
    for index, name in enumerate(names):
        pixels, numbers = scene(index, SIZES["voc"][index % 3])
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
    """``train2017``, ``val2017`` and ``annotations`` of COCO panoptic."""
    held_out = pictures // 5
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
            pixels, numbers = scene(index, SIZES["coco"][index % 3])
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


def measured(arguments: list[str], log: Path, stop_at: Path | None = None) -> dict[str, float]:
    """Seconds, CPU seconds and the largest resident size, GiB, of a program that writes to log.

    ``stop_at``: it gets SIGTERM when that path is there, and is to end as stopped.
    """
    began = time.perf_counter()
    with log.open("ab") as file:
        process = subprocess.Popen([sys.executable, *arguments], stdout=file, stderr=file)
        if stop_at is not None:
            while not stop_at.exists() and os.waitid(os.P_PID, process.pid, NOT_REAPED) is None:
                time.sleep(0.05)
            process.terminate()
        _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != (0 if stop_at is None else EX_STOPPED):
        raise SystemExit(f"{' '.join(arguments)}: failed, see {log}")
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_gib": usage.ru_maxrss / 2**20,
    }


def dry_run(
    recipe: str, out: Path, pictures: int, values: list[str], size: tuple[int, int]
) -> dict[str, Any]:
    """All stages of a recipe on ``pictures`` made-up pictures; and those of a step."""
    kind = recipe.partition("_")[0]
    archives, data, run = out / f"{kind}_archives", out / kind, out / recipe
    log = out / f"{recipe}.log"
    stages: dict[str, dict[str, float]] = {}

    def stage(name: str, *command: str | Path, stop_at: Path | None = None) -> None:
        stages[name] = measured(["-m", "point2mask", *map(str, command)], log, stop_at)
        print(recipe, name, *(f"{value:.1f}" for value in stages[name].values()), flush=True)

    if kind == "coco":
        more = ["data.train.points=null", "data.train.points_per_segment=1"]
        annotations, split = "annotations/panoptic_val2017.json", "val2017"
        if not data.exists():
            write_coco(data, pictures)
    else:
        more, annotations, split = [], "voc_panoptic_val.json", "val"
        if not data.exists():
            write_voc(archives, pictures)
            sources = ("--voc", archives / "VOCdevkit" / "VOC2012")
            sources += ("--sbd", archives / "benchmark_RELEASE" / "dataset")
            stage("convert", "convert", "voc", *sources, "--out", data, "--points", "1", "10")
    network = ["network.backbone.pretrained=none", *values]
    changes = [
        *more,
        f"data.root={data}",
        "data.workers=0",
        "data.val=null",  # predict and evaluate do it
        "schedule.batch_size=1",
        f"schedule.steps={STEPS}",
        "schedule.epochs=1",
        "schedule.milestones=[]",
        "supervision.transport_warmup=1",
        "report.log_steps=1",
        "report.checkpoint_steps=1",
        *network,
    ]
    train = ["train", recipe, "--device", "cpu", "--out", run, *changes]
    before = run / "checkpoints" / checkpoint_name(STOPPED - 1)
    stage("train, stopped in step 3", *train, stop_at=before)
    stage("train --resume to step 4", *train, "--resume")
    truth, predicted = data / annotations, out / f"{recipe}_predicted"
    found = ("--annotations", truth, "--out", predicted)
    stage("predict", "predict", "--checkpoint", run, "--images", data / split, *found)
    stage("evaluate", "evaluate", "--truth", truth, "--predictions", predicted)
    apart = out / f"{recipe}_step.json"
    step = [str(STEP), recipe, *network, "--images", "1", "--warmup", "0", "--repeats", "1"]
    measured([*step, "--size", *map(str, size), "--out", str(apart)], log)
    return {"stages": stages, "step": json.loads(apart.read_text())}


def show(results: dict[str, Any]) -> None:
    """Tables of the commands and of the stages of a step."""
    table = Table("recipe", "command", "seconds", "CPU seconds", "peak GiB")
    step = Table("recipe", "stage of a step", "forward s", "backward s", "peak GiB")
    for recipe, result in results.items():
        for name, row in result["stages"].items():
            table.add_row(recipe, name, *(f"{value:.1f}" for value in row.values()))
        for name, row in result["step"]["stages"].items():
            values = (row["forward"], row["backward"], row["peak_mib"] / 1024)
            step.add_row(recipe, name, *(f"{value:.1f}" for value in values))
    for each in (table, step):
        Console().print(each)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=RECIPES, metavar="RECIPE")
    parser.add_argument("--pictures", type=int, default=16, help="a fifth of them is val")
    parser.add_argument("--out", type=Path, default=Path("build/dry_run"), help="made anew")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="on top of the recipes"
    )
    parser.add_argument(
        "--step",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="size of the picture of the step that is taken apart (default: that of the recipe)",
    )
    parser.add_argument("--json", type=Path, help="gets the figures")
    args = parser.parse_args()
    if args.pictures < 5:
        parser.error("--pictures: a fifth of them is val, expected at least 5")
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    results: dict[str, Any] = {}
    for recipe in args.recipes:
        size = tuple(args.step or RESIZED[recipe.partition("_")[0]])
        results[recipe] = dry_run(recipe, args.out, args.pictures, args.set, size)
    show(results)
    if args.json:
        write_json(args.json, {"pictures": args.pictures, "recipes": results})


if __name__ == "__main__":
    main()
