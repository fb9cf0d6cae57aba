"""Ids of new categories and images: none is used again, none is larger than a file can hold."""

import json

import pytest
from annotation import DISC, error, put, serve, stored, target

from point2mask.data.json_files import MAX_ID, MAX_IDENTIFIER

pytest.importorskip("fastapi", reason="needs point2mask[app]")

from point2mask.app.ids import Ids


def add(client, name):
    return client.post("/api/categories", json={"name": name, "isthing": 1}).json()[-1]["id"]


def test_the_next_one_and_at_the_end_the_smallest():
    ids = Ids(9)
    assert ids.free() == 1
    ids.take([-3])
    assert ids.free() == 1
    ids.take([1, 2, 8])
    assert ids.free() == 9
    ids.take([9])
    assert ids.free() == 3


def test_clicks_of_a_category_that_is_gone_do_not_come_back_as_another(client, folder):
    dog = add(client, "dog")
    put(client, [target(1, (5.0, 5.0), category=dog)])
    put(client, [], 1)
    assert client.delete(f"/api/categories/{dog}").is_success
    assert add(client, "cat") > dog
    assert "was removed since" in error(client.post("/api/images/0/undo", json={"revision": 2}))
    # One that was undone may come back too.
    bird = add(client, "bird")
    client.post("/api/categories/undo")
    assert add(client, "fish") > bird


def test_beside_the_largest_ids_there_is_room(folder):
    content = {
        "images": [{"id": MAX_IDENTIFIER, "file_name": "a.png", "height": 30, "width": 40}],
        "annotations": [],
        "categories": [{"id": MAX_ID, "name": "disc", "isthing": 1}],
    }
    (folder / "points.json").write_text(json.dumps(content))
    client = serve(folder)
    assert add(client, "dog") == 1
    assert put(client, [DISC], index=1).is_success
    assert stored(folder)["c.jpg"][0].points == ((20.0, 15.0),)
    assert len(serve(folder).get("/api/state").json()["categories"]) == 2
