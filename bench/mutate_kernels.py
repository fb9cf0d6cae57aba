"""Mutation test of the CUDA kernels: is every synchronisation missed when it is gone?

Each barrier, fence, atomic and relaxed access in ``cuda/`` gets a switch in a copy of the tree: its
mutant leaves it out or makes it plain. All mutants are compiled at once for the emulator
(``tests/simt``). One at a time is switched on and the cases of its operators are run, the shortest
first: in the race build, then, if that saw nothing, in the plain one under random schedules. A
mutant is caught by a report of the emulator, by a result of other bits than the unchanged kernel's,
by a crash, or by taking far more steps or processor time than the unchanged kernel.

    python bench/mutate_kernels.py                     # all of cuda/; goes on where it was stopped
    python bench/mutate_kernels.py --only masks.cu     # the sites of one file
    python bench/mutate_kernels.py --list              # the sites alone

The result is a JSON file with one entry a site, written after every mutant. An entry counts as
long as the kernel's sources and the emulator are what they were and, if the mutant was caught, the
case that did it is there; if it was not, all cases are the same. Mutants that change nothing are
explained in ``cuda/equivalent_mutants.json``, under the site's key.
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = ROOT / "cuda" / "equivalent_mutants.json"
COPY = ROOT / "build" / "mutants"
COPIED = ("cuda", "cpp/include", "tests/simt")
DIALECT = "simt.cuh"  # its barriers and atomics are nvcc's

_CALL = re.compile(
    r"\b(?:(?P<barrier>__syncthreads|__syncwarp)|(?P<vote>__syncthreads_(?:or|and|count))"
    r"|(?P<fence>__threadfence(?:_block|_system)?)"
    r"|(?P<atomic>atomic(?:Add|Min|Max|Or|And|Exch|CAS))"
    r"|(?P<relaxed>(?:load|store)_relaxed))\s*(?:<[^<>()]*>\s*)?\("
)


@dataclass(frozen=True)
class Site:
    """One synchronisation in a source."""

    file: str  # relative to ROOT
    line: int
    kind: str
    called: str  # as written
    begin: int
    opened: int  # its parenthesis
    end: int
    key: str  # file, statement and its number among equal ones: stays when other lines change

    @property
    def number(self) -> int:
        """The mutant's."""
        return int(hashlib.sha256(self.key.encode()).hexdigest()[:7], 16)


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


def replacement(site: Site, arguments: str) -> str:
    """What takes the place of a call; see ``tests/simt/emulator/simt_plain.hpp``."""
    if site.kind in ("barrier", "fence"):
        return "(void)0"
    if site.kind == "vote":  # the own predicate alone
        return f"static_cast<int>(({arguments}) != 0)"
    name = site.called.partition("<")[0].strip()
    return f"plain_{name.removeprefix('atomic').removesuffix('_relaxed')}({arguments})"


def find_sites(file: str, text: str) -> list[Site]:
    """Every barrier, fence, atomic and relaxed access of a source."""
    code = without_comments(text)
    sites, seen = [], Counter[str]()
    for match in _CALL.finditer(code):
        opened = match.end() - 1
        end = closing(code, opened) + 1
        statement = " ".join(code[match.start() : end].split())
        seen[statement] += 1
        sites.append(
            Site(
                file=file,
                line=text.count("\n", 0, match.start()) + 1,
                kind=str(match.lastgroup),
                called=code[match.start() : opened],
                begin=match.start(),
                opened=opened,
                end=end,
                key=f"{file}: {statement} #{seen[statement]}",
            )
        )
    return sites


def with_switches(text: str, sites: list[Site]) -> str:
    """The source, on the same lines, with a choice between each call and its mutant."""
    code = without_comments(text)

    def written(source: str, begin: int, end: int) -> str:
        parts, at = [], begin
        for site in sites:
            if not at <= site.begin < end:  # elsewhere, or in the arguments of the one before
                continue
            arguments = " ".join(written(code, site.opened + 1, site.end - 1).split())
            mutant = f"is_mutant({site.number}) ? {replacement(site, arguments)}"
            lines = "\n" * text.count("\n", site.begin, site.end)
            parts += [source[at : site.begin], f"({mutant} : {site.called}({arguments}))", lines]
            at = site.end
        return "".join([*parts, source[at:end]])

    return written(text, 0, len(text))


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


def concerned(file: str, known: tuple[str, ...]) -> list[Path]:
    """The sources that include the file and, if none of them launches an operator, the family's.

    A family's names begin alike: ``tree_paths.cu`` is launched by other ``tree_*.cu``.
    """
    kernels = [source for source in device_files() if source.suffix == ".cu"]
    found = [source for source in kernels if ROOT / file in included(source)]
    if launched(found, known):
        return found
    families = {source.stem.partition("_")[0] for source in found}
    return [source for source in kernels if source.stem.partition("_")[0] in families]


def launched(sources: list[Path], known: tuple[str, ...]) -> list[str]:
    """The operators whose launchers lie in the sources: ``run`` of a problem of their name."""
    text = "".join(without_comments(source.read_text()) for source in sources)
    problems = set(re.findall(r"\bcudaError_t run\(const (\w+)", text))
    return [op for op in known if op.title().replace("_", "") in problems]


def fingerprint(sources: list[Path]) -> str:
    """Of all that decides a mutant's fate but the cases."""
    files = {file for source in sources for file in included(source)}
    files |= {
        f for f in (ROOT / "tests" / "simt").rglob("*") if f.suffix in (".py", ".cpp", ".hpp")
    }
    digest = hashlib.sha256()
    for file in sorted(files):
        if not re.fullmatch(r"test_.*|.*(cases|expected)\.py", file.name):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def still_counts(result: dict[str, object] | None, state: str, cases: list[str]) -> bool:
    """Whether a mutant that was run need not be run again."""
    if result is None or result["state"] != state:
        return False
    return result["case"] in cases if result["fate"] == "caught" else result["case"] == names(cases)


def names(cases: list[str]) -> str:
    """One name for all of them."""
    return hashlib.sha256(" ".join(sorted(cases)).encode()).hexdigest()[:16]


# --- running -------------------------------------------------------------------------------------


def copy_tree(sites: list[Site]) -> None:
    """The copy's own build folder stays: it holds the objects of unchanged sources."""
    for part in COPIED:
        shutil.rmtree(COPY / part, ignore_errors=True)
        shutil.copytree(ROOT / part, COPY / part)
    for file in {site.file for site in sites}:
        inside = [site for site in sites if site.file == file]
        changed = with_switches((ROOT / file).read_text(), inside)
        head = f'#include "simt_plain.hpp"\n#line 1 "{Path(file).name}"\n'
        (COPY / file).write_text(head + changed)


class Runner:
    """The copy's library with all mutants, and what its unchanged kernels return."""

    def __init__(self) -> None:
        sys.path.insert(0, str(COPY / "tests"))
        from simt import kernels, under_mutation

        self.tool, self.kernels = under_mutation, kernels
        self.cases = under_mutation.named_cases()
        self.operators: tuple[str, ...] = kernels.OPERATORS

    @cache  # noqa: B019
    def record(self, flavour: str, state: str, operators: tuple[str, ...]) -> tuple[Any, Any, Any]:
        """Of a flavour: its emulator, the operators' cases and their results."""
        machine = self.kernels.Kernels(flavour)
        some = {name: case for name, case in self.cases.items() if case[0] in operators}
        file = COPY / "build" / f"expected-{flavour}-{state}.json"
        return machine, some, self.tool.record(machine, flavour, file, some)

    def fate_of(self, mutant: int, state: str, operators: tuple[str, ...]) -> dict[str, str]:
        """How and by which case the mutant was caught, or that it was not."""
        for flavour in ("race", "plain"):
            machine, some, recorded = self.record(flavour, state, operators)
            caught = self.tool.compare(machine, flavour, mutant, recorded, some)
            if caught:
                return {"fate": "caught", "by": flavour, **caught}
        return {"fate": "survived", "by": "", "case": names(some), "message": ""}


def save(file: Path, results: dict[str, dict[str, object]]) -> None:
    part = file.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1) + "\n")
    part.rename(file)


def all_sites() -> Iterator[Site]:
    for file in device_files():
        yield from find_sites(str(file.relative_to(ROOT)), file.read_text())


def summary(results: dict[str, dict[str, object]], reasons: dict[str, str]) -> str:
    """A table of the files, the share caught of what changes something, and every survivor."""
    table = [f"{'file':42} sites  caught  change nothing"]
    rows: dict[str, Counter[str]] = {}
    for key, result in results.items():
        fate = str(result["fate"])
        if fate == "survived" and key in reasons:
            fate = "explained"
        rows.setdefault(key.partition(":")[0], Counter())[fate] += 1
    for file, fates in rows.items():
        row = f"{fates.total():5} {fates['caught']:7} {fates['explained']:15}"
        table.append(f"{file:42} {row}")
    fates = sum(rows.values(), Counter[str]())
    total = fates["caught"] + fates["survived"]
    table.append(f"caught {fates['caught']} of {total}; {fates['explained']} change nothing")
    for key, result in results.items():
        if result["fate"] == "survived":
            table.append(f"survived  {key}: {reasons.get(key, 'NOT EXPLAINED')}")
    return "\n".join(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="FILE", nargs="+", help="their sites, e.g. masks.cu")
    parser.add_argument("--list", action="store_true", help="print the sites and stop")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "mutation.json")
    options = parser.parse_args()
    sites = list(all_sites())
    chosen = [s for s in sites if not options.only or Path(s.file).name in options.only]
    if options.list:
        for site in chosen:
            print(f"{site.file}:{site.line}  {site.kind:8} {site.key.partition(': ')[2]}")
        return
    copy_tree(chosen)
    runner = Runner()
    stored = json.loads(options.out.read_text()) if options.out.exists() else {}
    results = {site.key: stored[site.key] for site in sites if site.key in stored}
    for site in chosen:
        sources = concerned(site.file, runner.operators)
        state, operators = fingerprint(sources), tuple(launched(sources, runner.operators))
        cases = [name for name, case in runner.cases.items() if case[0] in operators]
        if not still_counts(results.get(site.key), state, cases):
            fate = runner.fate_of(site.number, state, operators)
            results[site.key] = {"line": site.line, "kind": site.kind, **fate, "state": state}
            save(options.out, results)
        results[site.key]["line"] = site.line
        result = results[site.key]
        print(
            f"{site.file}:{site.line}  {site.kind:8} {result['fate']:9} {result['by']:5} "
            f"{result['case']} {result['message'][:120]}",
            flush=True,
        )
    save(options.out, results)
    reasons = json.loads(EQUIVALENT.read_text()) if EQUIVALENT.exists() else {}
    print(summary({site.key: results[site.key] for site in chosen}, reasons))


if __name__ == "__main__":
    main()
