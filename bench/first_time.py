"""The way of a new user, timed and photographed: from nothing to exported masks and their quality.

    python bench/first_time.py [--out DIR] [--torch-index URL] [--python PYTHON] [--installed]

A new virtual environment, torch, a clone of this checkout (what is committed) with the extra `app`,
three generated pictures with true masks, one click a segment made on the real page in headless
Chromium where `point2mask points sample` says, the export, and `point2mask evaluate`. DIR gets
first_time.json and a picture of the page at every stage. The environment is removed at the end. The
browser is driven from outside of it, by the Python that runs this script.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import annotate_page as web
from suite.report import machine

from point2mask.data.files import write_json
from point2mask.data.points import read_points
from point2mask.data.targets import PointLabels

ROOT = Path(__file__).resolve().parents[1]
SHAPES = "--train 0 --val 3 --height 480 --width 640 --things 8 --seed 4".split()


class Steps:
    """Seconds of one step after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        print(f"{self.seconds[name]:8.1f} s  {name}", flush=True)


def click_through(page: Any, labels: PointLabels, step: Steps, out: Path) -> None:
    """Makes the categories and every click of ``labels`` on the page, picture by picture."""
    web.shoot(page, out / "1_open.jpg")
    with step("make the categories"):
        for category in labels.categories.values():
            web.add_category(page, category.name, category.isthing)
    web.shoot(page, out / "2_categories.jpg")
    order = [*labels.categories]
    for index, (record, targets) in enumerate(labels.images):
        page.locator("#title", has_text=f"{record.file_name} — {record.width}").wait_for()
        if index == 1:
            web.shoot(page, out / "5_next_picture.jpg")
        with step(f"{len(targets)} clicks on picture {index + 1}, each until its masks are shown"):
            clicks = [(t.category_id, point) for t in targets for point in t.points]
            for revision, (category, point) in enumerate(clicks, start=1):
                page.locator("#categories li").nth(order.index(category)).click()
                page.mouse.click(*web.place(page, (record.width, record.height), point))
                web.wait_for_masks(page, index, revision)
                if (index, revision) == (0, 1):
                    web.shoot(page, out / "3_first_click.jpg")
        assert page.locator("#targets li").count() == len(targets), "clicks too near to each other"
        if index == 0:
            web.shoot(page, out / "4_all_clicks.jpg")
        page.keyboard.press("]")


def export(page: Any, step: Steps, out: Path) -> None:
    """COCO panoptic, the format that the page offers first."""
    with step("export"):
        page.click("#export")
        page.locator("#export-status", has_text="written to").wait_for()
    web.shoot(page, out / "6_exported.jpg")


def install(folder: Path, python: str, torch: list[str], step: Steps) -> str:
    """A new environment with the package; its Python."""
    source, inside = folder / "source", str(folder / "venv" / "bin" / "python")
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    no_cuda = "--config-settings=cmake.define.POINT2MASK_CUDA=OFF"
    with step("make a virtual environment"):
        run(python, "-m", "venv", folder / "venv")
    with step("install torch"):
        run(*pip, "torch", *torch)
    run("git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), source)
    with step("build and install point2mask[app] from source, without CUDA"):
        run(*pip, f"{source}[app]", no_cuda)
    return inside


def first_time(folder: Path, out: Path, python: str, step: Steps, browser: Any) -> float:
    """Everything but the environment; panoptic quality of the exported masks."""
    shapes, clicks = folder / "shapes", folder / "clicks.json"
    truth, photos = shapes / "annotations" / "panoptic_val.json", shapes / "images" / "val"
    point2mask = python, "-m", "point2mask"
    with step("generate three pictures"):
        run(*point2mask, "shapes", shapes, *SHAPES)
    run(*point2mask, "points", "sample", "--annotations", truth, "--out", clicks)
    with ExitStack() as stack:
        with step("start the server and open the page"):
            url, _ = stack.enter_context(web.served(photos, python=python))
            page = stack.enter_context(web.opened(browser, url))
            page.locator("#title", has_text=" — ").wait_for()
        click_through(page, read_points(clicks), step, out)
        export(page, step, out)
    with step("evaluate"):
        predictions = photos.with_name("val_exports") / "coco_panoptic"
        command = ["evaluate", "--truth", truth, "--predictions", predictions, "--json", "-"]
        return json.loads(run(*point2mask, *command))["all"]["pq"]


def run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], cwd="/", check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "first_time")
    parser.add_argument("--torch-index", metavar="URL", help="where torch comes from")
    parser.add_argument("--python", default=sys.executable, help="makes the virtual environment")
    parser.add_argument(
        "--installed", action="store_true", help="install nothing: --python has the package"
    )
    args = parser.parse_args()
    torch = ["--index-url", args.torch_index] if args.torch_index else []
    step = Steps()
    try:
        with web.chromium() as browser, tempfile.TemporaryDirectory() as folder:
            args.out.mkdir(parents=True, exist_ok=True)
            python = args.python
            if not args.installed:
                python = install(Path(folder), python, torch, step)
            quality = first_time(Path(folder), args.out, python, step, browser)
    except web.NoBrowserError as error:
        print(f"first_time.py: {error}", file=sys.stderr)
        return 2
    content = {"machine": machine(), "seconds": step.seconds, "pq": 100 * quality}
    write_json(args.out / "first_time.json", content)
    print(f"{sum(step.seconds.values()):8.1f} s  in all\nPQ {100 * quality:.1f}\n{args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
