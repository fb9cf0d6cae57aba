"""Corrections, clicks on nothing, and whether a picture is done, through the annotation server."""

import numpy as np
import pytest
from annotation import DISC, GROUND, decode, error, mark, put, serve

from point2mask.app import Project
from point2mask.cli import main
from point2mask.data import read_panoptic

STROKE = {"segment_id": 1, "shape": "line", "radius": 2.0, "points": [[5.0, 25.0], [12.0, 25.0]]}
ERASED = {"segment_id": 0, "shape": "polygon", "points": [[18, 13], [23, 13], [23, 18], [18, 18]]}


def test_corrections_bind_the_masks(client, folder, tmp_path):
    answer = mark(client, [DISC, GROUND], rest=[[36.5, 3.5]], strokes=[STROKE, ERASED]).json()
    assert answer["rest"] == [[36.5, 3.5]]
    assert [s["segment_id"] for s in answer["strokes"]] == [1, 0]
    ids = decode(client.get("/api/images/0/masks?revision=1").content)
    assert (ids[24:26, 4:12] == 1).all()  # painted, whatever the colours say
    assert (ids[13:18, 18:23] == 0).all()  # erased, with the click in it
    assert ids[3, 36] == 0
    # What the page shows, the command line makes.
    run = ["label", "--images", str(folder), "--points", str(folder / "points.json")]
    assert main([*run, "--out", str(tmp_path / "labels"), "--workers", "1"]) == 0
    dataset = read_panoptic(tmp_path / "labels" / "panoptic.json")
    np.testing.assert_array_equal(dataset.segment_map(dataset.images[0]), ids)
    answer = client.post("/api/images/0/undo", json={"revision": 1}).json()
    assert (answer["rest"], answer["strokes"], answer["segments_info"]) == ([], [], [])
    answer = client.post("/api/images/0/redo", json={"revision": 2}).json()
    assert [s["segment_id"] for s in answer["strokes"]] == [1, 0]
    again = serve(folder).get("/api/images/0").json()
    assert (again["strokes"], again["rest"]) == (answer["strokes"], answer["rest"])


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"rest": [[40.0, 3.0]]}, "rest clicks inside 40 x 30"),
        ({"rest": [[20.2, 15.9]]}, "at most one point in a pixel"),
        ({"strokes": [{**STROKE, "segment_id": 9}]}, "one of 9"),
        ({"strokes": [{**ERASED, "points": [[1, 1], [2, 2]]}]}, "at least 3 points"),
        ({"strokes": [{**STROKE, "points": [[1, 1e9]]}]}, "strokes near the image"),
        ({"strokes": [{**STROKE, "shape": "circle"}]}, "strokes[0].shape"),
        ({"strokes": [{**STROKE, "radius": -1}]}, "strokes[0].radius"),
    ],
)
def test_refuses_marks(client, folder, marks, message):
    put(client, [DISC])
    assert message in error(mark(client, [DISC], 1, **marks))
    assert client.get("/api/images/0").json()["revision"] == 1


def test_only_people_need_be_clicked(client):
    """What a click on nothing takes belongs to nobody."""
    mark(client, [DISC], rest=[[3.0, 3.0]])
    ids = decode(client.get("/api/images/0/masks?revision=1").content)
    assert ids[15, 20] == 1
    assert (ids == 0).mean() > 0.5


def test_status_is_kept_and_skipped_pictures_are_not_exported(client, folder):
    put(client, [DISC])
    put(client, [DISC], index=1)
    answer = client.put("/api/images/1/status", json={"revision": 1, "status": "skip"}).json()
    assert (answer["status"], answer["undo"]) == ("skip", 1)
    assert client.post("/api/images/1/undo", json={"revision": 2}).json()["status"] == "skip"
    client.post("/api/images/1/redo", json={"revision": 3})
    assert [i["status"] for i in serve(folder).get("/api/state").json()["images"]] == [
        "",
        "skip",
        "",
    ]
    project = Project(folder)
    assert [record.file_name for record, _ in project.labels().images] == ["a.png"]
    assert [record.file_name for record, _ in project.labels([1]).images] == ["c.jpg"]
    wrong = client.put("/api/images/1/status", json={"revision": 4, "status": "perhaps"})
    assert "status" in error(wrong)
