"""The annotation server, without a socket: changes, undo, saving, limits and refusals."""

import io
import os

import numpy as np
import pytest
from annotation import DISC, GROUND, decode, error, put, serve, stored, target, write_points_json
from PIL import Image
from prompt_networks import write_networks

from point2mask.app import project
from point2mask.app.project import MAX_POINTS
from point2mask.data import read_points, read_rgb
from point2mask.label import label_image
from point2mask.label.prompts import PromptableNetwork


def test_state_lists_pictures_categories_and_choices(client, folder):
    state = client.get("/api/state").json()
    assert [image["name"] for image in state["images"]] == ["a.png", "c.jpg", "sub/b.png"]
    assert [(c["id"], c["name"], c["isthing"]) for c in state["categories"]] == [
        (1, "disc", 1),
        (2, "ground", 0),
    ]
    assert state["cues"] == ["built-in"]
    assert state["assigners"] == ["merge", "watershed", "shortest_path", "transport"]
    assert state["file"] == str(folder / "points.json")


def test_every_change_is_in_the_file_at_once(client, folder):
    answer = put(client, [DISC, GROUND]).json()
    assert (answer["revision"], answer["undo"], answer["redo"]) == (1, 1, 0)
    assert answer["segments_info"] == [DISC, GROUND]
    first, second = stored(folder)["a.png"]
    assert (first.points, second.points) == (((20.0, 15.0),), ((3.0, 3.0), (37.5, 26.0)))
    assert client.get("/api/state").json()["images"][0]["targets"] == 2
    assert not list(folder.rglob("*.tmp"))
    # Another server goes on from there.
    again = serve(folder).get("/api/images/0").json()
    assert again["segments_info"] == [DISC, GROUND]


def test_undo_and_redo(client, folder):
    moved = target(1, (22.0, 16.0))
    put(client, [DISC])
    put(client, [moved], 1)
    put(client, [], 2)
    assert "a.png" not in stored(folder)

    def step(what, revision):
        return client.post(f"/api/images/0/{what}", json={"revision": revision}).json()

    assert step("undo", 3)["segments_info"] == [moved]
    assert step("undo", 4)["segments_info"] == [DISC]
    assert stored(folder)["a.png"][0].points == ((20.0, 15.0),)
    answer = step("redo", 5)
    assert (answer["segments_info"], answer["undo"], answer["redo"]) == ([moved], 2, 1)
    put(client, [GROUND], 6)  # a change forgets what was undone
    assert "nothing to redo" in error(client.post("/api/images/0/redo", json={"revision": 7}))
    other = client.post("/api/images/1/undo", json={"revision": 0})
    assert "nothing to undo" in error(other)  # every picture has its own history


def test_masks_are_those_of_label_image(client, folder):
    put(client, [DISC, GROUND])
    image = read_rgb(folder / "a.png")
    targets = read_points(folder / "points.json").images[0][1]
    for assigner in ("merge", "watershed", "shortest_path", "transport"):
        for _ in range(2):  # computed, and from what is kept
            got = client.get(f"/api/images/0/masks?revision=1&assigner={assigner}")
            expected = label_image(image, targets, assigner, is_thing=[True, False]) + 1
            np.testing.assert_array_equal(decode(got.content), expected)
    assert (decode(got.content) == 1).sum() > 100
    assert "have changed" in error(client.get("/api/images/0/masks?revision=0"), 409)
    assert "assigner of merge" in error(client.get("/api/images/0/masks?revision=1&assigner=x"))


def test_edge_maps_are_a_cue(folder, tmp_path):
    edges = tmp_path / "edges"
    edges.mkdir()
    steps = np.zeros((30, 40), np.uint8)
    steps[:, 10] = 255
    Image.fromarray(steps).save(edges / "a.png")
    client = serve(folder, edges_dir=edges)
    client.post("/api/categories", json={"name": "disc", "isthing": 1})
    put(client, [DISC, target(2, (3.0, 3.0))])
    got = client.get("/api/images/0/masks?revision=1&cue=edge maps&assigner=watershed")
    targets = read_points(folder / "points.json").images[0][1]
    expected = label_image(
        read_rgb(folder / "a.png"), targets, "watershed", edges=steps.astype(float)
    )
    np.testing.assert_array_equal(decode(got.content), expected + 1)
    put(client, [DISC], index=1)
    refusal = client.get("/api/images/1/masks?revision=1&cue=edge maps")
    assert "got none for c.jpg" in error(refusal)
    assert "cue of built-in, edge maps" in error(
        client.get("/api/images/0/masks?revision=1&cue=checkpoint")
    )


def test_a_promptable_network_is_a_cue(folder, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime", reason="needs point2mask[prompts]")
    prompts = PromptableNetwork(write_networks(tmp_path / "sam"))
    client = serve(folder, prompts=prompts)
    assert client.get("/api/state").json()["cues"] == ["built-in", "prompts"]
    client.post("/api/categories", json={"name": "disc", "isthing": 1})
    far = target(2, (3.0, 3.0))
    put(client, [DISC, far])
    assert client.post("/api/images/0/warm?cue=prompts").is_success
    got = client.get("/api/images/0/masks?revision=1&cue=prompts")
    targets = read_points(folder / "points.json").images[0][1]
    expected = label_image(read_rgb(folder / "a.png"), targets, prompts=prompts)
    np.testing.assert_array_equal(decode(got.content), expected + 1)


def test_a_replaced_picture_is_noticed(client, folder):
    put(client, [DISC, GROUND])
    before = decode(client.get("/api/images/0/masks?revision=1&assigner=watershed").content)
    flipped = np.full((30, 40, 3), 90, np.uint8)
    flipped[:, 20:] = 220
    Image.fromarray(flipped).save(folder / "a.png", compress_level=0)
    after = decode(client.get("/api/images/0/masks?revision=1&assigner=watershed").content)
    assert (before != after).any()


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_stored_pixels_and_how_they_are_turned(folder, suffix):
    tag = Image.Exif()
    tag[0x0112] = 6  # viewers turn it by a quarter
    name = f"turned.{suffix}"
    picture = Image.new("RGB", (40, 30), "red")
    picture.paste("blue", (0, 0, 20, 30))
    picture.save(folder / name, exif=tag)
    client = serve(folder)
    index = [i["name"] for i in client.get("/api/state").json()["images"]].index(name)
    said = client.get(f"/api/images/{index}").json()
    # Pillow turns a TIFF as it reads it.
    stored = (1, 30, 40) if suffix == "tiff" else (6, 40, 30)
    assert (said["orientation"], said["width"], said["height"]) == stored
    answer = client.get(f"/api/images/{index}/picture")
    sent = Image.open(io.BytesIO(answer.content))  # which browsers do not turn
    assert sent.size == stored[1:]
    assert not sent.getexif()
    corner = (5, 15) if suffix == "tiff" else (15, 5)
    assert np.abs(np.array(sent, int)[corner] - (0, 0, 255)).max() < 20
    assert answer.headers["x-content-type-options"] == "nosniff"
    small = Image.open(io.BytesIO(client.get(f"/api/images/{index}/thumbnail").content))
    assert small.size == (30, 40)  # upright
    assert np.abs(np.array(small, int)[5, 15] - (0, 0, 255)).max() < 20


def test_a_jpeg_is_sent_as_it_is(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    tag = Image.Exif()
    tag[0x0112] = 3
    Image.fromarray(pixels).save(folder / "c.jpg", exif=tag, quality=30)
    sent = serve(folder).get("/api/images/1/picture").content
    np.testing.assert_array_equal(
        np.array(Image.open(io.BytesIO(sent))), read_rgb(folder / "c.jpg")
    )


def test_broken_jpegs_and_four_colours(folder):
    content = (folder / "c.jpg").read_bytes()
    (folder / "c.jpg").write_bytes(content[: len(content) // 2])
    Image.new("CMYK", (8, 8)).save(folder / "d.jpg")
    client = serve(folder)
    assert "expected a complete image" in error(client.get("/api/images/1/picture"))
    assert "expected a complete image" in error(client.get("/api/images/1/thumbnail"))
    sent = client.get("/api/images/2/picture").content
    assert Image.open(io.BytesIO(sent)).mode == "RGB"


def test_what_is_left_out_is_said(folder):
    for name in ("e.dng", "f.tar", "g.tar.gz"):
        (folder / name).touch()
    (folder / "line\nbreak.png").touch()
    (folder / os.fsdecode(b"not-utf8-\xff.png")).touch()
    (folder / "sub\\b.png").touch()  # sub/b.png to programs of Windows
    (folder / "c:30.png").touch()  # of a drive there
    Image.new("RGB", (5, 5)).save(folder / "overlay.png")
    (folder / "predicted").mkdir()
    (folder / "predicted" / "panoptic.json").touch()
    Image.new("RGB", (5, 5)).save(folder / "predicted" / "mask.png")
    state = serve(folder).get("/api/state").json()
    assert [i["name"] for i in state["images"]] == ["a.png", "c.jpg", "overlay.png", "sub/b.png"]
    said = "\n".join(state["notes"])
    for kind in (".dng", ".tar", ".tar.gz"):
        assert f"left out 1 of the kind {kind}\n" in said
    assert (
        "left out 4 whose names hold control characters or backslashes, begin with a drive or"
        in said
    )
    assert "left out the folder predicted" in said
    assert said.isascii()


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([target(1, (40.0, 3.0))], "inside 40 x 30 pixels"),
        ([target(1, (-1.0, 3.0))], "inside 40 x 30 pixels"),
        ([target(1)], "expected points for every target"),
        ([target(1, (3.0, 3.0)), target(2, (3.9, 3.2))], "at most one point in a pixel"),
        ([target(1, (3.0, 3.0)), target(1, (5.0, 5.0))], "unique segment ids"),
        ([target(1, (3.0, 3.0), category=7)], "id of one of the categories"),
        ([target(0, (3.0, 3.0))], "an integer >= 1, got 0"),
        ([{"id": 1, "category_id": 1, "points": [[1]]}], "a list of length 2, got [1]"),
        ("all", "a list, got 'all'"),
    ],
)
def test_refuses_targets_and_keeps_what_was(client, folder, targets, message):
    put(client, [DISC])
    before = (folder / "points.json").read_bytes()
    assert message in error(put(client, targets, 1))
    assert (folder / "points.json").read_bytes() == before
    assert client.get("/api/images/0").json()["segments_info"] == [DISC]


def test_refuses_too_many_clicks(client):
    points = [(x / 100, y / 100) for x in range(0, 4000, 50) for y in range(0, 3000, 100)]
    assert len(points) > MAX_POINTS
    assert f"at most {MAX_POINTS} clicks" in error(put(client, [target(1, *points)]))


def test_more_clicks_than_the_page_takes_can_become_fewer(folder):
    points = [[x / 2 + 0.25, y / 2 + 0.25] for y in range(0, 60, 2) for x in range(0, 80, 2)]
    many = [target(number, point) for number, point in enumerate(points, start=1)]
    write_points_json(folder, many)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project, "MAX_POINTS", len(many) - 100)
        client = serve(folder)
        assert put(client, many[1:]).json()["segments_info"] == many[1:]
        assert "clicks on an image" in error(put(client, many, 1))


def test_a_picture_that_is_gone_is_said_before_anything_is_saved(client, folder):
    assert client.get("/api/images/0").is_success
    (folder / "a.png").unlink()
    put_back = {"revision": 0, "status": "done"}
    assert "a.png: expected a picture" in error(put(client, [DISC]))
    assert "a.png: expected a picture" in error(client.put("/api/images/0/status", json=put_back))
    assert stored(folder) == {}


def test_two_windows_do_not_overwrite_each_other(client):
    put(client, [DISC])
    assert "another window" in error(put(client, [GROUND], 0), 409)
    assert "another window" in error(client.post("/api/images/0/undo", json={"revision": 0}), 409)


def test_a_file_changed_by_somebody_else_is_not_overwritten(client, folder):
    put(client, [DISC])
    path = folder / "points.json"
    path.write_text(path.read_text() + " ")
    theirs = path.read_bytes()
    assert "another program has changed it" in error(put(client, [GROUND], 1), 409)
    assert path.read_bytes() == theirs


def test_a_failed_save_changes_nothing(client, folder, monkeypatch):
    put(client, [DISC])

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", full)
        assert "No space left" in error(put(client, [GROUND], 1), 500)
    assert client.get("/api/images/0").json()["revision"] == 1
    assert put(client, [GROUND], 1).json()["segments_info"] == [GROUND]
    assert not list(folder.rglob("*.tmp"))
