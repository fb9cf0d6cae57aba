"""Instructions of every engine call under callgrind: the gauge that a busy machine cannot move.

    python bench/instructions.py            # compares with bench/results/instructions.json
    python bench/instructions.py --write    # replaces it

Small fixed problems through the NumPy engine, one thread, without torch. Counts belong to a
compiler and to the instruction set that the engine chooses, so both are in the file, and only equal
ones are compared: a call that executes more than ``--tolerance`` more instructions is an error.
Needs valgrind and its headers.
"""

import argparse
import ctypes
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RECORD = HERE / "results" / "instructions.json"
ENGINE = "point2mask._core"


def load_engine(path: Path) -> Any:
    """The extension module alone: its package would import torch."""
    spec = importlib.util.spec_from_file_location(ENGINE, path)
    assert spec is not None
    assert spec.loader is not None
    engine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(engine)
    return engine


def calls(core: Any) -> dict[str, Callable[[], Any]]:
    """Every operator of the engine on a problem of a few milliseconds."""
    rng = np.random.default_rng(0)
    side, targets, channels = 64, 20, 20
    pixels = side**2

    def uniform(*shape: int) -> np.ndarray:
        return rng.random(shape, dtype=np.float32)

    y, x = np.mgrid[:side, :side].astype(np.float32) / 7
    smooth = np.stack([np.sin(y) * np.cos(x), np.cos(y + x), np.sin(2 * x - y)])[None]
    smooth = (smooth + 0.1 * uniform(1, 3, side, side)).astype(np.float32)
    weights = core.neighbor_difference(smooth, 2, "squared_l2")
    costs = (0.1 + core.neighbor_difference(smooth)).astype(np.float32)
    noise = uniform(1, 8, side, side)
    seeds = rng.choice(pixels, targets, replace=False).astype(np.int32)[None, :, None]
    order, parent, _, weight = core.spanning_tree(weights)
    similarity, feature = np.exp(-weight / 0.1), uniform(1, channels, pixels)
    cost = core.geodesic_distance(costs, seeds).reshape(1, targets, pixels)
    supply = np.full((1, targets), pixels / targets, np.float32)
    demand = np.ones((1, pixels), np.float32)
    potential = core.sinkhorn(cost, supply, demand, 0.1, 20)[0]
    logits = uniform(1, channels, side, side)
    labels = (np.arange(pixels, dtype=np.int32) // (8 * side)).reshape(1, side, side)
    value, where = uniform(1, pixels, 8, 32), uniform(1, pixels // 16, 8, 1, 4, 2)
    attention, shapes = uniform(1, pixels // 16, 8, 1, 4), np.array([[side, side]])
    return {
        "sinkhorn, epsilon 1e-1": lambda: core.sinkhorn(cost, supply, demand, 1e-1, 80),
        "sinkhorn, epsilon 1e-3": lambda: core.sinkhorn(cost, supply, demand, 1e-3, 80),
        "transport_plan": lambda: core.transport_plan(cost, potential, demand, 0.1),
        "transport_labels": lambda: core.transport_labels(cost, potential, demand),
        "spanning_tree": lambda: core.spanning_tree(weights),
        "tree_filter": lambda: core.tree_filter(feature, order, parent, similarity),
        "geodesic_distance, smooth": lambda: core.geodesic_distance(costs, seeds),
        "geodesic_distance, noise": lambda: core.geodesic_distance(noise, seeds),
        "neighbor_difference": lambda: core.neighbor_difference(logits),
        "lab_affinity_loss": lambda: core.lab_affinity_loss(logits, 9 * smooth, 5, 2),
        "boundary_loss": lambda: core.boundary_loss(logits[:, 0], labels, labels),
        "mask_statistics": lambda: core.mask_statistics(labels, targets),
        "deformable_attention": lambda: core.deformable_attention(value, where, attention, shapes),
    }


def run_marked(engine: Path, marks: Path) -> None:
    """What runs under valgrind."""
    core, mark = load_engine(engine), ctypes.CDLL(str(marks))
    for name, call in calls(core).items():
        call()
        mark.begin_count()
        call()
        mark.end_count(name.encode())


def count(engine: Path) -> dict[str, int]:
    """Instructions of every call."""
    from suite.native import build

    valgrind = shutil.which("valgrind")
    if valgrind is None:
        sys.exit("instructions.py: valgrind not found; install it with its headers")
    marks = build(HERE / "suite" / "marks.cpp")
    with tempfile.TemporaryDirectory() as folder:
        command = [valgrind, "--tool=callgrind", "--instr-atstart=no", "--quiet"]
        command += [f"--callgrind-out-file={folder}/out", sys.executable, __file__]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["PYTHONHASHSEED"] = "0"
        subprocess.run([*command, "--marked", str(engine), str(marks)], check=True, env=environment)
        dumps = sorted(Path(folder).iterdir(), key=lambda dump: dump.stat().st_mtime_ns)
        return dict(filter(None, map(parse, dumps)))


def parse(dump: Path) -> tuple[str, int] | None:
    """The name and the instructions of a dump; None of the one that callgrind adds at the end."""
    text = dump.read_text()
    name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
    total = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
    return None if name is None or total is None else (name[1], int(total[1]))


def changes(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, float]:
    """By what factor each call of both has grown."""
    return {name: now[name] / before[name] for name in before.keys() & now.keys()}


def built_with(engine: Path) -> str:
    """The compiler's own note in the library."""
    found = re.findall(rb"(?:GCC: |clang version )[^\0]+", engine.read_bytes())
    return " ".join(sorted({note.decode() for note in found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="replace the recorded counts")
    parser.add_argument("--tolerance", type=float, default=0.03)
    parser.add_argument("--marked", type=Path, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.marked:
        run_marked(*args.marked)
        return
    sys.path.insert(0, str(HERE))
    from point2mask import _core
    from point2mask.data.files import write_json

    engine = Path(_core.__file__)
    now = {
        "compiler": built_with(engine),
        "level": _core.cpu_level(),
        "instructions": count(engine),
    }
    if args.write or not RECORD.exists():
        write_json(RECORD, now)
    before = json.loads(RECORD.read_text())
    same = all(before[key] == now[key] for key in ("compiler", "level"))
    grown = changes(before["instructions"], now["instructions"])
    for name, instructions in now["instructions"].items():
        print(f"{name:28s}{instructions:14,d}  {grown.get(name, 1) - 1:+8.2%}")
    if not same:
        print(f"not compared: recorded with {before['compiler']}, {before['level']}")
    elif worse := [name for name, factor in grown.items() if factor > 1 + args.tolerance]:
        sys.exit(f"instructions.py: more instructions than recorded in {', '.join(worse)}")


if __name__ == "__main__":
    main()
