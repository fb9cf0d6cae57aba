"""What a page of an earlier start is told, and one whose categories or picture are others now."""

import json

import pytest
from annotation import DISC, error, mark, put, serve

from point2mask.app.project import MAX_STROKES

STALE = "another folder is served now, or the server was started again: load the page again"
OF_START = "x-point2mask-start"
# What reads and what changes something.
REQUESTS = [
    ("GET", "/api/images/0", None),
    ("GET", "/api/images/0/picture", None),
    ("GET", "/api/images/0/thumbnail", None),
    ("GET", "/api/images/0/masks?revision=0", None),
    ("PUT", "/api/images/0/marks", {"revision": 0, "segments_info": [DISC]}),
    ("PUT", "/api/images/0/status", {"revision": 0, "status": "done"}),
    ("GET", "/api/categories", None),
    ("POST", "/api/categories", {"name": "new", "isthing": 1}),
    ("PUT", "/api/categories/1", {"name": "new"}),
    ("DELETE", "/api/categories/1", None),
    ("POST", "/api/categories/undo", {}),
    ("POST", "/api/export", {"format": "points", "cue": "built-in", "assigner": "merge"}),
    ("POST", "/api/training", {"steps": 8}),
    ("GET", "/api/training", None),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_a_page_of_another_start_is_refused(client, folder, method, path, body):
    earlier = client.get("/api/state").json()["start"]
    again = serve(folder)
    before = (folder / "points.json").read_bytes()
    refused = again.request(method, path, json=body, headers={OF_START: earlier})
    assert error(refused, 412) == STALE
    address = f"{path}{'&' if '?' in path else '?'}start={earlier}"
    assert error(again.request(method, address, json=body), 412) == STALE
    assert (folder / "points.json").read_bytes() == before
    assert again.get("/api/state").json()["start"] != earlier


def test_the_page_of_this_start_and_programs_are_served(client):
    start = client.get("/api/state").json()["start"]
    assert client.get("/api/images/0", headers={OF_START: start}).is_success
    assert client.get(f"/api/images/0/thumbnail?start={start}").is_success
    assert put(client, [DISC]).is_success  # without a word of it


def test_a_step_of_categories_that_another_window_changed_is_refused(client):
    def seen():
        shown = client.get("/api/categories").json()
        return {"seen": [{k: v for k, v in c.items() if k != "targets"} for c in shown]}

    before = seen()
    renamed = client.put("/api/categories/1", json={"name": "ball", **before})
    assert [c["name"] for c in renamed.json()] == ["ball", "ground"]
    for method, path, body in (
        ("POST", "/api/categories/undo", {}),
        ("POST", "/api/categories/redo", {}),
        ("PUT", "/api/categories/1", {"name": "disc", "color": [1, 2, 3]}),
    ):
        refused = client.request(method, path, json={**body, **before})
        assert error(refused, 409) == "the categories were changed in another window"
    assert [c["name"] for c in client.get("/api/categories").json()] == ["ball", "ground"]
    undone = client.post("/api/categories/undo", json=seen())
    assert [c["name"] for c in undone.json()] == ["disc", "ground"]
    redone = client.post("/api/categories/redo", json=seen())
    assert [c["name"] for c in redone.json()] == ["ball", "ground"]


def test_as_many_corrections_as_are_allowed_fit_in_a_request(client):
    points = [[round(0.37 * k % 40, 2) + 0.01, 12.34] for k in range(80)]
    stroke = {"segment_id": 1, "shape": "line", "radius": 12.25, "points": points}
    assert len(json.dumps([stroke] * MAX_STROKES)) > 2**20
    assert mark(client, [DISC], strokes=[stroke] * MAX_STROKES).is_success
    stroke["points"] = points * 20
    refused = mark(client, [DISC], 1, strokes=[stroke] * 200)
    assert "a picture's clicks and corrections by hand all go in one" in error(refused, 413)
