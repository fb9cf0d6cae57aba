"""The annotation page from outside, as its users have it: a server process, a browser, clicks."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from point2mask.data.files import open_replacing

VIEWPORT = {"width": 1200, "height": 760}
JPEG_QUALITY = 75  # of a picture of the window
PATIENCE = 60_000  # milliseconds: machines are slow and shared


class NoBrowserError(Exception):
    """There is no playwright or no Chromium; one line that says what to do."""


@contextmanager
def served(
    folder: Path, *options: str, python: str = sys.executable
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server on a free port, and its process; stopped by Ctrl-C at the end."""
    command = [python, "-m", "point2mask", "annotate", str(folder), "--port", "0"]
    server = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        said = ""
        for line in server.stderr:
            said += line
            if found := re.match(r"open (\S+) ", line):
                break
        else:
            raise AssertionError(f"the server did not start: {said}")
        yield found[1], server
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(timeout=60)
        finally:
            server.kill()
            server.stderr.close()


class Server:
    """Requests over one connection that stays open."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        read = answer.read()
        assert answer.status == 200, read
        return read

    def change(self, targets: list[dict[str, Any]], revision: int, assigner: str) -> bytes:
        """The masks of other clicks, as the page asks for them."""
        body = {"revision": revision, "segments_info": targets}
        changed = json.loads(self.ask("PUT", "/api/images/0/marks", body))
        how = urlencode({"revision": changed["revision"], "assigner": assigner})
        return self.ask("GET", f"/api/images/0/masks?{how}")


@contextmanager
def chromium() -> Iterator[Any]:
    """Headless Chromium: that of ``POINT2MASK_CHROMIUM``, or playwright's own.

    Raises:
        NoBrowserError: one of them is missing.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise NoBrowserError("no playwright here; run: pip install playwright") from None
    with sync_playwright() as start:
        path = os.environ.get("POINT2MASK_CHROMIUM") or start.chromium.executable_path
        if not Path(path).is_file():
            raise NoBrowserError(
                f"no Chromium at {path}; set POINT2MASK_CHROMIUM to one, such as the one that "
                "`bash .ci/browser build/chromium` prints"
            )
        browser = start.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, url: str, routed: bool = False) -> Iterator[Any]:
    """The page, once its first picture is chosen; a script error is an error here.

    Chromium may send a request on its old way while ``page.route`` makes it a new one, and then
    nobody is told of it. ``routed`` is for who will call that: the way is made before the page is.
    """
    faults: list[str] = []
    page = browser.new_page(viewport=VIEWPORT)
    page.set_default_timeout(PATIENCE)
    if routed:
        page.route("**/nowhere", lambda route: route.continue_())
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#pictures .current")
    yield page
    page.close()
    assert not faults, faults


def place(page: Any, size: tuple[int, int], point: Sequence[float]) -> tuple[float, float]:
    """Where a point (x, y) of a picture of ``size`` (width, height) is in the window."""
    box = page.locator("#canvas").bounding_box()
    (width, height), (x, y) = size, point
    scale = 0.96 * min(box["width"] / width, box["height"] / height)
    left = box["x"] + (box["width"] - width * scale) / 2
    top = box["y"] + (box["height"] - height * scale) / 2
    return left + x * scale, top + y * scale


def add_category(page: Any, name: str, isthing: bool) -> None:
    page.fill("#category-name", name)
    page.select_option("#category-kind", str(int(isthing)))
    page.click("#new-category button")
    page.locator("#categories .name", has_text=re.compile(f"^{re.escape(name)}$")).wait_for()


def wait_for_masks(page: Any, index: int, revision: int) -> None:
    """Until the masks of a picture's clicks are painted."""
    page.wait_for_selector(f'#canvas[data-masks="{index}/{revision}"]')


def shoot(page: Any, path: Path) -> None:
    """The window as a small JPEG."""
    with open_replacing(path) as file:
        file.write(page.screenshot(type="jpeg", quality=JPEG_QUALITY))
