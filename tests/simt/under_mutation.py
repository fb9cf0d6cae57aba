"""Runs all cases of some operators in one flavour and compares with what the unchanged kernels
returned; for ``bench/mutate_kernels.py``, which runs this in a changed copy of the tree.

usage: under_mutation record|compare FLAVOUR FILE OPERATOR...

``record`` writes the results' hashes and the longest run of every case to FILE. ``compare`` prints
what is wrong first and returns 1; a launch that switches threads far more often than the recorded
one counts as endless.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from simt import build, cases, kernels

SCHEDULES: dict[str, int] = {"race": 3, "plain": 10}
RESIDENT_BLOCKS = (1, 3)
BROKEN, NOT_BUILT = 1, 3


def digest(result: object) -> str:
    parts = result if isinstance(result, tuple) else (result,)
    return hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in parts)).hexdigest()


def run(flavour: build.Flavour, operators: list[str], recorded: dict[str, list] | None) -> dict:
    """Hash and number of switches of every case. Raises AssertionError for what is wrong."""
    machine = kernels.Kernels(flavour)
    found: dict[str, list] = {}
    for number, (operator, arguments) in enumerate(cases.all_cases()):
        if operator not in operators:
            continue
        wanted, switches = recorded[str(number)] if recorded else (None, 100_000_000)
        longest = 0
        for schedule in range(SCHEDULES[flavour] * len(RESIDENT_BLOCKS)):
            machine.schedule = {
                "resident_blocks": RESIDENT_BLOCKS[schedule % len(RESIDENT_BLOCKS)],
                "watchdog": 3 * switches + 10_000,
            }
            got = digest(getattr(machine, operator)(*arguments))
            wanted = wanted or got
            if got != wanted:
                raise AssertionError(f"{operator}, case {number}: another result")
            longest = max(longest, machine.emulator.switches)
        found[str(number)] = [wanted, longest]
    return found


def main(mode: str, flavour: build.Flavour, file: str, *operators: str) -> int:
    recorded = json.loads(Path(file).read_text()) if mode == "compare" else None
    try:
        found = run(flavour, list(operators), recorded)
    except build.BuildError as error:
        print(error)
        return NOT_BUILT
    except AssertionError as error:
        print(error)
        return BROKEN
    if mode == "record":
        Path(file).write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
