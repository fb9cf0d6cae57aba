"""Start-up time and memory of commands that take long lists, up to the first picture.

    python bench/long_lists.py [--json 118287] [--lines 1000000] [--table 1000000]

Every list is made up: a picture of 640 x 480 an entry, seven targets of one click each. The time
and the peak of memory are those of a process of its own that reads the list, checks it, prepares
the folder of results and comes to the first picture: to label it, to predict it (by a network that
finds nothing), to train on it, or to evaluate it: of a panoptic JSON that is read twice, as the
truth and as the predictions. A list of one entry says what Python and imports take of it, and
``floor`` what importing torch alone does.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import msgspec
import numpy as np

from point2mask.data import (
    Category,
    ImageRecord,
    PointLabels,
    PointTarget,
    read_points,
    write_points,
    write_rgb,
)
from point2mask.data.marks import NO_MARKS
from point2mask.data.png import write_ids
from point2mask.data.records import categories_to_json, image_to_json
from point2mask.data.sequences import Mapped
from point2mask.data.targets import annotation_to_json
from point2mask.evaluation.pairs import CHUNK

SIZE = (480, 640)
TARGETS = 7
CATEGORIES = {1: Category(1, "cat", True, (220, 20, 60))}


class Enough(Exception):
    """The first picture is done."""


def stop(done: int, total: int) -> None:
    raise Enough


def entry(index: int) -> tuple[ImageRecord, list[PointTarget]]:
    record = ImageRecord(index, f"{index % 100}/{index:012}.jpg", *SIZE)
    points = [(7 * index + 61 * n) % SIZE[0] for n in range(TARGETS)]
    targets = [PointTarget(n, 1, ((float(p), float(p)),)) for n, p in zip(count(1), points)]
    return record, targets


def label(folder: Path, points: Path) -> None:
    from point2mask.label import label_folder

    label_folder(folder, read_points(points), folder / f"label_{points.suffix[1:]}", progress=stop)


def predict(folder: Path, points: Path) -> None:
    import torch

    from point2mask.predict import predict_folder

    class FindsNothing:
        categories = CATEGORIES
        device = torch.device("cpu")
        network = torch.nn.Identity()

        def digest(self) -> str:
            return ""

        def predict_batch(self, pictures: list[np.ndarray]) -> list[tuple[np.ndarray, list]]:
            return [(np.zeros(picture.shape[:2], np.int32), []) for picture in pictures]

    records = read_points(points).records
    out = folder / f"predict_{points.suffix[1:]}"
    predict_folder(FindsNothing(), folder, records, out, progress=stop)


def evaluate(folder: Path, points: Path) -> None:
    from point2mask.evaluation import panoptic_quality

    panoptic_quality(folder / "panoptic.json", folder / "panoptic.json", progress=stop)


def floor(folder: Path, points: Path) -> None:
    import torch  # noqa: F401


def write_json(path: Path, masks: bool, entries: int) -> None:
    """A JSON of clicks, or of masks, an entry at a time."""

    def parts(part: Callable[[int], object]) -> Iterator[bytes]:
        for index in range(entries):
            yield (b"," if index else b"") + msgspec.json.encode(part(index))

    def annotation(index: int) -> object:
        record, targets = entry(index)
        if not masks:
            return annotation_to_json(record, targets, NO_MARKS)
        infos = [
            {"id": t.id, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 91, 480], "area": 43680}
            for t in targets
        ]
        name = record.file_name.replace("jpg", "png")
        return {"image_id": index, "file_name": name, "segments_info": infos}

    with path.open("wb") as file:
        file.write(b'{"images":[')
        file.writelines(parts(lambda index: image_to_json(entry(index)[0])))
        file.write(b'],"annotations":[')
        file.writelines(parts(annotation))
        file.write(b'],"categories":' + msgspec.json.encode(categories_to_json(CATEGORIES)) + b"}")


def write_masks(folder: Path, images: int) -> None:
    """The masks of the first images: a stripe a target."""
    ids = np.broadcast_to(np.arange(SIZE[1]) * TARGETS // SIZE[1] + 1, SIZE).astype(np.int32)
    for index in range(images):
        write_ids(folder / entry(index)[0].file_name.replace("jpg", "png"), ids)


def train(folder: Path, points: Path) -> None:
    from point2mask.data.augment import AugmentConfig
    from point2mask.data.training import DataConfig, SourceConfig, TrainingSet

    config = DataConfig(train=SourceConfig(images=str(folder), points=str(points)))
    TrainingSet(config, AugmentConfig(short_sides=(64,)))[0, 0]


COMMANDS = {"label": label, "predict": predict, "train": train}
OF_MASKS = {"evaluate": evaluate}
ALONE = {"floor": floor}


def first_picture(command: str, folder: Path, points: Path) -> None:
    try:
        {**COMMANDS, **OF_MASKS, **ALONE}[command](folder, points)
    except Enough:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = points.stat().st_size / 1e6 if points.exists() else 0
    print(
        f"{command} {points.name} of {size:.0f} MB: at the first picture "
        f"after {time.process_time():.1f} s of processor time, {peak:.0f} MB at most",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=int, default=118_287, metavar="N", help="entries as JSON")
    parser.add_argument("--lines", type=int, default=1_000_000, metavar="N", help="as JSON Lines")
    parser.add_argument("--table", type=int, default=1_000_000, metavar="N", help="as Parquet")
    every = [*COMMANDS, *OF_MASKS, *ALONE]
    parser.add_argument("--commands", nargs="+", default=every, choices=every)
    parser.add_argument("--of", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.of is not None:
        first_picture(args.of[0], *map(Path, args.of[1:]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        write_rgb(folder / entry(0)[0].file_name, noise)
        for name, entries in (
            ("points.json", args.json),
            ("points.jsonl", args.lines),
            ("points.parquet", args.table),
            ("panoptic.json", args.json),
            ("nothing", 1),
        ):
            path = folder / name
            if name == "panoptic.json":
                commands = [*OF_MASKS]
                write_masks(folder / "panoptic", min(entries, CHUNK))
            else:
                commands = [*ALONE] if name == "nothing" else [*COMMANDS]
            chosen = [command for command in commands if command in args.commands and entries]
            if not chosen:
                continue
            print(f"{entries} entries:", flush=True)
            if path.suffix == ".json":
                write_json(path, name == "panoptic.json", entries)
            elif path.suffix:
                write_points(path, PointLabels(CATEGORIES, Mapped(entry, range(entries))))
            for command in chosen:
                of = [sys.executable, __file__, "--of", command, folder, path]
                subprocess.run(of, check=True)
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
