"""The rules of CONTRIBUTING for files: none is long, and what operators share is bound once."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("python", "cpp", "cuda", "tests", "bench", "docs", "cmake", ".ci")
CODE = {".py", ".pyi", ".cpp", ".hpp", ".cu", ".cuh", ".js", ".css", ".html", ".cmake", ".yaml", ""}
BINDINGS = ROOT / "cpp" / "bindings"
MOST, RUN = 400, 6  # lines


def code_lines(text: str) -> list[tuple[int, str]]:
    """Number and text of the lines that are code: no comments, includes, lone punctuation."""
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [
        (number, line)
        for number, line in lines
        if not line.startswith(("//", "#")) and any(map(str.isalnum, line))
    ]


def shared_runs(texts: dict[str, str]) -> list[str]:
    """Where ``RUN`` lines of code stand that stand in another place before."""
    seen: dict[tuple[str, ...], str] = {}
    shared = []
    for name, text in texts.items():
        lines = code_lines(text)
        for start in range(len(lines) - RUN + 1):
            numbers, run = zip(*lines[start : start + RUN], strict=True)
            place = f"{name}:{numbers[0]}-{numbers[-1]}"
            if run in seen:
                shared.append(f"{place} as {seen[run]}")
            seen.setdefault(run, place)
    return shared


def test_no_file_is_long() -> None:
    files = [path for path in ROOT.iterdir() if path.name in ("CMakeLists.txt", "Makefile")]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in CODE]
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_bytes().splitlines())
        for path in files
        if path.is_file()
    }
    assert len(lengths) > 500
    assert {name: lines for name, lines in lengths.items() if lines > MOST} == {}


def test_no_two_places_of_the_bindings_share_six_lines() -> None:
    texts = {path.name: path.read_text() for path in sorted(BINDINGS.iterdir())}
    assert len(texts) > 10
    assert shared_runs(texts) == []


def test_a_run_is_found_in_one_file_and_in_two() -> None:
    run = "".join(f"  p.size_{k} = t.size({k});\n// what it is\n\n" for k in range(RUN))
    assert shared_runs({"a": run, "b": "g();\n}\n" + run}) == ["b:3-18 as a:1-16"]
    assert shared_runs({"a": run + "g();\n" + run}) == ["a:20-35 as a:1-16"]
    assert shared_runs({"a": run, "b": run.replace("size_5", "size")}) == []
