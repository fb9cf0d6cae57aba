#!/usr/bin/env python3
"""Holds every kernel to its budget of registers and shared memory, without a GPU.

Reads what cuobjdump says about the compiled library and compares it with ``cuda/resources.json``: a
kernel above its budget fails, so does one without. Registers are budgeted in steps of 8, as the
hardware hands them out, for each architecture that wheels have; shared memory for all. A spill or a
stack frame fails unless its bytes stand in the file, as "spilled", and "why" beside them. --update
enters what the library has, and leaves other architectures as they are.
usage: check_resources.py [--update] [LIBRARY]
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BUDGET = Path(__file__).resolve().parent / "resources.json"
# Those of wheels (cmake/CudaArchitectures.cmake).
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
# Bytes of shared memory that the system takes of a block that has any.
RESERVED = dict.fromkeys(("sm_90", "sm_100", "sm_120"), 1024)
Budget = dict[str, dict[str, Any]]


@dataclass
class Usage:
    kernel: str
    architecture: str
    registers: int = 0
    shared: int = 0
    stack: int = 0  # bytes, spilled registers among them


def cuobjdump() -> str | None:
    """NVIDIA's, or that of the triton that comes with torch."""
    triton = find_spec("triton")
    folders = [
        Path(f) / "backends/nvidia/bin"
        for f in (triton and triton.submodule_search_locations) or []
    ]
    return shutil.which("cuobjdump") or next(
        (str(f / "cuobjdump") for f in folders if (f / "cuobjdump").exists()), None
    )


def parse(report: str) -> list[Usage]:
    """One entry a kernel and architecture, of cuobjdump's (demangled) report."""
    usages: list[Usage] = []
    architecture = ""
    for line in report.splitlines():
        if entry := re.match(r"arch = (sm_\w+)", line):
            architecture = entry[1]
        elif entry := re.match(r" ?Function (.*):$", line):
            name = re.sub(r"point2mask::(cuda::)?|\(anonymous namespace\)::|^void ", "", entry[1])
            usages.append(Usage(name.split("(")[0], architecture))
        elif entry := re.match(r" *REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", line):
            registers, stack, shared, local = map(int, entry.groups())
            reserved = RESERVED.get(architecture, 0) if shared else 0
            usages[-1].registers, usages[-1].shared = registers, shared - reserved
            usages[-1].stack = stack + local
    return usages


def complaints(usages: list[Usage], budget: Budget) -> list[str]:
    """What breaks the budget, one sentence each."""
    found = [
        f"{kernel}: in {BUDGET.name} but not compiled"
        for kernel in sorted(budget.keys() - {u.kernel for u in usages})
    ]
    for u in usages:
        where = f"{u.kernel} on {u.architecture}"
        entry = budget.get(u.kernel, {})
        if u.architecture not in entry.get("registers", {}):
            found.append(f"{where}: has no budget in {BUDGET.name}")
            continue
        most = entry["registers"][u.architecture]
        if u.registers > most:
            found.append(f"{where}: {u.registers} registers, budget {most}")
        if u.shared > entry["shared"]:
            found.append(f"{where}: {u.shared} shared, budget {entry['shared']}")
        spilled = entry.get("spilled", {}).get(u.architecture, 0)
        if u.stack > spilled:
            found.append(f"{where}: {u.stack} bytes of stack or spilled, budget {spilled}")
        if spilled and not entry.get("why"):
            found.append(f"{where}: spills, and {BUDGET.name} does not say why")
    return found


def tightest_budget(usages: list[Usage], before: Budget) -> Budget:
    """What the kernels take now; of architectures that were not compiled, what they took before."""
    budget: Budget = {}
    for u in usages:
        old = before.get(u.kernel, {})
        entry = budget.setdefault(u.kernel, {"registers": {}, "shared": 0, "spilled": {}})
        entry["registers"][u.architecture] = (u.registers + 7) // 8 * 8
        entry["shared"] = max(entry["shared"], u.shared)
        if u.stack:
            entry["spilled"][u.architecture] = u.stack
        if "why" in old:
            entry["why"] = old["why"]
    compiled = {u.architecture for u in usages}
    for kernel, entry in budget.items():
        for name in ("registers", "spilled"):
            found = {**before.get(kernel, {}).get(name, {}), **entry[name]}
            kept = {a: n for a, n in found.items() if a in entry[name] or a not in compiled}
            entry[name] = {a: kept[a] for a in ARCHITECTURES if a in kept}
        if not entry["spilled"]:
            del entry["spilled"]
            entry.pop("why", None)
    return dict(sorted(budget.items()))


def measure(library: Path) -> list[Usage]:
    """Usage of every kernel of a compiled library on the architectures of the budget; none if there
    are no kernels in it."""
    command = [cuobjdump() or sys.exit("check_resources: cuobjdump not found"), "-res-usage"]
    report = subprocess.run([*command, str(library)], capture_output=True, text=True)
    demangled = subprocess.run(
        ["c++filt"], input=report.stdout, capture_output=True, text=True, check=True
    )
    return [u for u in parse(demangled.stdout) if u.architecture in ARCHITECTURES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the tightest budget")
    parser.add_argument("library", nargs="?", type=Path, help="default: the installed _ops")
    args = parser.parse_args()
    installed = find_spec("point2mask._ops")
    library = args.library or (installed and Path(str(installed.origin)))
    if not library:
        sys.exit("check_resources: no library given and point2mask is not installed")
    usages = measure(library)
    if not usages:
        sys.exit(f"check_resources: {library} has no kernels for {' or '.join(ARCHITECTURES)}")
    if args.update:
        budget = tightest_budget(usages, json.loads(BUDGET.read_text()))
        lines = [f'  "{k}": {json.dumps(b)}' for k, b in budget.items()]
        BUDGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    found = complaints(usages, json.loads(BUDGET.read_text()))
    for u in usages:
        print(f"{u.architecture}  {u.registers:3} registers  {u.shared:6} B shared  {u.kernel}")
    sys.exit("\n".join(found) if found else 0)


if __name__ == "__main__":
    main()
