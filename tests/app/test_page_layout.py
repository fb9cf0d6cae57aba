"""The page at five sizes: nothing overlaps, and axe-core finds nothing against it."""

import pytest
from annotate_page import add_category, opened, served, wait_for_masks
from discs import at, save_discs

pytest.importorskip("fastapi", reason="needs point2mask[app]")

pytestmark = pytest.mark.browser
SIZES = [(1920, 1080), (1280, 800), (1024, 700), (820, 1180), (390, 844)]
# Pairs of visible elements of which neither holds the other and which share pixels of the window.
OVERLAPS = """() => {
  const open = document.body.dataset.drawer;
  const parts = [...document.querySelectorAll("button, input, select, canvas, h1, h2, p, .row")]
    .filter((e) => e.checkVisibility({ checkVisibilityCSS: true }))
    .filter((e) => !e.closest("dialog, #message"))
    .filter((e) => e.textContent || e.matches("input, select, canvas"))
    .filter((e) => !open || e.closest(open === "left" ? "#left" : "#right"));
  const boxes = parts.map((e) => {
    let { left, top, right, bottom } = e.getBoundingClientRect();
    for (let up = e.parentElement; up; up = up.parentElement) {
      if (getComputedStyle(up).overflowY === "visible") continue;
      const clip = up.getBoundingClientRect();
      left = Math.max(left, clip.left), top = Math.max(top, clip.top);
      right = Math.min(right, clip.right), bottom = Math.min(bottom, clip.bottom);
    }
    return { left, top, right, bottom };
  });
  const found = [];
  for (let i = 0; i < parts.length; i++) {
    for (let j = i + 1; j < parts.length; j++) {
      if (parts[i].contains(parts[j]) || parts[j].contains(parts[i])) continue;
      const [a, b] = [boxes[i], boxes[j]];
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 1)
        found.push([parts[i], parts[j]].map((e) => e.id || e.textContent));
    }
  }
  return found;
}"""
OUTSIDE = """() => [...document.querySelectorAll("#tools > *, #draw > *, #stage")]
  .filter((e) => e.checkVisibility({ checkVisibilityCSS: true }) && e.textContent)
  .filter((e) => { const b = e.getBoundingClientRect();
    return b.left < -1 || b.right > innerWidth + 1 || b.bottom > innerHeight + 1; })
  .map((e) => e.id || e.outerHTML)"""


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """A folder with two pictures, eighteen categories, and targets on the first picture."""
    long = "a picture with quite a long name, as telephones give them.png"
    photos = save_discs(tmp_path_factory.mktemp("layout") / "photos", "a.png", long)
    (photos / "left.dng").touch()
    with served(photos) as (url, _), opened(browser, url) as page:
        page.locator("#title", has_text=" — ").wait_for()
        for number in range(18):
            add_category(page, f"category {number + 1}", number != 17)
        page.mouse.click(*at(page, 50, 48))
        wait_for_masks(page, 0, 1)
        yield page


def still(page):
    """Waits until nothing slides any more."""
    page.evaluate("""async () => {
      await new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next)));
      const ending = document.getAnimations()
        .filter((a) => a.effect.getComputedTiming().endTime < Infinity);
      await Promise.allSettled(ending.map((a) => a.finished));
    }""")


@pytest.mark.parametrize("size", SIZES)
def test_nothing_overlaps(page, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    still(page)
    for drawer in ("", "left", "right"):
        if drawer:
            button = page.locator(f"#show-{drawer}")
            if not button.is_visible():
                continue
            button.click()
            still(page)
        assert page.evaluate(OVERLAPS) == []
        if drawer:
            page.keyboard.press("Escape")
            still(page)
    assert page.evaluate(OUTSIDE) == []
    box = page.locator("#canvas").bounding_box()
    assert box["width"] > 0.5 * min(size[0], 700)
    assert box["height"] > 0.5 * size[1]
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [SIZES[1], SIZES[4]])
def test_axe_finds_nothing(page, size, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)
    page.locator("#message-text").evaluate("e => { e.textContent = 'something is wrong'; }")
    page.locator("#message").evaluate("e => e.classList.add('shown')")
    for dialog in ("", "keys", "category"):
        if dialog:
            page.locator(f"#{dialog}").evaluate("e => e.showModal()")
        result = axe.run(page)
        assert not result.response["violations"], result.generate_report()
        if dialog:
            page.locator(f"#{dialog}").evaluate("e => e.close()")
    page.click("#message-close")


def test_the_chosen_category_is_in_sight(page):
    page.set_viewport_size({"width": 1280, "height": 800})
    page.keyboard.press("1")
    page.locator("#categories .row").last.evaluate("row => row.click()")
    page.locator("#categories .current", has_text="category 18").wait_for()
    box = page.locator("#categories").bounding_box()
    row = page.locator("#categories .current").bounding_box()
    assert box["y"] <= row["y"]
    assert row["y"] + row["height"] <= box["y"] + box["height"] + 1
