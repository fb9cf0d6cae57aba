"""Work that is killed (kill -9) at random moments and gone on with: the bytes of a whole run.

    python bench/killed_runs.py [label convert predict train page] [--kills 30] [--pictures 40]

Every run starts in a new folder, is killed with all its processes at a moment drawn from the length
of a whole run, and goes on (``convert`` by the same command, others with ``--resume``). All files
must then be those of a run that nobody killed, but for seconds that are noted, and nothing else may
be left in the folder; of ``train``, the tensors of the last checkpoint. ``page`` is killed while it
saves clicks: every save that was answered must be in the file.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from point2mask.cli import main as point2mask
from point2mask.data import read_panoptic, read_points, sample_points, write_points
from point2mask.data.shapes import write_shapes

SIZE = (64, 96)
TIMED = ("summary.json", "result.json")  # files with seconds
TRAIN = """
data.workers=0 augment.short_sides=[64] augment.max_side=96 augment.test_short_side=64
network.width=32 network.heads=4 network.feedforward=32 network.encoder_layers=1
network.location_layers=1 network.queries=12 network.thing_layers=1 network.stuff_layers=1
network.semantic_layers=1 network.feature_width=8 schedule.epochs=2 schedule.milestones=[]
schedule.steps=8 schedule.batch_size=2 report.checkpoint_steps=2 supervision.transport_warmup=0
""".split()


def start(work: Callable[[], int]) -> int:
    """Work in a process that leads a group of its own; returns its number."""
    process = os.fork()  # all is imported already: moments hit the work, not the start of Python
    if process:
        return process
    os.setpgid(0, 0)
    sys.stdout = sys.stderr = open(os.devnull, "w")
    os._exit(work())


def finish(work: Callable[[], int], name: str) -> float:
    """The same until it ends; returns the seconds."""
    begin = time.perf_counter()
    _, status = os.waitpid(start(work), 0)
    if status:
        raise SystemExit(f"{name}: failed with status {status}")
    return time.perf_counter() - begin


def kill(work: Callable[[], int], seconds: float) -> bool:
    """Kills work after so many seconds; whether it was still at it."""
    process = start(work)
    time.sleep(seconds)
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:  # not a group yet
        os.kill(process, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its name, but those with seconds and the (empty) locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in TIMED and not path.name.endswith(".lock")
    }


def tensors(folder: Path) -> dict[str, bytes]:
    """The files of tensors of the last checkpoint of a run."""
    last = max((folder / "checkpoints").glob("step_*"))
    assert not list((folder / "checkpoints").glob(".*")), "half a checkpoint was left"
    return {f"{last.name}/{path.name}": path.read_bytes() for path in last.glob("*.safetensors")}


def command(root: Path, name: str, workers: int) -> list[str]:
    """A command without its folder of results, which comes last."""
    images, panoptic = root / "images" / "val", root / "annotations" / "panoptic_val.json"
    network = next(iter(sorted((root / "network/checkpoints").glob("step_*"))), root)
    words: dict[str, Sequence[object]] = {
        "label": ("label", "--images", images, "--points", root / "points.json", "--workers",
                  workers),
        "convert": ("convert", "coco", "--instances", root / "instances.json", "--images", images,
                    "--background", "rest", "--points", "1"),
        "predict": ("predict", "--checkpoint", network, "--images", images, "--device", "cpu"),
        "train": ("train", "shapes_tiny", *TRAIN, f"data.root={root}",
                  f"data.train={{images: {images}, annotations: {panoptic}}}", "data.val=null",
                  "--device", "cpu"),
    }  # fmt: skip
    return [*map(str, words[name]), "--out"]


def write_instances(root: Path) -> None:
    """The boxes of all segments of the set, as polygons."""
    content = json.loads((root / "annotations" / "panoptic_val.json").read_text())
    annotations = []
    for entry in content["annotations"]:
        for segment in entry["segments_info"]:
            x, y, w, h = segment["bbox"]
            corners = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append(
                {"image_id": entry["image_id"], "category_id": 1, "segmentation": [corners]}
            )
    content |= {"annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (root / "instances.json").write_text(json.dumps(content))


def killed_command(
    root: Path, name: str, kills: int, workers: int, generator: random.Random
) -> str:
    words = command(root, name, workers)

    def run(out: Path, *more: str) -> Callable[[], int]:
        return lambda: point2mask([*words, str(out), *more])

    look = tensors if name == "train" else contents
    more = () if name == "convert" else ("--resume",)
    finish(run(root / f"{name}_warm"), name)
    seconds = finish(run(root / f"{name}_whole"), name)
    expected, late = look(root / f"{name}_whole"), 0
    for number in range(kills):
        out = root / f"{name}_{number}"
        late += not kill(run(out), generator.uniform(0, seconds))
        finish(run(out, *more), name)
        found = look(out)
        if found != expected:
            different = {n for n in found.keys() | expected if found.get(n) != expected.get(n)}
            raise SystemExit(f"{name}, kill {number}: other files: {sorted(different)[:5]}")
    return f"{seconds:.2f} s, {late} after the end; all files as in a run that nobody killed"


def check_saved(
    path: Path, clicks: Callable[[int], tuple[tuple[float, float], ...]], last: int
) -> None:
    """A file of clicks holds the last save that was answered, or the one after it.

    ``last``: its number; 0 is none, when the file may be missing.
    """
    images = read_points(path).images if path.is_file() else ()
    found = [target.points for _, targets in images for target in targets]
    if found not in ([clicks(last)] if last else [], [clicks(last + 1)]):
        raise SystemExit(f"page: save {last} was answered and is lost: {found}")


def killed_page(root: Path, kills: int, generator: random.Random) -> str:
    """Kills who saves clicks; the file must have the last save that was answered, or the next."""
    from point2mask.app import Project
    from point2mask.data import PointTarget

    def clicks(number: int) -> tuple[tuple[float, float], ...]:
        return tuple((x + 0.5, 0.5 + number % 50) for x in range(20 + number % 30))

    def save(folder: Path, answers: int, last: int) -> int:
        project = Project(folder)
        if not project.categories:
            project.add_category("thing", True)
        for number in range(last + 1, last + 100_000):
            project.change(0, project.clicks(0).revision, [PointTarget(1, 1, clicks(number))])
            os.write(answers, b"%09d" % number)
        return 0

    folder, last, saves = root / "page", 0, 0
    write_shapes(folder, "val", 1, SIZE)
    folder = folder / "images" / "val"
    for _ in range(kills):
        reader, writer = os.pipe2(os.O_NONBLOCK)
        os.set_blocking(writer, True)
        kill(lambda: save(folder, writer, last), generator.uniform(0.02, 0.4))  # noqa: B023
        os.close(writer)
        while part := os.read(reader, 9):
            last, saves = int(part), saves + 1
        os.close(reader)
        check_saved(folder / "points.json", clicks, last)
        Project(folder).close()
    return f"{saves} saves were answered; the last one of each was in the file"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    works = ["label", "convert", "predict", "train", "page"]
    parser.add_argument("work", nargs="*", choices=works)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.work = args.work or ["label"]
    generator = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_shapes(root, "val", args.pictures, SIZE)
        dataset = read_panoptic(root / "annotations" / "panoptic_val.json")
        write_points(root / "points.json", sample_points(dataset, seed=1))
        write_instances(root)
        if {"predict", "train"} & {*args.work}:
            import torch

            torch.set_num_threads(1)  # which a forked process cannot change any more
        if "predict" in args.work:
            network = command(root, "train", 1)
            finish(lambda: point2mask([*network, str(root / "network")]), "train")
        for work in args.work:
            if work == "page":
                outcome = killed_page(root, args.kills, generator)
            else:
                outcome = killed_command(root, work, args.kills, args.workers, generator)
            print(f"{work}: {args.kills} kills ({args.pictures} pictures): {outcome}", flush=True)


if __name__ == "__main__":
    main()
