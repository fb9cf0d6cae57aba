"""Labelling that is killed (kill -9) at random moments and gone on with: the bytes of a whole run.

    python bench/killed_runs.py [--kills 30] [--pictures 40] [--workers 1]

Every run starts in a new folder, is killed with all its processes at a moment drawn from the length
of a whole run, and goes on with ``--resume``. All files must then be those of a run that nobody
killed, but for the seconds in ``summary.json``, and nothing else may be left in the folder.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from point2mask.cli import main as point2mask
from point2mask.data import read_panoptic, sample_points, write_points
from point2mask.data.shapes import write_shapes


def start(arguments: Sequence[str]) -> int:
    """The command in a process that leads a group of its own; returns its number."""
    process = os.fork()  # all is imported already: moments hit the work, not the start of Python
    if process:
        return process
    os.setpgid(0, 0)
    sys.stdout = sys.stderr = open(os.devnull, "w")
    os._exit(point2mask(list(arguments)))


def finish(arguments: Sequence[str]) -> None:
    _, status = os.waitpid(start(arguments), 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: failed with status {status}")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its name, but the summary and the (empty) locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "summary.json" and not path.name.endswith(".lock")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    generator = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_shapes(root, "val", args.pictures, (64, 96))
        dataset = read_panoptic(root / "annotations" / "panoptic_val.json")
        write_points(root / "points.json", sample_points(dataset, seed=1))
        command = ["label", "--images", str(root / "images" / "val"), "--points"]
        command += [str(root / "points.json"), "--workers", str(args.workers), "--out"]
        finish([*command, str(root / "warm")])
        begin = time.perf_counter()
        finish([*command, str(root / "whole")])
        seconds = time.perf_counter() - begin
        expected, made, late = contents(root / "whole"), [], 0
        for number in range(args.kills):
            out = root / f"killed_{number}"
            process = start([*command, str(out)])
            time.sleep(generator.uniform(0, seconds))
            try:
                os.killpg(process, signal.SIGKILL)
            except ProcessLookupError:  # not a group yet
                os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            late += not os.WIFSIGNALED(status)
            made.append(len(list(out.glob("records/*.json"))))
            finish([*command, str(out), "--resume"])
            found = contents(out)
            if found != expected:
                different = {n for n in found.keys() | expected if found.get(n) != expected.get(n)}
                raise SystemExit(f"kill {number}: other files: {sorted(different)[:5]}")
    print(
        f"{args.kills} kills in runs of {args.pictures} pictures ({seconds:.2f} s, "
        f"{args.workers} workers), {late} of them after the end; pictures that were there: "
        f"{sorted(made)}; all files as in a run that nobody killed"
    )


if __name__ == "__main__":
    main()
