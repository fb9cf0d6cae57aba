"""Twelve photos and their clicks to a trained network: what it takes, and how good it is.

    python bench/twelve_photos.py [--data DIR] [--out DIR] [--per-segment N] [--steps N]

Twelve street scenes of Penn-Fudan with up to five pedestrians, N clicks a segment where `point2mask
points sample` says, and the commands of docs/first_hour.md, each in a process of its own whose
seconds are counted, of the clock and of the processors. What the network finds is scored on the
twelve photos themselves, of which it knows the clicks alone, and on the data set's thirty test
pictures. OUT gets twelve_photos.json and a picture of the first photos and their masks. What was
done is not done again, so that an interrupted run goes on.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from suite.report import machine

from point2mask.data.files import write_json

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "penn_fudan"
PHOTOS, MOST_SEGMENTS = 12, 6  # the background is one
COLUMNS, SIDE = 4, 240  # photos in the picture, and the height of each in pixels


class Steps:
    """Commands of the package and what they took; kept in a file after each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, dict[str, float]] = {}
        if path.is_file():
            self.done = json.loads(path.read_text())

    def __call__(self, name: str, *words: object) -> None:
        if name in self.done:
            return
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "point2mask", *map(str, words)])
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{name}: failed")
        self.done[name] = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": used.ru_utime + used.ru_stime,
        }
        write_json(self.path, self.done)
        print(name, self.done[name], flush=True)


def choose(data: Path, out: Path) -> None:
    """The first pictures with few enough segments, and the truth about them."""
    content = json.loads((data / "annotations" / "panoptic_train.json").read_text())
    segments = {a["image_id"]: a["segments_info"] for a in content["annotations"]}
    chosen = [i for i in content["images"] if len(segments[i["id"]]) <= MOST_SEGMENTS][:PHOTOS]
    photos, truth = out / "photos", out / "truth"
    photos.mkdir(parents=True)
    (truth / "panoptic").mkdir(parents=True)
    ids = {image["id"] for image in chosen}
    annotations = [a for a in content["annotations"] if a["image_id"] in ids]
    for image, annotation in zip(chosen, annotations, strict=True):
        shutil.copy(data / "images" / "train" / image["file_name"], photos)
        masks = data / "annotations" / "panoptic_train"
        shutil.copy(masks / annotation["file_name"], truth / "panoptic")
    changed = {**content, "images": chosen, "annotations": annotations}
    write_json(truth / "panoptic.json", changed)


def sheet(folders: list[Path], path: Path) -> None:
    """The overlays of several results for the first photos by name, a row of pictures each."""
    names = sorted(p.name for p in (folders[0] / "overlays").iterdir())[:COLUMNS]
    frame = SIDE * 4 // 3, SIDE
    whole = Image.new("RGB", (COLUMNS * frame[0], len(folders) * frame[1]), "white")
    for row, folder in enumerate(folders):
        for column, name in enumerate(names):
            picture = Image.open(folder / "overlays" / name).convert("RGB")
            picture.thumbnail(frame)
            left = column * frame[0] + (frame[0] - picture.width) // 2
            whole.paste(picture, (left, row * frame[1]))
    whole.save(path, quality=80)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="Penn-Fudan as COCO panoptic")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "twelve_photos")
    parser.add_argument("--per-segment", type=int, default=3)
    parser.add_argument("--steps", type=int, default=800)
    args = parser.parse_args()
    out, photos = args.out, args.out / "photos"
    if not photos.is_dir():
        choose(args.data, out)
    step = Steps(out / "steps.json")
    truth, points, run = out / "truth" / "panoptic.json", photos / "points.json", out / "run"
    sampling = "--annotations", truth, "--per-segment", args.per_segment, "--out", points
    step("clicks", "points", "sample", *sampling)
    given = "--images", photos, "--points", points
    step("masks without training", "label", *given, "--out", out / "labels")
    values = f"data.root={photos}", f"schedule.steps={args.steps}", "report.log_steps=10"
    step("training", "train", "own_clicks", *values, "--out", run, "--resume")
    trained = "--checkpoint", run
    grown = "--assigner", "network", "--out", out / "trained"
    step("masks with the network", "label", *given, *trained, *grown)
    step("predictions", "predict", *trained, "--images", photos, "--out", out / "predicted")
    test, test_truth = args.data / "images" / "val", args.data / "annotations" / "panoptic_val.json"
    step("of other pictures", "predict", *trained, "--images", test, "--out", out / "others")
    quality = {}
    for name, known, found in (
        ("masks without training", truth, "labels"),
        ("masks with the network", truth, "trained"),
        ("predictions", truth, "predicted"),
        ("of other pictures", test_truth, "others"),
    ):
        result = out / f"quality_{found}.json"
        words = "--truth", known, "--predictions", out / found, "--json", result
        step(f"score {name}", "evaluate", *words)
        quality[name] = json.loads(result.read_text())
    content = {"machine": machine(), "arguments": {"per_segment": args.per_segment}}
    content |= {"steps": step.done, "quality": quality}
    write_json(out / "twelve_photos.json", content)
    sheet([out / "labels", out / "trained", out / "predicted"], out / "twelve_photos.jpg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
