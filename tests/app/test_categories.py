"""Categories of the annotation server: changes, undo, and what their kinds do to targets."""

import os

import pytest
from annotation import DISC, GROUND, error, put, serve, stored, target, write_points_json

from point2mask.data import read_points

pytest.importorskip("fastapi", reason="needs point2mask[app]")


def test_categories(client, folder):
    put(client, [DISC])
    assert "'disc' exists" in error(
        client.post("/api/categories", json={"name": "disc", "isthing": 0})
    )
    assert "text that is not empty" in error(
        client.post("/api/categories", json={"name": "a\nb", "isthing": 1})
    )
    assert "disc has 1" in error(client.delete("/api/categories/1"))
    client.put("/api/categories/1", json={"name": "ball", "color": [1, 2, 3]})
    category = read_points(folder / "points.json").categories[1]
    assert (category.name, category.color) == ("ball", (1, 2, 3))
    put(client, [], 1)
    assert [c["id"] for c in client.delete("/api/categories/1").json()] == [2]
    # The clicks of that category come back with it.
    undo = "/api/images/0/undo"
    assert "was removed since" in error(client.post(undo, json={"revision": 2}))
    assert [c["id"] for c in client.post("/api/categories/undo").json()] == [1, 2]
    assert client.post(undo, json={"revision": 2}).json()["segments_info"] == [DISC]
    assert [c["id"] for c in client.delete("/api/categories/2").json()] == [1]
    assert [c["id"] for c in client.post("/api/categories/undo").json()] == [1, 2]
    assert [c["id"] for c in client.post("/api/categories/redo").json()] == [1]
    assert "no change of the categories" in error(client.post("/api/categories/redo"))
    assert "id of a category, got 9" in error(client.delete("/api/categories/9"))


def test_a_new_category_is_undone_unless_it_is_used(client):
    put(client, [DISC])
    for _ in range(2):  # the stuff, then the thing, which has a target
        answer = client.post("/api/categories/undo")
    assert "disc has some" in error(answer)


def test_stuff_is_one_target_a_picture(client, folder):
    other = target(3, (30.0, 20.0), category=2)
    assert "one target of ground, which is stuff" in error(put(client, [GROUND, other]))
    put(client, [DISC, target(3, (30.0, 20.0))])
    client.put("/api/categories/1", json={"name": "disc", "isthing": 0})  # two things become one
    (merged,) = client.get("/api/images/0").json()["segments_info"]
    assert (merged["id"], merged["points"]) == (1, [[20.0, 15.0], [30.0, 20.0]])
    assert [t.points for t in stored(folder)["a.png"]] == [((20.0, 15.0), (30.0, 20.0))]


def kind(client, isthing):
    return client.put("/api/categories/1", json={"name": "disc", "isthing": isthing})


def shown(client):
    return [client.get(f"/api/images/{index}").json()["segments_info"] for index in range(3)]


def test_a_kind_that_is_undone_gives_pictures_their_targets_back(client, folder):
    discs = [{**DISC, "area": 50.0}, target(3, (30.0, 20.0))]
    for index in range(3):
        put(client, discs, index=index)
    assert kind(client, 0).is_success
    merged = shown(client)
    assert [len(targets) for targets in merged] == [1, 1, 1]
    moved = [target(1, (8.0, 8.0))]
    put(client, moved, 2, index=1)  # its own way since then
    put(client, moved, 2, index=2)
    client.post("/api/images/2/undo", json={"revision": 3})  # as the kind had left it
    for _ in range(2):
        assert client.post("/api/categories/undo").json()[0]["isthing"] == 1
        assert shown(client) == [discs, moved, discs]
        saved = {name: len(targets) for name, targets in stored(folder).items()}
        assert saved == {"a.png": 2, "c.jpg": 1, "sub/b.png": 2}
        assert client.post("/api/categories/redo").json()[0]["isthing"] == 0
        assert shown(client) == [merged[0], moved, merged[2]]
    assert client.post("/api/categories/undo").is_success
    answer = client.get("/api/images/0").json()
    assert (answer["undo"], answer["redo"]) == (1, 0)
    assert [c["targets"] for c in client.get("/api/state").json()["categories"]] == [5, 0]


def test_a_kind_is_saved_with_all_pictures_or_not_at_all(client, monkeypatch):
    discs = [DISC, target(3, (30.0, 20.0))]
    for index in range(3):
        put(client, discs, index=index)
    room = []  # writes that the disk still takes

    def sync(_):
        if not room:
            raise OSError(28, "No space left on device")
        room.pop()

    monkeypatch.setattr(os, "fdatasync", sync)
    assert "No space left" in error(kind(client, 0), 500)
    assert client.get("/api/state").json()["categories"][0]["isthing"] == 1
    assert shown(client) == [discs, discs, discs]
    room.append(1)
    assert kind(client, 0).is_success
    assert [len(targets) for targets in shown(client)] == [1, 1, 1]
    assert "No space left" in error(client.post("/api/categories/undo"), 500)
    assert [len(targets) for targets in shown(client)] == [1, 1, 1]
    room.append(1)
    assert client.post("/api/categories/undo").is_success
    assert shown(client) == [discs, discs, discs]


def test_two_targets_of_stuff_in_a_file_become_one(folder):
    write_points_json(folder, [target(1, (1.0, 1.0)), target(2, (5.0, 5.0))], isthing=0)
    client = serve(folder)
    (merged,) = client.get("/api/images/0").json()["segments_info"]
    assert merged["points"] == [[1.0, 1.0], [5.0, 5.0]]
    assert any("joined another" in note for note in client.get("/api/state").json()["notes"])


def test_category_counts(client):
    put(client, [DISC, GROUND])
    put(client, [DISC], index=1)
    assert [c["targets"] for c in client.get("/api/state").json()["categories"]] == [2, 1]
    assert put(client, [GROUND], 1, index=1).json()["category_counts"] == {"1": 1, "2": 2}
