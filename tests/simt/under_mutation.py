"""Runs cases on kernels of which one synchronisation is gone, and compares with what the unchanged
kernels return; for ``bench/mutate_kernels.py``, which runs this in a changed copy of the tree.

All mutants are in one library; ``simt_mutant`` is the number of the one that runs, 0 for none.
"""

import ctypes
import hashlib
import json
import os
import resource
import signal
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from simt import cases, kernels

SCHEDULES: dict[str, int] = {"race": 3, "plain": 10}
RESIDENT_BLOCKS = (1, 3)
SPARE_SECONDS = 20

Record = dict[str, list[Any]]  # name of a case: hash of its result, switches, seconds
Caught = dict[str, str]  # case and message


def digest(*parts: object) -> str:
    found = hashlib.sha256()
    for part in parts:
        array = np.asarray(part)
        found.update(f"{array.dtype} {array.shape} ".encode())
        found.update(array.tobytes() if array.dtype != object else repr(part).encode())
    return found.hexdigest()


def named_cases() -> dict[str, cases.Case]:
    """Operator and inputs tell a case from all others."""
    return {f"{op}-{digest(*given)[:10]}": (op, given) for op, given in cases.all_cases()}


def run(machine: kernels.Kernels, flavour: str, case: cases.Case, recorded: list[Any]) -> list[Any]:
    """Under several schedules. Raises AssertionError for what is wrong."""
    operator, arguments = case
    wanted, switches = recorded[:2]
    longest, begin = 0, time.process_time()
    for schedule in range(SCHEDULES[flavour] * len(RESIDENT_BLOCKS)):
        machine.schedule = {
            "resident_blocks": RESIDENT_BLOCKS[schedule % len(RESIDENT_BLOCKS)],
            "watchdog": 3 * switches + 10_000,
        }
        result = getattr(machine, operator)(*arguments)
        got = digest(*(result if isinstance(result, tuple) else (result,)))
        wanted = wanted or got
        if got != wanted:
            raise AssertionError("another result")
        longest = max(longest, machine.emulator.switches)
    return [wanted, longest, round(time.process_time() - begin, 3)]


def record(
    machine: kernels.Kernels, flavour: str, file: Path, some: dict[str, cases.Case]
) -> Record:
    """What the unchanged kernels return and how long they take; adds to FILE what it lacks."""
    found: Record = json.loads(file.read_text()) if file.exists() else {}
    for name in [name for name in some if name not in found]:
        found[name] = run(machine, flavour, some[name], ["", 100_000_000])
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found))
    part.rename(file)
    return found


def compare(
    machine: kernels.Kernels,
    flavour: str,
    mutant: int,
    recorded: Record,
    some: dict[str, cases.Case],
) -> Caught | None:
    """The first case that notices the mutant, from the shortest to the longest, or None.

    A launch that switches threads far more often than the recorded one counts as endless, and so
    does a mutant that takes far more processor time than all recorded cases.
    """
    order = sorted(some, key=lambda name: recorded[name][1])
    limit = int(5 * sum(recorded[name][2] for name in some)) + SPARE_SECONDS
    read, write = os.pipe()
    child = os.fork()  # a mutant may crash or hang
    if child == 0:
        os.close(read)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        machine.seeds = count()  # as if it were alone
        ctypes.c_int.in_dll(machine.emulator.functions, "simt_mutant").value = mutant
        for name in order:
            os.write(write, f"{name}\n".encode())
            try:
                run(machine, flavour, some[name], recorded[name])
            except BaseException as error:
                os.write(write, f"{error}".replace("\n", " ").encode())
                os._exit(1)
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        lines = pipe.read().split("\n")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        return None
    message = lines[-1]
    if status < 0:
        message = "does not end" if status == -signal.SIGXCPU else f"ended by signal {-status}"
    return {"case": lines[-2], "message": message}
