"""The annotation server without a socket, for tests."""

import json

import numpy as np
import pytest

from point2mask.data import read_points

TestClient = pytest.importorskip("fastapi.testclient", reason="needs point2mask[app]").TestClient

from point2mask.app import Cues, Masks, Project, create_app  # noqa: E402

# What trains for the server: the recipe itself on smaller pictures.
SMALL_TRAINING = """
import sys
from point2mask.cli import main
small = "augment.short_sides=[48] augment.max_side=64 augment.test_short_side=48 data.workers=0"
sys.exit(main(["train", *sys.argv[1:], *small.split()]))
"""
COLORS = {"a.png": (200, 40, 40), "sub/b.png": (40, 60, 200), "c.jpg": (30, 160, 60)}


def serve(folder, **cues):
    project = Project(folder)
    app = create_app(project, Masks(folder, Cues(**cues)), folder.with_name("out"))
    return TestClient(app, base_url="http://127.0.0.1:8642")


def target(identity, *points, category=1):
    return {"id": identity, "category_id": category, "iscrowd": 0, "points": [*map(list, points)]}


DISC, GROUND = target(1, (20.0, 15.0)), target(2, (3.0, 3.0), (37.5, 26.0), category=2)


def put(client, targets, revision=0, index=0):
    body = {"revision": revision, "segments_info": targets}
    return client.put(f"/api/images/{index}/marks", json=body)


def error(response, status=422):
    assert response.status_code == status
    (text,) = response.json().values()
    assert "\n" not in text
    return text


def decode(content):
    height, width, count, *rest = np.frombuffer(content, "<u4").tolist()
    lengths = np.diff([*rest[:count], height * width])
    return np.repeat(rest[count:], lengths).reshape(height, width)


def stored(folder):
    labels = read_points(folder / "points.json")
    return {record.file_name: targets for record, targets in labels.images}


def mark(client, targets, revision=0, index=0, **marks):
    body = {"revision": revision, "segments_info": targets, **marks}
    return client.put(f"/api/images/{index}/marks", json=body)


def write_points_json(folder, targets, isthing=1):
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 30, "width": 40}],
        "annotations": [{"image_id": 1, "segments_info": targets}],
        "categories": [{"id": 1, "name": "thing or stuff", "isthing": isthing}],
    }
    (folder / "points.json").write_text(json.dumps(content))
