"""What is asked for on one picture, answered or carried out when another one is due or open."""

import numpy as np
import pytest
from annotate_page import add_category, opened, served, wait_for_masks
from discs import at, save_discs

from point2mask.data import read_points

pytest.importorskip("fastapi", reason="needs point2mask[app]")

pytestmark = pytest.mark.browser
PROPOSED = [{"id": 1, "category_id": 1, "iscrowd": 0, "points": [[100.5, 20.5]]}]
REFUSED = "nothing was changed: a.png was open no more"


@pytest.fixture
def folder(tmp_path):
    return save_discs(tmp_path / "photos", "a.png", "b.png", "c.png")


@pytest.fixture
def page(browser, folder):
    """The first picture, with a click on its disc."""
    with served(folder) as (url, _), opened(browser, url, routed=True) as page:
        is_open(page, "a.png")
        add_category(page, "disc", True)
        page.mouse.click(*at(page, 50.5, 48.5))
        wait_for_masks(page, 0, 1)
        yield page


def is_open(page, name):
    page.locator("#title", has_text=f"{name} — ").wait_for()


def stored(folder):
    images = read_points(folder / "points.json").images
    return {record.file_name: [t.points[0] for t in targets] for record, targets in images}


def held(page, url, key):
    """Presses a key; the request that it makes, unanswered yet."""
    routes = []
    page.route(url, lambda route: routes.append(route))
    with page.expect_request(url):
        page.keyboard.press(key)
    while not routes:
        page.wait_for_timeout(10)
    return routes[0]


@pytest.mark.parametrize("leave", ["key", "list", "done"])
def test_proposed_clicks_belong_to_the_picture_they_were_asked_for(page, folder, leave):
    route = held(page, "**/proposals", "g")
    if leave == "list":
        page.locator("#pictures .picture").nth(1).click()
    else:
        page.keyboard.press({"key": "]", "done": "d"}[leave])
    route.fulfill(json=PROPOSED)
    is_open(page, "b.png")
    wait_for_masks(page, 1, 0)
    assert list(stored(folder)) == ["a.png"]
    np.testing.assert_allclose(stored(folder)["a.png"], [(50.5, 48.5), (100.5, 20.5)], atol=0.5)
    (kept,) = page.evaluate("fetch('/api/images/0').then((a) => a.json()).then((a) => [a.status])")
    assert kept == ("done" if leave == "done" else "")


def test_copied_clicks_belong_to_the_picture_they_were_asked_for(page, folder):
    page.keyboard.press("]")
    is_open(page, "b.png")
    route = held(page, "**/api/images/0", "k")
    page.keyboard.press("]")
    route.continue_()
    is_open(page, "c.png")
    wait_for_masks(page, 2, 0)
    assert list(stored(folder)) == ["a.png", "b.png"]
    assert stored(folder)["a.png"] == stored(folder)["b.png"]


@pytest.mark.parametrize("change", ["click", "remove", "undo", "review"])
def test_a_change_of_a_picture_that_is_being_left_is_refused(page, folder, change):
    """Not made to the next one, whose turn came before: that would be a picture not looked at."""
    page.keyboard.press("]")
    is_open(page, "b.png")
    page.keyboard.press("k")
    wait_for_masks(page, 1, 1)
    page.keyboard.press("[")
    is_open(page, "a.png")
    wait_for_masks(page, 0, 1)
    page.keyboard.press(",")
    before = stored(folder)
    route = held(page, "**/proposals", "g")
    page.keyboard.press("]")
    if change == "click":
        page.mouse.click(*at(page, 20, 20))
    elif change == "review":
        page.select_option("#status", "review")
    else:
        page.keyboard.press({"remove": "Shift+Delete", "undo": "Control+z"}[change])
    route.fulfill(json=[])
    is_open(page, "b.png")
    page.locator("#message", has_text=REFUSED).wait_for()
    assert stored(folder) == before
    assert page.input_value("#status") == ""
    assert page.locator("#targets li").count() == 1


def test_a_click_is_of_the_category_that_was_chosen_when_it_was_made(page, folder):
    add_category(page, "sea", False)
    page.keyboard.press("1")
    route = held(page, "**/proposals", "g")
    page.mouse.click(*at(page, 20, 20))
    page.keyboard.press("2")
    route.fulfill(json=[])
    wait_for_masks(page, 0, 2)
    ((_, targets),) = read_points(folder / "points.json").images
    assert [target.category_id for target in targets] == [1, 1]


def test_what_is_being_drawn_ends_with_its_picture(page, folder):
    page.keyboard.press("]")
    is_open(page, "b.png")
    page.keyboard.press("k")
    wait_for_masks(page, 1, 1)
    before = stored(folder)
    for tool, leave, name in (("a", "[", "a.png"), ("b", "]", "b.png"), ("p", "[", "a.png")):
        page.keyboard.press(tool)
        page.mouse.move(*at(page, 50.5, 48.5))
        page.mouse.down()
        page.mouse.move(*at(page, 70, 48))
        page.keyboard.press(leave)
        is_open(page, name)
        page.mouse.move(*at(page, 90, 48))
        page.mouse.up()
    wait_for_masks(page, 0, 1)
    assert stored(folder) == before


def test_done_stays_where_it_is_not_saved(page):
    page.route("**/status", lambda route: route.fulfill(status=500, json={"error": "disk full"}))
    page.keyboard.press("d")
    page.locator("#message", has_text="disk full").wait_for()
    assert page.inner_text("#title").startswith("a.png")


def test_this_picture_is_the_one_that_was_open_when_its_export_was_asked_for(page):
    page.select_option("#export-which", "this")
    page.route("**/api/export", lambda route: route.fulfill(json={"state": "failed", "error": ""}))
    route = held(page, "**/proposals", "g")
    page.keyboard.press("]")
    with page.expect_request("**/api/export") as asked:
        page.click("#export")
        route.fulfill(json=[])
    assert asked.value.post_data_json["images"] == [0]


def test_masks_that_fail_late_say_nothing_on_the_next_picture(page):
    """Their answer was no success, and its text was cut off by the next picture."""
    page.evaluate(
        """() => {
      const { fetch } = window;
      window.fetch = (path, options) => {
        if (!path.startsWith("/api/images/0/masks")) return fetch(path, options);
        const json = () => new Promise((_, cut) => { window.cut = () => cut(new Error("cut")); });
        return Promise.resolve({ ok: false, status: 500, json });
      };
    }"""
    )
    page.select_option("#assigner", "watershed")
    page.wait_for_function("() => Boolean(window.cut)")
    page.keyboard.press("]")
    is_open(page, "b.png")
    wait_for_masks(page, 1, 0)
    page.evaluate("() => window.cut()")
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve))")
    assert page.inner_text("#message-text") == ""


def test_more_clicks_and_strokes_are_of_the_target_that_is_on_its_way(page, folder):
    """However late the server answers, a click for what was just made belongs to it."""
    routes = []
    page.route("**/marks", lambda route: route.continue_() if routes else routes.append(route))
    page.mouse.click(*at(page, 100.5, 20.5))
    page.keyboard.down("Shift")
    page.mouse.click(*at(page, 110.5, 20.5))
    page.keyboard.up("Shift")
    page.keyboard.press("b")
    page.mouse.click(*at(page, 20.5, 80.5))
    for _ in range(500):
        if routes:
            break
        page.wait_for_timeout(10)
    routes[0].continue_()
    wait_for_masks(page, 0, 4)
    ((_, targets),) = read_points(folder / "points.json").images
    assert [len(target.points) for target in targets] == [1, 2]
    (stroke,) = read_points(folder / "points.json").marks[1].strokes
    assert stroke.segment_id == 2


def test_what_is_chosen_while_a_click_is_saved_stays_chosen(page):
    """The answer selects the target that it tells of only where nothing was chosen since."""
    page.mouse.click(*at(page, 100.5, 20.5))
    wait_for_masks(page, 0, 2)
    routes = []
    page.route("**/marks", lambda route: routes.append(route))
    page.mouse.click(*at(page, 20.5, 80.5))
    while not routes:
        page.wait_for_timeout(10)
    page.keyboard.press(".")  # the next of the two targets is the first
    assert page.locator("#targets .current .key").inner_text() == "#1"
    routes[0].continue_()
    wait_for_masks(page, 0, 3)
    assert page.locator("#targets .current .key").inner_text() == "#1"


@pytest.mark.parametrize("way", ["right clicks", "delete", "drag"])
def test_a_click_is_the_one_that_was_meant_however_late_its_turn_comes(page, folder, way):
    """Its place among the clicks of its target is another one after the removal before it."""
    page.keyboard.press("s")
    for revision, x in enumerate((20.5, 80.5, 110.5), start=2):
        page.mouse.click(*at(page, x, 20.5))
        wait_for_masks(page, 0, revision)
    route = held(page, "**/proposals", "g")
    page.mouse.click(*at(page, 50.5, 48.5), button="right")  # the first of four
    if way == "right clicks":
        page.mouse.click(*at(page, 20.5, 20.5), button="right")
    elif way == "delete":
        page.mouse.click(*at(page, 20.5, 20.5))
        page.keyboard.press("Delete")
    else:
        page.mouse.move(*at(page, 20.5, 20.5))
        page.mouse.down()
        page.mouse.move(*at(page, 20.5, 80.5), steps=4)
        page.mouse.up()
    route.fulfill(json=[])
    wait_for_masks(page, 0, 6)
    ((_, (target,)),) = read_points(folder / "points.json").images
    moved = [(20.5, 80.5)] if way == "drag" else []
    np.testing.assert_allclose(target.points, [*moved, (80.5, 20.5), (110.5, 20.5)], atol=0.5)
