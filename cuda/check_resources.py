#!/usr/bin/env python3
"""Holds every kernel to its budget of registers and shared memory, without a GPU.

Compiles ``cuda/src/*.cu`` with ptxas reporting and compares with ``cuda/resources.json``: a spill
or a stack frame always fails, so does a kernel above its budget or without one. Registers are
budgeted in steps of 8, as the hardware hands them out; a kernel's budget is the most that any
architecture below may take. usage: check_resources.py [--update]
"""

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CUDA = Path(__file__).resolve().parent
BUDGET = CUDA / "resources.json"
CACHE = CUDA.parent / "build" / "resources"
ARCHITECTURES = ("sm_80", "sm_90")
INCLUDES = (CUDA / "include", CUDA / "src", CUDA.parent / "cpp" / "include")


@dataclass
class Usage:
    kernel: str
    architecture: str
    stack: int = 0
    spills: int = 0
    registers: int = 0
    shared: int = 0


def report_of(source: Path) -> str:
    """What ptxas says about one source; kept under the hash of what was compiled."""
    headers = sorted(h for folder in INCLUDES for h in folder.rglob("*.[hc]*"))
    headers = [h for h in headers if h.suffix != ".cu"]
    digest = hashlib.sha256(b"".join(f.read_bytes() for f in (Path(__file__), source, *headers)))
    cached = CACHE / f"{source.stem}-{digest.hexdigest()[:16]}.txt"
    if not cached.exists():
        command = ["nvcc", "-std=c++17", "-O3", "-Xptxas=-v", "-c", str(source), "-o", "/dev/null"]
        command += [f"-I{folder}" for folder in INCLUDES]
        for name in ARCHITECTURES:
            command += ["-gencode", f"arch={name.replace('sm', 'compute')},code={name}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        demangled = subprocess.run(
            ["c++filt"], input=done.stderr, capture_output=True, text=True, check=True
        )
        CACHE.mkdir(parents=True, exist_ok=True)
        cached.write_text(demangled.stdout)
    return cached.read_text()


def parse(report: str) -> list[Usage]:
    """One entry a kernel and architecture."""
    usages: list[Usage] = []
    for line in report.splitlines():
        if entry := re.search(r"Compiling entry function '(.*)' for '(sm_\w+)'", line):
            name = re.sub(r"point2mask::cuda::|\(anonymous namespace\)::|^void ", "", entry[1])
            usages.append(Usage(name.split("(")[0], entry[2]))
        elif entry := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores", line):
            usages[-1].stack, usages[-1].spills = int(entry[1]), int(entry[2])
        elif entry := re.search(r"Used (\d+) registers", line):
            usages[-1].registers = int(entry[1])
            if shared := re.search(r"(\d+) bytes smem", line):
                usages[-1].shared = int(shared[1])
    return usages


def complaints(usages: list[Usage], budget: dict[str, dict[str, int]]) -> list[str]:
    """What breaks the budget, one sentence each."""
    found = [
        f"{kernel}: in {BUDGET.name} but not compiled"
        for kernel in sorted(budget.keys() - {u.kernel for u in usages})
    ]
    for u in usages:
        where = f"{u.kernel} on {u.architecture}"
        if u.stack or u.spills:
            found.append(f"{where}: {u.stack} bytes of stack, {u.spills} bytes spilled")
        if u.kernel not in budget:
            found.append(f"{where}: has no budget in {BUDGET.name}")
            continue
        for resource, most in budget[u.kernel].items():
            if getattr(u, resource) > most:
                found.append(f"{where}: {getattr(u, resource)} {resource}, budget {most}")
    return found


def tightest_budget(usages: list[Usage]) -> dict[str, dict[str, int]]:
    budget: dict[str, dict[str, int]] = {}
    for u in sorted(usages, key=lambda u: u.kernel):
        entry = budget.setdefault(u.kernel, {"registers": 0, "shared": 0})
        entry["registers"] = max(entry["registers"], (u.registers + 7) // 8 * 8)
        entry["shared"] = max(entry["shared"], u.shared)
    return budget


def measure() -> list[Usage]:
    """Usage of every kernel of every source."""
    return [u for source in sorted((CUDA / "src").glob("*.cu")) for u in parse(report_of(source))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the tightest budget")
    update = parser.parse_args().update
    if not shutil.which("nvcc"):
        sys.exit("check_resources: nvcc not found")
    usages = measure()
    if update:
        lines = [f'  "{k}": {json.dumps(b)}' for k, b in tightest_budget(usages).items()]
        BUDGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    found = complaints(usages, json.loads(BUDGET.read_text()))
    for u in usages:
        print(f"{u.architecture}  {u.registers:3} registers  {u.shared:6} B shared  {u.kernel}")
    sys.exit("\n".join(found) if found else 0)


if __name__ == "__main__":
    main()
