"""Two windows of the page, one of an earlier start or of another folder, one that is closed."""

import pytest
from annotate_page import add_category, opened, served, wait_for_masks
from discs import at, save_discs
from PIL import Image

from point2mask.data import read_points

pytest.importorskip("fastapi", reason="needs point2mask[app]")

pytestmark = pytest.mark.browser
STALE = "another folder is served now, or the server was started again: load the page again"


@pytest.fixture
def folder(tmp_path):
    return save_discs(tmp_path / "photos", "a.png", "b.png")


def is_open(page, name):
    page.locator("#title", has_text=f"{name} — ").wait_for()


def stored(folder):
    images = read_points(folder / "points.json").images
    return {record.file_name: [t.category_id for t in targets] for record, targets in images}


def category_names(folder):
    return [c.name for c in read_points(folder / "points.json").categories.values()]


def on_the_port_of(url):
    return "--port", url.rsplit(":", 1)[1].strip("/")


def stop(server):
    server.terminate()
    server.wait(timeout=60)


def is_refused(page):
    page.locator("#message", has_text=STALE).wait_for()
    page.click("#message-close")


def test_a_page_of_another_folder_changes_nothing(browser, folder, tmp_path):
    other = save_discs(tmp_path / "others", "c.png", "d.png")
    with served(other) as (url, server), opened(browser, url) as page:
        add_category(page, "tree", True)
        stop(server)
    with served(folder) as (url, server), opened(browser, url) as page:
        is_open(page, "a.png")
        add_category(page, "disc", True)
        stop(server)
        with served(other, *on_the_port_of(url)):
            page.mouse.click(*at(page, 50.5, 48.5))
            is_refused(page)
            assert page.inner_text("#saved") == "not saved"
            page.click("#categories .small")
            page.fill("#edit-name", "ball")
            page.click("#category button[value=save]")
            is_refused(page)
            page.keyboard.press("Control+z")
            is_refused(page)
            page.click("#export")
            page.locator("#export-status", has_text=STALE).wait_for()
            page.click("#train")
            page.locator("#training-status", has_text=STALE).wait_for()
            page.keyboard.press("]")
            is_refused(page)
            page.reload()
            is_open(page, "c.png")
            assert page.inner_text("#categories .name") == "tree"
    assert (category_names(other), stored(other)) == (["tree"], {})


def test_a_thumbnail_is_of_the_folder_that_is_served(browser, tmp_path):
    color = """() => {
      const image = document.querySelector("#pictures img");
      if (!image?.complete || !image.naturalWidth) return null;
      const context = document.createElement("canvas").getContext("2d");
      context.drawImage(image, 0, 0);
      return [...context.getImageData(5, 5, 1, 1).data].map((part) => part > 128).join();
    }"""
    for name, filled in (("one", (255, 0, 0)), ("two", (0, 0, 255))):
        (tmp_path / name).mkdir()
        Image.new("RGB", (64, 48), filled).save(tmp_path / name / "p.png")
    with served(tmp_path / "one") as (url, server), opened(browser, url) as page:
        assert page.wait_for_function(color).json_value() == "true,false,false,true"
        stop(server)
        with served(tmp_path / "two", *on_the_port_of(url)):
            page.goto("about:blank")
            page.goto(url)
            assert page.wait_for_function(color).json_value() == "false,false,true,true"


def test_a_category_of_another_window_is_learnt_with_its_targets(browser, folder):
    with (
        served(folder) as (url, _),
        opened(browser, url) as first,
        opened(browser, url) as second,
    ):
        is_open(second, "a.png")
        add_category(first, "disc", True)
        first.keyboard.press("]")
        is_open(first, "b.png")
        first.mouse.click(*at(first, 50.5, 48.5))
        wait_for_masks(first, 1, 1)
        second.keyboard.press("]")
        is_open(second, "b.png")
        wait_for_masks(second, 1, 1)
        assert second.locator("#targets li").count() == 1
        second.mouse.click(*at(second, 110.5, 10.5))
        wait_for_masks(second, 1, 2)
        assert second.inner_text("#saved") == "saved"
        assert not second.locator("#message").is_visible()
        assert stored(folder) == {"b.png": [1, 1]}


def test_undo_leaves_what_another_window_did_to_the_categories(browser, folder):
    with served(folder) as (url, _), opened(browser, url) as first:
        add_category(first, "disc", True)
        with opened(browser, url) as second:
            second.click("#categories .small")
            second.fill("#edit-name", "ball")
            second.click("#category button[value=save]")
            second.locator("#categories .name", has_text="ball").wait_for()
        for _ in range(2):  # the second time there is nothing of this window to undo
            first.keyboard.press("Control+z")
            first.locator("#message", has_text="changed in another window").wait_for()
            assert first.inner_text("#categories .name") == "ball"
        assert first.locator("#undo").is_disabled()
        assert category_names(folder) == ["ball"]


def test_masks_follow_the_clicks_of_another_window(browser, folder):
    with served(folder) as (url, _), opened(browser, url) as first:
        add_category(first, "disc", True)
        first.mouse.click(*at(first, 50.5, 48.5))
        wait_for_masks(first, 0, 1)
        with opened(browser, f"{url}#picture=a.png") as second:
            wait_for_masks(second, 0, 1)
            first.mouse.click(*at(first, 110.5, 80.5))
            wait_for_masks(first, 0, 2)
            second.select_option("#assigner", "watershed")
            wait_for_masks(second, 0, 2)
            assert second.locator("#targets li").count() == 2
            second.locator("#message", has_text="a.png: its clicks were changed").wait_for()


def test_a_window_with_changes_that_are_not_saved_asks_before_it_is_left(browser, folder):
    routes, asked = [], []

    def stay(dialog):
        asked.append(dialog.type)
        dialog.dismiss()

    with served(folder) as (url, _), opened(browser, url, routed=True) as page:
        page.on("dialog", stay)
        add_category(page, "disc", True)
        page.route("**/marks", lambda route: routes.append(route))
        page.mouse.click(*at(page, 50.5, 48.5))
        page.mouse.click(*at(page, 110.5, 10.5))
        while not routes:
            page.wait_for_timeout(10)
        with pytest.raises(Exception, match="ERR_ABORTED"):
            page.goto("about:blank")
        assert asked == ["beforeunload"]
        page.unroute("**/marks")
        routes[0].continue_()
        wait_for_masks(page, 0, 2)
        page.goto("about:blank")  # all is saved
        assert asked == ["beforeunload"]
    assert stored(folder) == {"a.png": [1, 1]}
