"""The annotation page with large folders and large pictures: wall time over HTTP and in Chromium.

    python bench/bench_annotate_large.py [--pictures 100 5000 60000] [--changes 20] [--out FILE]

Folders: so many pictures of 64 x 48 pixels (names of one file), each with five clicks. Timed are
the start of the server until it answers, the list of pictures, the page until its first picture is
shown, and a click's way to the disk. Picture: 4000 x 3000 pixels with 20 targets of one click each;
a changed click and its masks over HTTP, and in Chromium from a click to the frame after the one in
which its masks are painted. What ends in ``_cpu`` is processor time of the server, in the mean,
which other programs hardly change; that of the start is until the list of pictures is sent.
"""

import argparse
import json
import os
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from annotate_page import NoBrowserError, Server, chromium, opened, served
from bench_annotate import CATEGORIES, cpu_seconds, summary, timed_click
from rich.console import Console
from rich.table import Table
from suite.report import machine

from point2mask.data import PointTarget, write_rgb
from point2mask.data.files import write_json
from point2mask.data.points import PointLabels, write_points
from point2mask.data.records import ImageRecord
from point2mask.data.shapes import draw_shapes

ROOT = Path(__file__).resolve().parents[1]
LARGE = 3000, 4000  # height and width of the picture
WARM_UP = 3


def make_many(folder: Path, count: int) -> None:
    """A picture of many names, each with five clicks."""
    write_rgb(folder / "000000.png", draw_shapes(0, (48, 64), things=4).image)
    images = []
    clicks = [PointTarget(k + 1, 1, ((10.0 * k + 5.5, 20.5),)) for k in range(5)]
    for number in range(count):
        name = f"{number:06}.png"
        if number:
            os.link(folder / "000000.png", folder / name)
        images.append((ImageRecord(number + 1, name, 48, 64), clicks))
    write_points(folder / "points.json", PointLabels(CATEGORIES, images))


def many(count: int, changes: int, browser: Any | None) -> dict[str, Any]:
    """Figures of a folder, in milliseconds."""
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_many(folder, count)
        start = time.perf_counter()
        with served(folder) as (url, process), closing(Server(url)) as server:
            result["start"] = 1e3 * (time.perf_counter() - start)
            start = time.perf_counter()
            state = server.ask("GET", "/api/state")
            result["list"] = 1e3 * (time.perf_counter() - start)
            result["list_bytes"] = len(state)
            result["start_cpu"] = 1e3 * cpu_seconds(process.pid)
            if browser is not None:
                start = time.perf_counter()
                with opened(browser, url) as page:
                    page.locator("#title", has_text=" — ").wait_for()
                    result["page"] = 1e3 * (time.perf_counter() - start)
            clicks = json.loads(server.ask("GET", "/api/images/0"))
            taken, before = [], cpu_seconds(process.pid)
            for turn in range(changes + WARM_UP):
                clicks["segments_info"][0]["points"] = [[1.5 + turn % 40, 2.5]]
                body = {
                    "revision": clicks["revision"] + turn,
                    "segments_info": clicks["segments_info"],
                }
                start = time.perf_counter()
                server.ask("PUT", "/api/images/0/marks", body)
                taken.append(1e3 * (time.perf_counter() - start))
            result["save"] = summary(taken[WARM_UP:])
            result["save_cpu"] = 1e3 * (cpu_seconds(process.pid) - before) / len(taken)
    return result


def large(changes: int, browser: Any | None) -> dict[str, Any]:
    """Figures of a picture of 12 megapixels, in milliseconds."""
    height, width = LARGE
    rng = np.random.default_rng(0)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rgb(folder / "0.jpg", draw_shapes(0, LARGE, things=20).image)
        grid = [
            (width * (0.1 + 0.2 * (k % 5)), height * (0.125 + 0.25 * (k // 5))) for k in range(20)
        ]
        clicks = [PointTarget(k + 1, 1 + k % 2 if k < 2 else 1, (at,)) for k, at in enumerate(grid)]
        labels = PointLabels(CATEGORIES, [(ImageRecord(1, "0.jpg", height, width), clicks)])
        write_points(folder / "points.json", labels)
        with served(folder) as (url, process), closing(Server(url)) as server:
            state = json.loads(server.ask("GET", "/api/images/0"))
            targets = state["segments_info"]
            start = time.perf_counter()
            server.ask("POST", "/api/images/0/warm", {})
            result["prepare"] = 1e3 * (time.perf_counter() - start)
            start = time.perf_counter()
            result["picture_bytes"] = len(server.ask("GET", "/api/images/0/picture"))
            result["picture"] = 1e3 * (time.perf_counter() - start)
            taken, before = [], cpu_seconds(process.pid)
            for turn in range(changes + WARM_UP):
                x, y = grid[0]
                targets[0]["points"] = [[x + float(rng.integers(-99, 99)), y]]
                start = time.perf_counter()
                masks = server.change(targets, state["revision"] + turn, "merge")
                taken.append(1e3 * (time.perf_counter() - start))
            result["http"], result["mask_bytes"] = summary(taken[WARM_UP:]), len(masks)
            result["http_cpu"] = 1e3 * (cpu_seconds(process.pid) - before) / len(taken)
            if browser is not None:
                with opened(browser, url) as page:
                    page.locator("#latency", has_text="masks in").wait_for()
                    result["browser"] = summary(in_browser(page, changes))
    return result


def in_browser(page: Any, changes: int) -> list[float]:
    """Milliseconds from a click that makes one more target to its masks; undone after each."""
    height, width = LARGE
    read = page.evaluate("fetch('/api/images/0').then((answer) => answer.json())")
    revision, taken = read["revision"], []
    for turn in range(changes + WARM_UP):
        point = width * 0.2 + 20 * turn, height * 0.25
        taken.append(timed_click(page, (width, height), point, revision))
        revision += 2
    return taken[WARM_UP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, nargs="*", default=[100, 1000, 5000, 60_000])
    parser.add_argument("--changes", type=int, default=20, help="clicks that count")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "bench" / "results" / "annotate_large.json"
    )
    args = parser.parse_args()
    console = Console()
    content: dict[str, Any] = {"machine": machine(), "changes": args.changes, "folders": {}}
    table = Table("pictures", "start", "list", "page", "save", "p90", title="milliseconds")
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(chromium())
        except NoBrowserError as error:
            console.print(f"without the browser: {error}")
            browser = None
        for count in args.pictures:
            found = content["folders"][str(count)] = many(count, args.changes, browser)
            times = [found["start"], found["list"], found.get("page", 0), *found["save"].values()]
            table.add_row(str(count), *(f"{value:.1f}" for value in times))
        content["large_picture"] = large(args.changes, browser)
    console.print(table)
    console.print("12 megapixels, milliseconds:", content["large_picture"])
    write_json(args.out, json.loads(json.dumps(content), parse_float=lambda x: round(float(x), 1)))
    console.print(f"{args.out}")


if __name__ == "__main__":
    main()
