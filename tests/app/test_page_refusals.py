"""What the page does not do, and says so; what is dropped; clicks that are copied upright."""

import numpy as np
import pytest
from annotate_page import add_category, opened, place, served, wait_for_masks
from discs import HEIGHT, WIDTH, at, disc, drag, save_discs, save_turned, saved

pytest.importorskip("fastapi", reason="needs point2mask[app]")

pytestmark = pytest.mark.browser


@pytest.fixture
def folder(tmp_path):
    return save_discs(tmp_path / "photos", "a.png", "b.png")


@pytest.fixture
def page(browser, folder):
    """The first picture, with a click on its disc."""
    with served(folder) as (url, _), opened(browser, url) as page:
        page.locator("#title", has_text=" — ").wait_for()
        add_category(page, "disc", True)
        page.mouse.click(*at(page, 50.5, 48.5))
        wait_for_masks(page, 0, 1)
        yield page


def test_a_stroke_that_would_begin_on_a_click_says_why_not(page, folder):
    ((target,), _) = saved(folder)
    page.keyboard.press("Escape")  # nothing is selected: it would be a new target
    page.keyboard.press("b")
    drag(page, target.points[0], (90, 40))
    page.locator("#message", has_text="would begin on a click that is there").wait_for()
    drag(page, (90, 20), (110, 20))
    wait_for_masks(page, 0, 2)
    assert not page.locator("#message").is_visible()
    assert len(saved(folder)[0]) == 2


@pytest.mark.parametrize("key", ["Escape", "a"])
def test_a_stroke_that_is_dropped_in_the_middle_is_none(page, folder, key):
    page.keyboard.press("b")
    page.mouse.move(*at(page, 90, 20))
    page.mouse.down()
    page.mouse.move(*at(page, 100, 20))
    page.keyboard.press(key)
    page.mouse.move(*at(page, 110, 20), steps=3)  # an error here is one of the test
    page.mouse.up()
    page.keyboard.press("b")
    drag(page, (90, 60), (110, 60))
    wait_for_masks(page, 0, 2)
    assert len(saved(folder)[1].strokes) == 1


@pytest.mark.parametrize("mark", ["rest", "stroke"])
def test_clicks_are_not_copied_onto_other_marks(page, folder, mark):
    page.keyboard.press("]")
    page.locator("#title", has_text="b.png — ").wait_for()
    page.keyboard.press("x" if mark == "rest" else "e")
    drag(page, (10, 10))
    wait_for_masks(page, 1, 1)
    before = saved(folder, "b.png")
    page.keyboard.press("k")
    page.locator("#message", has_text="without clicks or corrections by hand").wait_for()
    assert saved(folder, "b.png") == before


@pytest.mark.parametrize("turned_first", [True, False])
def test_clicks_are_copied_to_where_they_are_seen(browser, tmp_path, turned_first):
    folder = tmp_path / "photos"
    folder.mkdir()
    upright, turned = ("b.jpg", "a.jpg") if turned_first else ("a.jpg", "b.jpg")
    disc().save(folder / upright, quality=95)
    save_turned(folder / turned)
    with served(folder) as (url, _), opened(browser, url) as page:
        page.locator("#title", has_text="a.jpg — ").wait_for()
        add_category(page, "disc", True)
        size = (HEIGHT, WIDTH) if turned_first else (WIDTH, HEIGHT)
        # A quarter from the left and an eighth from the top, as it is shown.
        page.mouse.click(*place(page, size, (size[0] / 4, size[1] / 8)))
        wait_for_masks(page, 0, 1)
        page.keyboard.press("]")
        page.locator("#title", has_text="b.jpg — ").wait_for()
        page.keyboard.press("k")
        wait_for_masks(page, 1, 1)
    ((target,), _) = saved(folder, upright)
    np.testing.assert_allclose(target.points, [(WIDTH / 4, HEIGHT / 8)], atol=0.7)
    ((target,), _) = saved(folder, turned)  # its top is the left of the stored pixels
    np.testing.assert_allclose(target.points, [(WIDTH / 8, HEIGHT * 3 / 4)], atol=0.7)
