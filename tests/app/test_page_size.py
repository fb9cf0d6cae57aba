"""Rough sizes: circles dragged out about clicks, by mouse and by keys, and what is kept."""

import math

import numpy as np
import pytest
from annotate_page import add_category, opened, served, wait_for_masks
from discs import HEIGHT, WIDTH, at, disc, save_discs, save_turned

from point2mask.data import read_points

pytest.importorskip("fastapi", reason="needs point2mask[app]")

pytestmark = pytest.mark.browser


@pytest.fixture
def folder(tmp_path):
    """A red disc on blue, the same twice as large, and one that viewers turn by a quarter."""
    photos = save_discs(tmp_path / "photos", "a.png")
    disc().resize((2 * WIDTH, 2 * HEIGHT)).save(photos / "b.png")
    save_turned(photos / "turned.jpg")
    return photos


@pytest.fixture
def page(browser, folder):
    with served(folder) as (url, _), opened(browser, url) as page:
        page.locator("#title", has_text=" — ").wait_for()
        add_category(page, "disc", True)
        yield page


def targets(folder, name="a.png"):
    labels = read_points(folder / "points.json")
    return next(targets for record, targets in labels.images if record.file_name == name)


def drag(page, start, end):
    page.mouse.move(*at(page, *start))
    page.mouse.down()
    page.mouse.move(*at(page, *end), steps=6)
    page.mouse.up()


def test_a_circle_makes_a_target_with_its_size(page, folder):
    page.keyboard.press("r")
    drag(page, (50, 48), (74, 48))
    wait_for_masks(page, 0, 1)
    (target,) = targets(folder)
    np.testing.assert_allclose(target.points, [(50, 48)], atol=0.3)
    assert target.area == pytest.approx(math.pi * 24**2, rel=0.03)
    share = 100 * target.area / (WIDTH * HEIGHT)
    assert f"1 click, ○ {share:.0f} %" in page.inner_text("#targets li")
    page.keyboard.press("]")
    page.locator("#title", has_text="b.png — ").wait_for()
    page.keyboard.press("k")  # copied in proportion
    wait_for_masks(page, 1, 1)
    assert targets(folder, "b.png")[0].area == pytest.approx(4 * target.area)


def test_a_click_that_is_there_gets_loses_and_keeps_a_size(page, folder):
    page.mouse.click(*at(page, 50, 48))
    wait_for_masks(page, 0, 1)
    assert targets(folder)[0].area is None
    page.keyboard.press("r")
    drag(page, (50, 48), (50, 88))
    wait_for_masks(page, 0, 2)
    assert targets(folder)[0].area == pytest.approx(math.pi * 39.5**2, rel=0.03)
    drag(page, (50, 48), (62, 48))  # another
    wait_for_masks(page, 0, 3)
    (small,) = targets(folder)
    assert small.area == pytest.approx(math.pi * 11.5**2, rel=0.03)
    page.keyboard.press("s")
    page.mouse.click(*at(page, 40, 40))
    wait_for_masks(page, 0, 4)
    (more,) = targets(folder)
    assert (len(more.points), more.area) == (2, small.area)
    page.reload()
    wait_for_masks(page, 0, 4)
    assert "○" in page.inner_text("#targets li")
    page.keyboard.press("r")
    page.mouse.click(*at(page, 50, 48))  # a click takes it away
    wait_for_masks(page, 0, 5)
    assert targets(folder)[0].area is None
    page.keyboard.press("Control+z")
    wait_for_masks(page, 0, 6)
    assert targets(folder)[0].area == small.area
    page.keyboard.press("Control+y")
    wait_for_masks(page, 0, 7)
    assert targets(folder)[0].area is None


def test_one_more_click_on_stuff_leaves_its_size(page, folder):
    add_category(page, "ground", False)
    page.keyboard.press("r")
    drag(page, (20, 20), (30, 20))
    wait_for_masks(page, 0, 1)
    (ground,) = targets(folder)
    page.mouse.click(*at(page, 80, 80))
    wait_for_masks(page, 0, 2)
    (more,) = targets(folder)
    assert (len(more.points), more.area) == (2, ground.area)
    assert ground.area is not None


def test_circles_on_regions_of_stuff_add_up(page, folder):
    add_category(page, "ground", False)
    page.keyboard.press("r")
    drag(page, (20, 20), (30, 20))
    wait_for_masks(page, 0, 1)
    (first,) = targets(folder)
    drag(page, (80, 70), (96, 70))
    wait_for_masks(page, 0, 2)
    (both,) = targets(folder)
    assert len(both.points) == 2
    assert both.area == pytest.approx(first.area + math.pi * 16**2, rel=0.03)
    drag(page, (20, 20), (28, 20))  # out of a click that is there: the whole
    wait_for_masks(page, 0, 3)
    assert targets(folder)[0].area == pytest.approx(math.pi * 7.5**2, rel=0.03)


def test_without_a_mouse(page, folder):
    page.keyboard.press("r")
    page.focus("#canvas")
    page.keyboard.press("ArrowUp")  # from the middle
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_for_masks(page, 0, 1)
    (target,) = targets(folder)
    np.testing.assert_allclose(target.points[0], (WIDTH / 2, HEIGHT / 2), atol=1)
    box = page.locator("#canvas").bounding_box()
    scale = 0.96 * min(box["width"] / WIDTH, box["height"] / HEIGHT)
    assert target.area == pytest.approx(math.pi * (72 / scale) ** 2, rel=0.1)
    page.keyboard.press("Enter")  # a circle about nothing yet, dropped
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert len(targets(folder)) == 1
    for _ in range(7):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")  # about the click, and none
    page.keyboard.press("Enter")
    wait_for_masks(page, 0, 2)
    assert [(len(t.points), t.area) for t in targets(folder)] == [(1, None)]


def test_of_a_picture_that_viewers_turn(page, folder):
    """A circle is a circle however a picture lies; its area is in pixels of the file."""
    page.locator("#pictures [role=option]").last.click()
    page.locator("#title", has_text="turned.jpg — ").wait_for()
    page.keyboard.press("r")
    box = page.locator("#canvas").bounding_box()
    scale = 0.96 * min(box["width"] / HEIGHT, box["height"] / WIDTH)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20 * scale, y, steps=4)
    page.mouse.up()
    wait_for_masks(page, 2, 1)
    (target,) = targets(folder, "turned.jpg")
    assert target.area == pytest.approx(math.pi * 20**2, rel=0.02)


def test_nothing_has_no_size(page, folder):
    page.keyboard.press("x")
    page.mouse.click(*at(page, 20, 20))
    wait_for_masks(page, 0, 1)
    page.keyboard.press("r")
    drag(page, (20, 20), (40, 20))
    page.locator("#message", has_text="has no size").wait_for()
    assert targets(folder) == []
