"""Who waits for whom, and what is computed once, where masks of several pictures are asked for."""

import threading
import time

import numpy as np
import pytest
from annotation import DISC, put, serve
from PIL import Image

pytest.importorskip("fastapi", reason="needs point2mask[app]")

from point2mask.app import ConflictError, Masks
from point2mask.data import Category, ImageRecord, PointTarget
from point2mask.label import PreparedImage

CATEGORIES = {1: Category(1, "disc", True, (200, 40, 40))}
TARGETS = [PointTarget(7, 1, ((10.0, 8.0),))]
RECORDS = [ImageRecord(number, f"{number}.png", 20, 30) for number in (1, 2)]


@pytest.fixture
def masks(tmp_path):
    for record in RECORDS:
        noise = np.random.default_rng(record.id).integers(0, 256, (20, 30, 3))
        Image.fromarray(noise.astype(np.uint8)).save(tmp_path / record.file_name)
    return Masks(tmp_path)


def test_a_picture_does_not_wait_for_another(masks):
    entered, done = threading.Event(), threading.Event()

    def wanted():
        entered.set()
        return done.wait(20)

    slow = threading.Thread(
        target=masks.segment_map, args=(RECORDS[0], TARGETS, CATEGORIES), kwargs={"wanted": wanted}
    )
    slow.start()
    assert entered.wait(20)
    assert (masks.segment_map(RECORDS[1], TARGETS, CATEGORIES) == 7).all()
    assert slow.is_alive()
    done.set()
    slow.join()


def test_what_is_not_wanted_any_more_is_not_prepared(masks):
    (masks._folder / "1.png").write_bytes(b"no picture")  # preparing would say so
    with pytest.raises(ConflictError, match="have changed since"):
        masks.segment_map(RECORDS[0], TARGETS, CATEGORIES, wanted=lambda: False)


def test_warm_pictures_are_not_warmed_again(masks, monkeypatch):
    labelled = []
    label = PreparedImage.label

    def count(self, targets, assigner, *things):
        labelled.append(assigner)
        return label(self, targets, assigner, *things)

    monkeypatch.setattr(PreparedImage, "label", count)
    for assigner in ("merge", "merge", "watershed", "none of ours"):
        masks.warm(RECORDS[0], "built-in", assigner)
    masks.segment_map(RECORDS[0], TARGETS, CATEGORIES, assigner="transport")
    masks.warm(RECORDS[0], "built-in", "transport")
    assert labelled == ["merge", "watershed", "transport"]


class Seen:
    """Stands for a trained network: which pictures it was run on."""

    def __init__(self):
        self.pictures = []

    def prepare(self, image):
        self.pictures.append(int(image.sum()))
        return self

    def label(self, targets, categories, marks):
        return np.zeros((20, 30), np.int32)


def test_a_network_is_run_ahead_of_the_clicks_and_not_again(masks):
    network = Seen()
    masks.use_network(network)
    for record in RECORDS:
        masks.warm(record, "checkpoint", "merge")
    assert len(set(network.pictures)) == 2
    for record in RECORDS:
        assert (masks.segment_map(record, TARGETS, CATEGORIES, "checkpoint") == 7).all()
    assert len(network.pictures) == 2
    masks.use_network(Seen())  # of another run
    masks.segment_map(RECORDS[0], TARGETS, CATEGORIES, "checkpoint")
    assert len(network.pictures) == 2
    assert len(masks.cues.network.pictures) == 1


class Network:
    """Notes the pictures that it is asked for, once it may."""

    def __init__(self, asked, name):
        self.asked, self.name, self.go = asked, name, threading.Event()

    def prepare(self, image):
        assert self.go.wait(20)
        self.asked.append(self.name)
        return self

    def label(self, targets, categories, marks):
        return np.zeros((30, 40), np.int64)


def test_an_export_keeps_the_network_that_it_began_with(folder):
    asked = []
    first, second = Network(asked, "first"), Network(asked, "second")
    client = serve(folder, network=first)
    client.post("/api/categories", json={"name": "disc", "isthing": 1})
    for index in range(3):
        put(client, [DISC], index=index)
    how = {"format": "coco_instances", "cue": "checkpoint", "assigner": "merge"}
    assert client.post("/api/export", json=how).json()["state"] == "running"
    client.app.state.desk.masks.use_network(second)
    for network in (first, second):
        network.go.set()
    while client.get("/api/export").json()["state"] == "running":
        time.sleep(0.02)
    assert client.get("/api/export").json()["state"] == "done"
    assert asked == ["first", "first", "first"]
    assert client.get("/api/images/0/masks?revision=1&cue=checkpoint").is_success
    assert asked[3:] == ["second"]
