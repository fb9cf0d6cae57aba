"""The page in headless Chromium: click, masks, drag, undo, keys, export, errors."""

import json

import numpy as np
import pytest
from annotate_page import add_category, opened, served, wait_for_masks
from discs import HEIGHT, WIDTH, at, save_discs

from point2mask.cli import main
from point2mask.data import read_panoptic, read_points

pytest.importorskip("fastapi", reason="needs point2mask[app]")

pytestmark = pytest.mark.browser


@pytest.fixture
def folder(tmp_path):
    """Two pictures of a red disc on blue, and a broken one."""
    photos = save_discs(tmp_path / "photos", "a.png", "b.png")
    (photos / "broken.png").write_bytes(b"no picture")
    return photos


@pytest.fixture
def page(browser, folder):
    """The page of the folder; a script error fails the test."""
    with served(folder) as (url, _), opened(browser, url) as page:
        yield page


def color(page, x, y):
    """The colour of the mask under a pixel, read from what the page paints."""
    script = """([x, y]) => {
      const canvas = document.getElementById("canvas"), box = canvas.getBoundingClientRect();
      const at = [(x - box.left) * canvas.width / box.width, (y - box.top) * canvas.height / box.height];
      return [...canvas.getContext("2d").getImageData(...at.map(Math.round), 1, 1).data].slice(0, 3);
    }"""  # noqa: E501
    return page.evaluate(script, [*at(page, x, y)])


def stored(folder):
    images = read_points(folder / "points.json").images
    return {record.file_name: [t.points for t in targets] for record, targets in images}


def test_click_drag_undo_export(page, folder, capsys):
    add_category(page, "disc", True)
    add_category(page, "sea", False)
    plain = color(page, 40, 48)

    page.keyboard.press("1")
    page.mouse.click(*at(page, 50.5, 48.5))
    wait_for_masks(page, 0, 1)
    page.keyboard.press("2")
    page.mouse.click(*at(page, 110.5, 20.5))
    wait_for_masks(page, 0, 2)
    ((disc,), (sea,)) = stored(folder)["a.png"]
    np.testing.assert_allclose([disc, sea], [(50.5, 48.5), (110.5, 20.5)], atol=0.5)
    tinted = color(page, 40, 48)
    assert max(abs(a - b) for a, b in zip(plain, tinted, strict=True)) > 20
    page.mouse.click(*at(page, 100.5, 80.5))  # stuff grows the target it has
    wait_for_masks(page, 0, 3)
    assert [len(points) for points in stored(folder)["a.png"]] == [1, 2]

    page.mouse.move(*at(page, *disc))
    page.mouse.down()
    page.mouse.move(*at(page, 60, 50), steps=4)
    page.mouse.move(*at(page, 62.5, 54.5), steps=2)
    page.mouse.up()
    wait_for_masks(page, 0, 4)
    np.testing.assert_allclose(stored(folder)["a.png"][0][0], (62.5, 54.5), atol=0.5)
    said = page.locator("#targets li").all_inner_texts()[0].split()
    assert said[:4] == ["#1", "disc", "1", "click"]
    assert said[4:6] == ["15", "%"]  # a disc of 24 pixels in 128 x 96

    page.keyboard.press("Control+z")
    wait_for_masks(page, 0, 5)
    assert stored(folder)["a.png"][0] == (disc,)
    page.keyboard.press("Control+y")
    wait_for_masks(page, 0, 6)
    page.click("#undo")
    wait_for_masks(page, 0, 7)
    assert stored(folder)["a.png"][0] == (disc,)
    assert page.inner_text("#count") == "1 of 3 pictures have clicks"

    page.click("#export")
    page.locator("#export-status", has_text="written to").wait_for()
    folder_of = folder.with_name("photos_exports") / "coco_panoptic"
    dataset = read_panoptic(folder_of / "panoptic.json")
    ids = dataset.segment_map(dataset.images[0])
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    inside = (y - 48) ** 2 + (x - 50) ** 2 < 24**2
    assert ((ids == 1) == inside).mean() > 0.97
    truth = str(folder_of / "panoptic.json")
    arguments = ["--truth", truth, "--truth-masks", str(folder_of / "panoptic")]
    arguments += ["--predictions", str(folder_of), "--json", "-", "--workers", "1"]
    assert main(["evaluate", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["all"]["pq"] == 1


def test_keys_and_removal(page, folder):
    page.keyboard.press("n")
    page.keyboard.type("disc")
    page.keyboard.press("Enter")
    page.locator("#categories .name", has_text="disc").wait_for()
    page.mouse.click(*at(page, 50, 48))
    wait_for_masks(page, 0, 1)
    page.keyboard.down("Shift")
    page.mouse.click(*at(page, 56, 40))
    page.keyboard.up("Shift")
    wait_for_masks(page, 0, 2)
    assert [len(points) for points in stored(folder)["a.png"]] == [2]
    page.keyboard.press("Delete")
    wait_for_masks(page, 0, 3)
    assert [len(points) for points in stored(folder)["a.png"]] == [1]
    page.mouse.click(*at(page, 50, 48), button="right")
    wait_for_masks(page, 0, 4)
    assert "a.png" not in stored(folder)
    page.keyboard.press("]")
    page.locator("#title", has_text="b.png — 128").wait_for()
    page.mouse.click(*at(page, 50, 48))
    wait_for_masks(page, 1, 1)
    page.keyboard.press("u")
    page.locator("#pictures .current", has_text="broken.png").wait_for()
    page.locator("#message", has_text="expected an image as").wait_for()
    page.keyboard.press("u")
    page.locator("#title", has_text="a.png — 128").wait_for()
    assert page.locator("#message").is_hidden()
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()


def test_zoomed_clicks_land_where_they_are_seen(page, folder):
    add_category(page, "disc", True)
    x, y = at(page, 50.5, 48.5)
    page.mouse.move(x, y)
    for _ in range(4):
        page.mouse.wheel(0, -300)
    page.mouse.click(x, y)  # zoom is about the mouse
    wait_for_masks(page, 0, 1)
    np.testing.assert_allclose(stored(folder)["a.png"][0][0], (50.5, 48.5), atol=0.3)


def test_says_when_somebody_else_wrote(page, folder):
    add_category(page, "disc", True)
    page.mouse.click(*at(page, 50, 48))
    wait_for_masks(page, 0, 1)
    path = folder / "points.json"
    path.write_text(path.read_text() + "\n")
    page.mouse.click(*at(page, 90, 20))
    page.locator("#message", has_text="another program has changed it").wait_for()
    assert page.inner_text("#saved") == "not saved"
    assert page.locator("#targets li").count() == 1
