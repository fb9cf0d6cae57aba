"""Mutation test of the CUDA kernels: is every synchronisation missed when it is gone?

Each barrier, fence, atomic and relaxed access in ``cuda/`` is removed or made plain, one at a time,
in a copy of the tree. The sources that contain it are compiled for the emulator (``tests/simt``)
and the cases of their operators are run: first in the race build, then, if that saw nothing, in
the plain one under random schedules. A mutant is caught by a report of the emulator, by a result
of other bits than the unchanged kernel's, by a crash, or by a process that does not end.

    python bench/mutate_kernels.py                     # all of cuda/; goes on where it was stopped
    python bench/mutate_kernels.py --only masks.cu     # the sites of one file
    python bench/mutate_kernels.py --list              # the sites alone

The result is a JSON file with one entry a site, written after every mutant. An entry counts as
long as the kernel's sources, the cases and the emulator are what they were. Mutants that change
nothing are explained in ``cuda/equivalent_mutants.json``, under the site's key.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = ROOT / "cuda" / "equivalent_mutants.json"
COPY = ROOT / "build" / "mutants"
COPIED = ("cuda", "cpp/include", "tests/simt")
DIALECT = "simt.cuh"  # its barriers and atomics are nvcc's
SECONDS = 1200  # a process that runs longer hangs
NOT_BUILT = 3  # exit status of tests/simt/under_mutation.py

_CALL = re.compile(
    r"\b(?:(?P<barrier>__syncthreads|__syncwarp)|(?P<vote>__syncthreads_(?:or|and|count))"
    r"|(?P<fence>__threadfence(?:_block|_system)?)"
    r"|(?P<atomic>atomic(?:Add|Min|Max|Or|And|Exch|CAS))"
    r"|(?P<relaxed>(?:load|store)_relaxed))\s*(?:<[^<>()]*>\s*)?\("
)


@dataclass(frozen=True)
class Site:
    """One synchronisation in a source, and the text that takes its place."""

    file: str  # relative to ROOT
    line: int
    kind: str
    begin: int
    end: int
    replacement: str
    key: str  # file, statement and its number among equal ones: stays when other lines change


def without_comments(text: str) -> str:
    """Comments, strings and preprocessor lines as blanks; every position stays."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|^[ \t]*#(?:\\\n|[^\n])*'
    return re.sub(
        pattern, lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.DOTALL | re.MULTILINE
    )


def closing(text: str, opened: int) -> int:
    """Position of the parenthesis that closes the one at ``opened``."""
    depth = 0
    for i in range(opened, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    raise ValueError(f"no closing parenthesis for the one at {opened}")


def replacement(kind: str, called: str, arguments: str) -> str:
    """What takes the place of a call; see ``tests/simt/emulator/simt_plain.hpp``."""
    if kind in ("barrier", "fence"):
        return "(void)0"
    if kind == "vote":  # the own predicate alone
        return f"static_cast<int>(({arguments}) != 0)"
    plain = called.removeprefix("atomic").removesuffix("_relaxed")
    return f"plain_{plain}({arguments})"


def find_sites(file: str, text: str) -> list[Site]:
    """Every barrier, fence, atomic and relaxed access of a source."""
    code = without_comments(text)
    sites, seen = [], Counter[str]()
    for match in _CALL.finditer(code):
        kind = str(match.lastgroup)
        end = closing(code, match.end() - 1) + 1
        statement = " ".join(text[match.start() : end].split())
        seen[statement] += 1
        sites.append(
            Site(
                file=file,
                line=text.count("\n", 0, match.start()) + 1,
                kind=kind,
                begin=match.start(),
                end=end,
                replacement=replacement(kind, match[kind], text[match.end() : end - 1]),
                key=f"{file}: {statement} #{seen[statement]}",
            )
        )
    return sites


def mutate(text: str, site: Site) -> str:
    """The source without that synchronisation, on the same lines."""
    lost = "\n" * (text.count("\n", site.begin, site.end) - site.replacement.count("\n"))
    changed = text[: site.begin] + site.replacement + lost + text[site.end :]
    return f'#include "simt_plain.hpp"\n#line 1 "{Path(site.file).name}"\n{changed}'


# --- which sources and operators a site concerns -------------------------------------------------


def device_files() -> list[Path]:
    return sorted(
        file
        for file in (ROOT / "cuda").rglob("*.cu*")
        if file.suffix in (".cu", ".cuh") and file.name != DIALECT
    )


def included(source: Path) -> set[Path]:
    """The source and the device headers it includes, directly or not."""
    by_name = {file.name: file for file in device_files()}
    found: set[Path] = set()
    left = [source]
    while left:
        file = left.pop()
        if file not in found:
            found.add(file)
            names = re.findall(r'#include "([^"]*)"', file.read_text())
            left += [by_name[Path(n).name] for n in names if Path(n).name in by_name]
    return found


def operators_of(sources: list[Path], known: tuple[str, ...]) -> list[str]:
    """The operators whose launchers lie in the sources; all, if none do."""
    text = "".join(without_comments(source.read_text()) for source in sources)
    return [op for op in known if re.search(rf"\bcudaError_t {op}\(", text)] or list(known)


def fingerprint(sources: list[Path]) -> str:
    """Of all that decides a mutant's fate."""
    files = {file for source in sources for file in included(source)}
    files |= {
        f for f in (ROOT / "tests" / "simt").rglob("*") if f.suffix in (".py", ".cpp", ".hpp")
    }
    digest = hashlib.sha256()
    for file in sorted(files):
        if not file.name.startswith("test_"):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


# --- running -------------------------------------------------------------------------------------


def copy_tree() -> None:
    """The copy's own build folder stays: it holds the objects of unchanged sources."""
    for part in COPIED:
        shutil.rmtree(COPY / part, ignore_errors=True)
        shutil.copytree(ROOT / part, COPY / part)


def run_cases(mode: str, flavour: str, file: Path, operators: list[str]) -> tuple[int | None, str]:
    """Exit status, None for a process that hangs, and the last line it printed."""
    command = [sys.executable, "-m", "simt.under_mutation", mode, flavour, str(file), *operators]
    environment = os.environ | {"PYTHONPATH": str(COPY / "tests")}
    try:
        done = subprocess.run(
            command, cwd=COPY, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return None, ""
    text = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return done.returncode, text[-1] if text else ""


def known_operators() -> tuple[str, ...]:
    code = "from simt import kernels; print(*kernels.OPERATORS)"
    environment = os.environ | {"PYTHONPATH": str(COPY / "tests")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return tuple(done.stdout.split())


def record(sources: list[Path], operators: list[str]) -> dict[str, Path]:
    """What the unchanged kernels return, once for these sources; a file a flavour."""
    files = {}
    for flavour in ("race", "plain"):
        file = COPY / "build" / f"expected-{flavour}-{fingerprint(sources)}.json"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            status, message = run_cases("record", flavour, part, operators)
            if status != 0:
                raise SystemExit(f"the unchanged kernels fail ({flavour}): {status} {message}")
            part.rename(file)
        files[flavour] = file
    return files


def fate_of(site: Site, expected: dict[str, Path], operators: list[str]) -> dict[str, str]:
    """How the mutant was caught, or that it was not."""
    changed = COPY / site.file
    original = changed.read_text()
    objects = set((COPY / "build" / "simt").iterdir())
    try:
        changed.write_text(mutate(original, site))
        for flavour, file in expected.items():
            status, message = run_cases("compare", flavour, file, operators)
            if status == NOT_BUILT:
                return {"fate": "not built", "by": flavour, "message": message}
            if status is None:
                return {"fate": "caught", "by": flavour, "message": "does not end"}
            if status != 0:
                return {"fate": "caught", "by": flavour, "message": message or f"exit {status}"}
        return {"fate": "survived", "by": "", "message": ""}
    finally:
        changed.write_text(original)
        for file in set((COPY / "build" / "simt").iterdir()) - objects:
            file.unlink()


def save(file: Path, results: dict[str, dict[str, object]]) -> None:
    part = file.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1) + "\n")
    part.rename(file)


def all_sites(only: str | None) -> Iterator[Site]:
    for file in device_files():
        if only in (None, file.name):
            yield from find_sites(str(file.relative_to(ROOT)), file.read_text())


def summary(results: dict[str, dict[str, object]], reasons: dict[str, str]) -> str:
    """The share caught of the mutants that change something, and every survivor."""
    fates = Counter(str(r["fate"]) for r in results.values())
    survivors = [key for key, r in results.items() if r["fate"] == "survived"]
    explained = [key for key in survivors if key in reasons]
    total = fates["caught"] + len(survivors) - len(explained)
    lines = [f"caught {fates['caught']} of {total}; {len(explained)} change nothing"]
    if fates["not built"]:
        lines.append(f"{fates['not built']} did not compile")
    for key in survivors:
        lines.append(f"survived  {key}: {reasons.get(key, 'NOT EXPLAINED')}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="FILE", help="the sites of this file, e.g. masks.cu")
    parser.add_argument("--list", action="store_true", help="print the sites and stop")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "mutants.json")
    options = parser.parse_args()
    sites = list(all_sites(options.only))
    if options.list:
        for site in sites:
            print(f"{site.file}:{site.line}  {site.kind:8} {site.key.partition(': ')[2]}")
        return
    copy_tree()
    known = known_operators()
    stored = json.loads(options.out.read_text()) if options.out.exists() else {}
    results = {site.key: stored[site.key] for site in sites if site.key in stored}
    for site in sites:
        sources = [
            s for s in device_files() if s.suffix == ".cu" and ROOT / site.file in included(s)
        ]
        state = fingerprint(sources)
        if results.get(site.key, {}).get("state") != state:
            operators = operators_of(sources, known)
            fate = fate_of(site, record(sources, operators), operators)
            results[site.key] = {"line": site.line, "kind": site.kind, **fate, "state": state}
            save(options.out, stored | results)
        result = results[site.key]
        print(
            f"{site.file}:{site.line}  {site.kind:8} {result['fate']:9} {result['by']:5} "
            f"{result['message'][:120]}",
            flush=True,
        )
    reasons = json.loads(EQUIVALENT.read_text()) if EQUIVALENT.exists() else {}
    print(summary(results, reasons))


if __name__ == "__main__":
    main()
