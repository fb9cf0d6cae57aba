"""Instructions of every engine call under callgrind: the gauge that a busy machine cannot move.

    python bench/instructions.py            # compares with bench/results/instructions.json
    python bench/instructions.py --write    # replaces it

``instructions.cpp`` runs small fixed problems on one thread, without torch or Python. Counts belong
to a compiler and to the instruction set that the engine chooses, so both are in the file, and only
equal ones are compared: a call that executes more than ``--tolerance`` more instructions is an
error. Needs CMake, Ninja, and valgrind with its headers.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "bench" / "results" / "instructions.json"


def build_driver() -> Path:
    """The program that runs the calls, with the engine as it is shipped: optimised."""
    preset = ("--preset", "release")
    for command in (("cmake", *preset), ("cmake", "--build", *preset, "--target", "instructions")):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"instructions.py: {' '.join(command)} failed\n{done.stdout}{done.stderr}")
    return ROOT / "build" / "release" / "instructions"


def count(driver: Path) -> dict[str, Any]:
    """The level that the engine chose, and the instructions of every call."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        sys.exit("instructions.py: valgrind not found; install it with its headers")
    with tempfile.TemporaryDirectory() as folder:
        command = [valgrind, "--tool=callgrind", "--instr-atstart=no", "--quiet"]
        command += [f"--callgrind-out-file={folder}/out", str(driver)]
        level = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        dumps = sorted(Path(folder).iterdir(), key=lambda dump: dump.stat().st_mtime_ns)
        return {"level": level, "instructions": dict(filter(None, map(parse, dumps)))}


def parse(dump: Path) -> tuple[str, int] | None:
    """The name and the instructions of a dump; None of the one that callgrind adds at the end."""
    text = dump.read_text()
    name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
    total = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
    return None if name is None or total is None else (name[1], int(total[1]))


def changes(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, float]:
    """By what factor each call of both has grown."""
    return {name: now[name] / before[name] for name in before.keys() & now.keys()}


def built_with(program: Path) -> str:
    """The compiler's own note in the program."""
    found = re.findall(rb"(?:GCC: |clang version )[^\0]+", program.read_bytes())
    return " ".join(sorted({note.decode() for note in found}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="replace the recorded counts")
    parser.add_argument("--tolerance", type=float, default=0.03)
    args = parser.parse_args()
    driver = build_driver()
    now = {"compiler": built_with(driver), **count(driver)}
    if args.write or not RECORD.exists():
        RECORD.write_text(json.dumps(now, separators=(",", ":")) + "\n")
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
