"""Makes gpu_day.py's files into bench/results/gpu.json, the page docs/gpu.md and README's table.

    python bench/gpu_report.py FOLDER [--root FOLDER]

What stands between the markers ``<!-- gpu -->`` and ``<!-- /gpu -->`` of both texts is replaced.
Figures of a dry run on the CPU are refused: they mean nothing.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- gpu -->", "<!-- /gpu -->"


def rows_of(file: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file; the last line may be cut off."""
    rows = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def counters(file: Path) -> list[dict[str, str]]:
    """Kernel, metric, unit and value of every line that ncu counted."""
    lines = file.read_text(errors="replace").splitlines() if file.exists() else []
    table = [line for line in lines if line.startswith('"')]
    wanted = {"Kernel Name": "kernel", "Metric Name": "metric", "Metric Unit": "unit"}
    found = []
    header: list[str] = []
    for cells in csv.reader(table):
        if "Kernel Name" in cells:
            header = cells
        elif header:
            named = dict(zip(header, cells, strict=False))
            value = {"value": named.get("Metric Value", "")}
            found.append({ours: named.get(theirs, "") for theirs, ours in wanted.items()} | value)
    return found


def gather(folder: Path) -> dict[str, Any]:
    """Everything that was measured, as gpu.json holds it."""
    times, peers = rows_of(folder / "times.jsonl"), rows_of(folder / "peers.jsonl")
    if not times:
        sys.exit(f"gpu_report.py: {folder / 'times.jsonl'} is missing or empty")
    about, *results = times
    if about["device"].endswith("(dry run)"):
        sys.exit(f"gpu_report.py: {folder} holds a dry run on the CPU, whose figures mean nothing")
    beside = {(row["operator"], row["size"]): row for row in peers[1:]}
    for row in results:
        compared = beside.get((row["operator"], row["size"]))
        if compared and "seconds" in compared:
            row["peers"] = compared["peers"]
            row["seconds_beside_peers"] = compared["seconds"]
    steps = rows_of(folder / "steps.jsonl")
    return about | {
        "steps": steps,
        "results": results,
        "counters": counters(folder / "kernels.txt"),
    }


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = list(header)
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *map(list, rows)))


def micro(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e6:.1f}"


def share(row: dict[str, Any]) -> str:
    return "" if row["of_roof"] is None else f"{row['of_roof']:.0%}"


def against(row: dict[str, Any], peer: str) -> str:
    taken = row.get("peers", {}).get(peer, {}).get("seconds")
    return "" if taken is None else f"{taken / row['seconds_beside_peers']:.1f}"


def page(report: dict[str, Any]) -> str:
    """The figures as the page docs/gpu.md shows them."""
    roofs = report["roofs"]
    rates = [f"a copy moves {roofs['bytes_per_second'] / 1e9:.0f} GB/s"]
    if "exponentials_per_second" in roofs:
        rates.append(f"{roofs['exponentials_per_second'] / 1e9:.0f} billion exp2 a second")
    timed = [row for row in report["results"] if "seconds" in row]
    others = [row for row in report["results"] if "seconds" not in row]
    parts = [
        f"{report['device']}, torch {report['torch']}, {report['date']}; {', '.join(rates)}.",
        markdown(["step", "result", "seconds", "last words"], (
            (s["step"], s["state"], f"{s['seconds']:.0f}", s["words"].strip("= ").replace("|", "/"))
            for s in report["steps"]
        )),
        markdown(
            ["operator, size", "µs", "spread", "in a graph, µs", "GB/s", "of the roof",
             "eager over ours", "compiled over ours"],
            (
                (f"`{r['operator']}` {r['size']}", micro(r["seconds"]), f"{r['spread']:.2f}",
                 micro(r["graph"].get("seconds")), f"{r['bytes_per_second'] / 1e9:.0f}", share(r),
                 against(r, "eager"), against(r, "compile"))
                for r in timed
            ),
        ),
    ]  # fmt: skip
    if others:
        listed = (f"`{r['operator']}` {r['size']}: {r['reason']}" for r in others)
        parts.append("Not timed: " + "; ".join(listed) + ".")
    if report["counters"]:
        parts.append(markdown(["kernel", "metric", "value"], (
            (f"`{c['kernel'].split('(')[0]}`", f"`{c['metric']}`", f"{c['value']} {c['unit']}")
            for c in report["counters"]
        )))  # fmt: skip
    return "\n\n".join(parts)


def table(report: dict[str, Any]) -> str:
    """README's: every operator at the largest size that was timed."""
    largest = {row["operator"]: row for row in report["results"] if "seconds" in row}
    rows = (
        (f"`{name}` {row['size']}", micro(row["seconds"]), share(row), against(row, "eager"))
        for name, row in largest.items()
    )
    heading = f"On one {report['device']}, torch {report['torch']} ([all figures](docs/gpu.md)):"
    columns = ["operator, size", "µs", "of the roof", "eager PyTorch over ours"]
    return f"{heading}\n\n{markdown(columns, rows)}"


def insert(file: Path, text: str) -> None:
    """Replaces what stands between the markers."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"gpu_report.py: {file} has no {BEGIN} ... {END}")
    write(file, f"{before}{BEGIN}\n{text}\n{END}{after}")


def write(file: Path, text: str) -> None:
    beside = file.with_name(f"{file.name}.part")
    beside.write_text(text)
    beside.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="what gpu_day.py wrote")
    parser.add_argument("--root", type=Path, default=ROOT, help="of the repository")
    args = parser.parse_args()
    report = gather(args.folder)
    write(args.root / "bench" / "results" / "gpu.json", json.dumps(report, indent=1) + "\n")
    insert(args.root / "docs" / "gpu.md", page(report))
    insert(args.root / "README.md", table(report))
    print(f"{len(report['results'])} rows: bench/results/gpu.json, docs/gpu.md, README.md")


if __name__ == "__main__":
    main()
