"""How long after a click the annotation page shows the masks: wall time, server and browser.

    python bench/bench_annotate.py [--photo FILE] [--changes 40] [--busy 2] [--out FILE]

A photo of 640 x 480 with 20 targets of one click each, 19 things and one of stuff, of which the
page has one target a category; a generated picture where there is no photo.
HTTP: a changed click is saved and its masks come back, over one connection; also how much
processor time of the server that takes, in the mean, which other programs hardly change.
Browser: headless Chromium, from the time stamp of a new click's pointer event to the frame after
the one in which the masks are painted. Masks are waited for before the next click. All of it on the
machine as it is and, with ``--busy N``, once more beside N processes that count. Goal: 200 ms in
the median.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from annotate_page import NoBrowserError, Server, chromium, opened, place, served, wait_for_masks
from rich.console import Console
from rich.table import Table
from suite.report import machine
from timing import busy, cores_busy

from point2mask.data import PointTarget, write_rgb
from point2mask.data.files import write_json
from point2mask.data.png import picture_size
from point2mask.data.points import write_points
from point2mask.data.records import Category, ImageRecord
from point2mask.data.shapes import draw_shapes
from point2mask.data.targets import PointLabels
from point2mask.label import DEFAULT_ASSIGNER, PICTURE_ASSIGNERS

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT.parent / "shared" / "data" / "coco_mini" / "images" / "train" / "000000000110.jpg"
WIDTH, HEIGHT, COLUMNS, ROWS = 640, 480, 5, 4
CATEGORIES = {
    1: Category(1, "thing", True, (220, 60, 50)),
    2: Category(2, "stuff", False, (60, 90, 200)),
}
WARM_UP = 5  # changes that are not counted
APART = 25  # pixels: nearer to a click the page would select that one
# To the frame after the masks' own: by then what is painted is on the screen.
WATCH = """(shown) => { window.seen = new Promise((resolve) => {
  const canvas = document.getElementById("canvas");
  let start = 0;
  canvas.addEventListener("pointerup", (event) => { start = event.timeStamp; }, { once: true });
  const observer = new MutationObserver(() => {
    if (canvas.dataset.masks !== shown) return;
    observer.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - start)));
  });
  observer.observe(canvas, { attributeFilter: ["data-masks"] });
}); }"""


def make_folder(folder: Path, photo: Path, rng: np.random.Generator) -> None:
    """Copies of the picture, one more than assigners, the first with clicks in ``points.json``."""
    for number in range(len(PICTURE_ASSIGNERS) + 1):
        if photo.is_file():
            shutil.copy(photo, folder / f"{number}.jpg")
        else:
            write_rgb(folder / f"{number}.jpg", draw_shapes(0, (HEIGHT, WIDTH), things=20).image)
    height, width = picture_size(folder / "0.jpg")
    assert (height, width) == (HEIGHT, WIDTH), f"{photo}: expected 640 x 480 pixels"
    clicks = [
        PointTarget(1 + cell, 2 if cell == 1 else 1, (random_point(rng, cell),))
        for cell in range(COLUMNS * ROWS)
    ]
    record = ImageRecord(1, "0.jpg", height, width)
    write_points(folder / "points.json", PointLabels(CATEGORIES, [(record, clicks)]))


def random_point(rng: np.random.Generator, cell: int) -> tuple[float, float]:
    """A click in one of the cells that the picture is cut into."""
    row, column = divmod(cell, COLUMNS)
    x, y = rng.uniform(0.15, 0.85, 2)
    return round((column + x) * WIDTH / COLUMNS, 2), round((row + y) * HEIGHT / ROWS, 2)


def http_times(url: str, assigner: str, changes: int, rng: np.random.Generator) -> list[float]:
    """Milliseconds of ``changes`` requests that move one click each."""
    taken = []
    with closing(Server(url)) as server:
        state = json.loads(server.ask("GET", "/api/images/0"))
        revision, targets = state["revision"], state["segments_info"]
        for turn in range(changes + WARM_UP):
            cell = int(rng.integers(len(targets)))
            targets[cell]["points"] = [random_point(rng, cell)]
            start = time.perf_counter()
            server.change(targets, revision + turn, assigner)
            taken.append(1e3 * (time.perf_counter() - start))
    return taken[WARM_UP:]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed_click(
    page: Any, size: tuple[int, int], point: tuple[float, float], revision: int
) -> float:
    """Milliseconds from a click on the first picture to its masks; it is undone then."""
    page.mouse.move(*place(page, size, point))
    page.evaluate(WATCH, f"0/{revision + 1}")
    page.mouse.down()
    page.mouse.up()
    taken: float = page.evaluate("window.seen")
    page.keyboard.press("Control+z")
    wait_for_masks(page, 0, revision + 2)
    return taken


def browser_times(page: Any, assigner: str, changes: int, rng: np.random.Generator) -> list[float]:
    """Milliseconds from a click that makes one more target to its masks; undone after each."""
    page.select_option("#assigner", assigner)
    read = page.evaluate("fetch('/api/images/0').then((answer) => answer.json())")
    clicks = [point for target in read["segments_info"] for point in target["points"]]
    revision, taken = read["revision"], []
    for _ in range(changes + WARM_UP):
        point = clicks[0]
        while min(np.hypot(*np.subtract(point, other)) for other in clicks) < APART:
            point = random_point(rng, int(rng.integers(COLUMNS * ROWS)))
        taken.append(timed_click(page, (WIDTH, HEIGHT), point, revision))
        revision += 2
    return taken[WARM_UP:]


def opening_times(url: str) -> dict[str, float]:
    """Milliseconds to prepare the first picture since the start, and one more an assigner."""
    taken = {}
    with closing(Server(url)) as server:
        for number, name in enumerate(("first", *PICTURE_ASSIGNERS)):
            start = time.perf_counter()
            assigner = DEFAULT_ASSIGNER if name == "first" else name
            server.ask("POST", f"/api/images/{number}/warm?assigner={assigner}", {})
            taken[name] = 1e3 * (time.perf_counter() - start)
    return taken


def summary(taken: list[float]) -> dict[str, float]:
    return {"median": statistics.median(taken), "p90": float(np.percentile(taken, 90))}


def measure(folder: Path, changes: int, browser: Any | None) -> dict[str, Any]:
    """All figures of one server, in milliseconds."""
    result: dict[str, Any] = {"cores_busy_before": cores_busy()}
    start = time.perf_counter()
    with served(folder) as (url, server):
        result["start_ms"] = 1e3 * (time.perf_counter() - start)
        result["prepare_ms"] = opening_times(url)
        rng = np.random.default_rng(0)
        result["http_ms"], result["http_cpu_ms"] = {}, {}
        for assigner in PICTURE_ASSIGNERS:
            before = cpu_seconds(server.pid)
            result["http_ms"][assigner] = summary(http_times(url, assigner, changes, rng))
            used = cpu_seconds(server.pid) - before
            result["http_cpu_ms"][assigner] = 1e3 * used / (changes + WARM_UP)
        if browser is not None:
            start = time.perf_counter()
            with opened(browser, url) as page:
                page.locator("#title", has_text=" — ").wait_for()
                result["open_page_ms"] = 1e3 * (time.perf_counter() - start)
                page.locator("#pictures .picture").first.click()
                page.locator("#latency", has_text="masks in").wait_for()
                result["browser_ms"] = {
                    a: summary(browser_times(page, a, changes, rng)) for a in PICTURE_ASSIGNERS
                }
        result["load_average_after"] = os.getloadavg()[0]
    return result


def show(console: Console, name: str, result: dict[str, Any]) -> None:
    title = f"{name}: {result['cores_busy_before']:.1f} cores busy before"
    table = Table("assigner", "prepare", "HTTP", "p90", "its CPU", "browser", "p90", title=title)
    for assigner in PICTURE_ASSIGNERS:
        cells = [f"{result['prepare_ms'][assigner]:.0f}"]
        for kind in ("http_ms", "browser_ms"):
            figures = result.get(kind, {}).get(assigner, {})
            cells += [f"{figures[key]:.0f}" if figures else "" for key in ("median", "p90")]
            if kind == "http_ms":
                cells.append(f"{result['http_cpu_ms'][assigner]:.0f}")
        table.add_row(assigner, *cells)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photo", type=Path, default=PHOTO, help="of 640 x 480 pixels")
    parser.add_argument("--changes", type=int, default=40, help="clicks an assigner that count")
    parser.add_argument("--busy", type=int, default=0, help="once more beside so many processes")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "annotate.json")
    args = parser.parse_args()
    console = Console()
    picture = args.photo.name if args.photo.is_file() else "shapes"
    content = {"machine": machine(), "picture": picture, "changes": args.changes, "runs": {}}
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(chromium())
        except NoBrowserError as error:
            console.print(f"without the browser: {error}")
            browser = None
        for count in sorted({0, args.busy}):
            name = f"beside {count} that count" if count else "as the machine is"
            with tempfile.TemporaryDirectory() as folder, busy(count):
                make_folder(Path(folder), args.photo, np.random.default_rng(1))
                content["runs"][name] = measure(Path(folder), args.changes, browser)
            show(console, name, content["runs"][name])
    write_json(args.out, json.loads(json.dumps(content), parse_float=lambda x: round(float(x), 1)))
    console.print(f"{args.out}")


if __name__ == "__main__":
    main()
