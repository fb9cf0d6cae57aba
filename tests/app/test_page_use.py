"""What people do on the page: keys alone, tools, corrections, what is kept, what is not lost."""

import io
import zipfile

import numpy as np
import pytest
from annotate_page import add_category, opened, place, served, wait_for_masks
from discs import HEIGHT, WIDTH, at, drag, save_discs, save_turned, saved
from PIL import Image

from point2mask.data import read_points

pytest.importorskip("fastapi", reason="needs point2mask[app]")

pytestmark = pytest.mark.browser


@pytest.fixture
def folder(tmp_path):
    """Three pictures of a red disc on blue; viewers turn the last one by a quarter."""
    photos = save_discs(tmp_path / "photos", "a.png", "b.png")
    save_turned(photos / "turned.jpg")
    return photos


@pytest.fixture
def page(browser, folder):
    with served(folder) as (url, _), opened(browser, url, routed=True) as page:
        page.locator("#title", has_text=" — ").wait_for()
        yield page


def click(page, x, y, revision, index=0, **options):
    page.mouse.click(*at(page, x, y), **options)
    wait_for_masks(page, index, revision)


def test_without_a_mouse(page, folder):
    page.keyboard.press("n")
    page.keyboard.type("disc")
    page.keyboard.press("Enter")
    page.locator("#categories .name", has_text="disc").wait_for()
    assert page.evaluate("document.activeElement.id") == "canvas"
    page.keyboard.press("ArrowUp")  # from the middle
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    wait_for_masks(page, 0, 1)
    ((target,), _) = saved(folder)
    np.testing.assert_allclose(target.points[0], (64, 48), atol=1)
    page.keyboard.press("s")  # one more for the same
    for _ in range(5):
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    wait_for_masks(page, 0, 2)
    ((target,), _) = saved(folder)
    box = page.locator("#canvas").bounding_box()
    scale = 0.96 * min(box["width"] / WIDTH, box["height"] / HEIGHT)
    moved = target.points[0][0] - target.points[1][0]
    assert abs(moved - 17 / scale) < 0.1
    page.keyboard.press("Tab")  # leaves the picture
    assert page.evaluate("document.activeElement.id") != "canvas"
    reached = set()
    for _ in range(40):
        reached.add(page.evaluate("document.activeElement.closest('[id]')?.id"))
        page.keyboard.press("Tab")
    assert {"categories", "targets", "opacity", "export", "pictures", "filter"} <= reached
    page.focus("#pictures")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#title", has_text="b.png — 128").wait_for()
    page.keyboard.press("[")
    page.locator("#title", has_text="a.png — 128").wait_for()


def test_arrows_on_the_slider_move_the_slider(page):
    page.focus("#opacity")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#opacity") == "51"
    assert page.inner_text("#title").startswith("a.png")


def test_the_list_of_targets_by_arrows(page):
    add_category(page, "disc", True)
    for number, x in enumerate((20, 60, 100), start=1):
        click(page, x, 48, number)
    page.focus("#targets .current .row")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert page.inner_text("#targets .current").split()[0] == "#2"
    assert page.evaluate("document.activeElement.closest('li').dataset.key") == "2"


def test_a_thing_that_becomes_stuff_joins_it(page, folder):
    add_category(page, "disc", True)
    add_category(page, "sea", False)
    page.keyboard.press("1")
    click(page, 50, 48, 1)
    page.keyboard.press("2")
    click(page, 100, 20, 2)
    click(page, 110, 80, 3)
    page.keyboard.press(",")  # the disc
    page.keyboard.press("c")
    wait_for_masks(page, 0, 4)
    targets, _ = saved(folder)
    assert [len(target.points) for target in targets] == [3]


def test_adding_twice_makes_two_and_both_are_undone(page):
    for name in ("one", "two"):
        page.fill("#category-name", name)
        page.locator("#new-category button").click(click_count=2)
        page.locator("#categories .name", has_text=name).wait_for()
    assert page.locator("#categories .name").all_inner_texts() == ["one", "two"]
    page.keyboard.press("Control+z")
    page.locator("#categories .name", has_text="two").wait_for(state="detached")
    page.keyboard.press("Control+y")
    page.locator("#categories .name", has_text="two").wait_for()


def test_a_category_is_changed_in_a_dialogue(page, folder):
    add_category(page, "disc", True)
    page.click("#categories .small")
    page.fill("#edit-name", "ball")
    page.select_option("#edit-kind", "0")
    page.fill("#edit-color", "#102030")
    page.click("#category button[value=save]")
    page.locator("#categories .name", has_text="ball").wait_for()
    (category,) = read_points(folder / "points.json").categories.values()
    assert (category.name, category.isthing, category.color) == ("ball", False, (16, 32, 48))
    page.click("#categories .small")
    page.click("#edit-remove")
    page.locator("#categories li").wait_for(state="detached")


def test_what_was_chosen_is_there_after_a_reload(page):
    page.keyboard.press("]")
    page.locator("#title", has_text="b.png — ").wait_for()
    page.select_option("#assigner", "watershed")
    page.fill("#opacity", "80")
    page.reload()
    page.locator("#title", has_text="b.png — ").wait_for()
    assert page.input_value("#assigner") == "watershed"
    assert page.input_value("#opacity") == "80"


def test_a_drag_on_the_picture_moves_it_and_sets_no_click(page, folder):
    add_category(page, "disc", True)
    x, y = at(page, 20, 20)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y + 30, steps=5)
    page.mouse.up()
    page.mouse.click(x + 200, y + 30)  # where the same pixel is now
    wait_for_masks(page, 0, 1)
    ((target,), _) = saved(folder)
    np.testing.assert_allclose(target.points, [(20, 20)], atol=0.3)


def test_messages_do_not_move_the_picture(page):
    before = page.locator("#canvas").bounding_box()
    page.mouse.click(*at(page, 50, 48))
    page.locator("#message", has_text="choose a category first").wait_for()
    assert page.locator("#canvas").bounding_box() == before


def test_after_a_new_start_the_page_asks_to_be_loaded_again(browser, folder):
    with served(folder) as (url, server), opened(browser, url) as page:
        page.locator("#title", has_text=" — ").wait_for()
        add_category(page, "disc", True)
        click(page, 50, 48, 1)
        server.terminate()
        server.wait(timeout=60)
        with served(folder, "--port", url.rsplit(":", 1)[1].strip("/")):
            page.mouse.click(*at(page, 20, 20))
            page.locator("#message", has_text="was started again: load the page again").wait_for()
            assert len(saved(folder)[0]) == 1
            page.reload()
            wait_for_masks(page, 0, 0)
            click(page, 20, 20, 1)
            assert len(saved(folder)[0]) == 2
            assert not page.locator("#message").is_visible()


def test_clicks_on_nothing_and_on_the_selected(page, folder):
    add_category(page, "disc", True)
    click(page, 50, 48, 1)
    page.keyboard.press("x")
    click(page, 110, 20, 2)
    page.keyboard.press("a")
    page.keyboard.down("Alt")
    click(page, 110, 80, 3)
    page.keyboard.up("Alt")
    targets, marks = saved(folder)
    assert (len(targets), len(marks.rest)) == (1, 2)
    assert "nothing" in page.locator("#targets li").last.inner_text()
    page.keyboard.press("Delete")
    wait_for_masks(page, 0, 4)
    assert len(saved(folder)[1].rest) == 1


def test_brush_eraser_and_polygon(page, folder):
    add_category(page, "disc", True)
    click(page, 50, 48, 1)
    page.keyboard.press("b")
    drag(page, (90, 20), (110, 20))
    wait_for_masks(page, 0, 2)
    page.keyboard.press("e")
    drag(page, (50, 40), (60, 40))
    wait_for_masks(page, 0, 3)
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    for x, y in ((90, 60), (110, 60), (110, 80)):
        page.mouse.click(*at(page, x, y))
    page.mouse.click(*at(page, 90, 60))  # closes it, as a new target
    wait_for_masks(page, 0, 4)
    targets, marks = saved(folder)
    assert [(s.shape, s.segment_id) for s in marks.strokes] == [
        ("line", 1),
        ("line", 0),
        ("polygon", 2),
    ]
    assert len(targets) == 2
    ids = page.evaluate(
        """async () => {
      const { readMasks } = await import("/static/api.js");
      const { ids } = await readMasks(0, 4, { cue: "built-in", assigner: "merge" });
      return [...ids];
    }"""
    )
    ids = np.reshape(ids, (HEIGHT, WIDTH))
    assert (ids[20, 91:110] == 1).all()
    assert (ids[40, 51:60] == 0).all()
    assert ids[65, 105] == 2
    page.keyboard.press("Control+z")
    wait_for_masks(page, 0, 5)
    assert len(saved(folder)[1].strokes) == 2


def test_an_erased_part_leaves_the_target_selected(page, folder):
    add_category(page, "disc", True)
    click(page, 50, 48, 1)
    page.keyboard.press("b")
    drag(page, (90, 20), (110, 20))
    page.keyboard.press("e")
    drag(page, (95, 20), (97, 20))
    page.keyboard.press("b")
    drag(page, (90, 40), (110, 40))
    wait_for_masks(page, 0, 4)
    targets, marks = saved(folder)
    assert len(targets) == 1
    assert [stroke.segment_id for stroke in marks.strokes] == [1, 0, 1]


def test_corners_are_taken_back_and_polygons_end_by_keys(page, folder):
    add_category(page, "disc", True)
    click(page, 50, 48, 1)
    page.keyboard.press("p")
    for x, y in ((90, 60), (110, 60), (10, 10), (20, 10)):
        page.mouse.click(*at(page, x, y))
    page.keyboard.press("Backspace")
    page.keyboard.press("Control+z")
    page.mouse.click(*at(page, 110, 80))
    page.keyboard.press("Enter")  # shows the crosshair, in the middle
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    wait_for_masks(page, 0, 2)
    (target,), marks = saved(folder)  # neither key took the click away
    (polygon,) = marks.strokes
    np.testing.assert_allclose(polygon.points, [(90, 60), (110, 60), (110, 80), (64, 48)], atol=1)
    assert len(target.points) == 1


def test_a_turned_picture_is_upright_and_clicks_are_of_the_stored_pixels(page, folder):
    page.locator("#pictures .picture").last.click()
    page.locator("#title", has_text="turned.jpg — 96").wait_for()
    add_category(page, "disc", True)
    # The disc about (50, 48) of the stored picture is shown about (96 - 48, 50).
    x, y = place(page, (HEIGHT, WIDTH), (HEIGHT - 30, 50))
    page.mouse.click(x, y)
    wait_for_masks(page, 2, 1)
    (target,), _ = saved(folder, "turned.jpg")
    np.testing.assert_allclose(target.points, [(50, 30)], atol=0.5)


def test_clicks_are_copied_to_the_next_picture(page, folder):
    add_category(page, "disc", True)
    click(page, 50, 48, 1)
    page.keyboard.press("d")  # done, and on
    page.locator("#title", has_text="b.png — ").wait_for()
    page.keyboard.press("k")
    wait_for_masks(page, 1, 1)
    assert saved(folder, "b.png")[0] == saved(folder)[0]
    assert saved(folder)[1].status == "done"
    assert page.inner_text("#count") == "2 of 3 pictures have clicks, 1 done"


def test_what_a_network_proposes_is_taken_and_undone(page, folder):
    add_category(page, "disc", True)
    page.keyboard.press("g")
    page.locator("#message", has_text="there is no network that could propose clicks").wait_for()
    assert page.locator("#propose").is_hidden()
    click(page, 50, 48, 1)
    found = [[[100.5, 20.5]], [[50.5, 48.5]], [[20.5, 70.5]]]
    answer = [
        {"id": 1 + i, "category_id": 1, "iscrowd": 0, "points": points}
        for i, points in enumerate(found)
    ]
    ((x, y),) = saved(folder)[0][0].points
    answer[1]["points"] = [[x, y]]  # where a click is by now
    page.route("**/proposals", lambda route: route.fulfill(json=answer))
    page.keyboard.press("g")
    wait_for_masks(page, 0, 2)
    targets, _ = saved(folder)
    assert [target.id for target in targets] == [1, 2, 3]
    assert [target.points for target in targets[1:]] == [((100.5, 20.5),), ((20.5, 70.5),)]
    page.keyboard.press("Control+z")
    wait_for_masks(page, 0, 3)
    assert len(saved(folder)[0]) == 1
    page.unroute("**/proposals")
    page.route("**/proposals", lambda route: route.fulfill(json=[]))
    page.keyboard.press("g")
    page.locator("#message", has_text="finds nothing here").wait_for()


def test_a_zip_of_one_picture(page, folder):
    add_category(page, "disc", True)
    click(page, 50, 48, 1)
    page.select_option("#format", "overlays")
    page.select_option("#export-which", "this")
    with page.expect_download() as download:
        page.click("#export-zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        names = archive.namelist()
        assert "overlays/export.json" in names
        Image.open(io.BytesIO(archive.read("overlays/a.jpg"))).verify()
    assert not folder.with_name("photos_exports").exists()


def test_hovering_shows_the_target(page):
    add_category(page, "disc", True)
    click(page, 50, 48, 1)
    click(page, 100, 20, 2)
    page.keyboard.press("Escape")
    page.mouse.move(*at(page, 45, 40))
    page.locator("#targets .hovered", has_text="#1").wait_for()
    page.mouse.move(*at(page, 120, 10))
    page.locator("#targets .hovered", has_text="#2").wait_for()
    page.keyboard.press("m")
    assert page.locator("#hidden-masks").is_visible()
