"""The scripts that time the annotation page, on little: their parts run, or say what is missing."""

import os
import subprocess
import sys
from pathlib import Path

import bench_annotate
import first_time
import numpy as np
import pytest
import timing
from annotate_page import opened, served
from rich.console import Console

from point2mask.data.points import read_points
from point2mask.label import PICTURE_ASSIGNERS

pytest.importorskip("uvicorn", reason="needs point2mask[app]")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The benchmark's folder, of a generated picture."""
    monkeypatch.setattr(bench_annotate, "WARM_UP", 0)
    bench_annotate.make_folder(tmp_path, tmp_path / "none.jpg", np.random.default_rng(0))
    return tmp_path


def test_the_folder_has_a_click_in_every_cell(folder):
    ((record, targets),) = read_points(folder / "points.json").images
    assert (record.width, record.height, len(targets)) == (640, 480, 20)
    cells = {(int(x // 128), int(y // 120)) for target in targets for x, y in target.points}
    assert len(cells) == 20


def test_every_assigner_is_measured(folder, monkeypatch):
    monkeypatch.setattr(bench_annotate, "cores_busy", lambda: 0.5)
    result = bench_annotate.measure(folder, changes=2, browser=None)
    assert result["http_ms"].keys() == PICTURE_ASSIGNERS.keys()
    assert [*result["prepare_ms"]] == ["first", *PICTURE_ASSIGNERS]
    assert all(0 < taken["median"] <= taken["p90"] for taken in result["http_ms"].values())
    console = Console(width=100, record=True)
    bench_annotate.show(console, "here", result)
    text = console.export_text()
    assert "0.5 cores busy before" in text
    assert all(f"{name} " in text for name in PICTURE_ASSIGNERS)


@pytest.mark.browser
def test_clicks_in_the_browser_are_measured_and_undone(browser, folder):
    clicks = read_points(folder / "points.json").images
    with served(folder) as (url, _), opened(browser, url) as page:
        page.locator("#pictures .picture").first.click()
        page.locator("#latency", has_text="masks in").wait_for()
        assert page.locator("#targets li").count() == 20
        taken = bench_annotate.browser_times(page, "watershed", 2, np.random.default_rng(0))
    assert len(taken) == 2
    assert min(taken) > 0
    assert read_points(folder / "points.json").images == clicks


@pytest.mark.browser
def test_the_way_of_a_new_user(browser, tmp_path, monkeypatch):
    shapes = "--train 0 --val 3 --height 96 --width 128 --things 2 --seed 3".split()
    monkeypatch.setattr(first_time, "SHAPES", shapes)
    (tmp_path / "out").mkdir()
    step = first_time.Steps()
    quality = first_time.first_time(tmp_path, tmp_path / "out", sys.executable, step, browser)
    assert 0.5 < quality <= 1
    names = ["1_open", "2_categories", "3_first_click", "4_all_clicks", "5_next_picture"]
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == [*names, "6_exported"]
    assert sum("clicks on picture" in name for name in step.seconds) == 3


def test_without_a_browser_one_line_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, first_time.__file__, "--out", str(tmp_path / "out")],
        env={**os.environ, "POINT2MASK_CHROMIUM": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "playwright" in done.stderr or "/nowhere" in done.stderr
    assert not (tmp_path / "out").exists()


def test_busy_processes_are_seen_and_end():
    with timing.busy(1):
        assert 0.5 < timing.cores_busy(0.5) <= (os.cpu_count() or 1)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    assert not any(b"while True" in command for command in commands)
