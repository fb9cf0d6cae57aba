"""Training from the page: the process, how far it is, what stops it, and the cue in the end."""

import json
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from point2mask.data import DataError, PointTarget, read_points
from point2mask.data.records import Segment
from point2mask.data.yaml_file import parse_yaml

TestClient = pytest.importorskip("fastapi.testclient", reason="needs point2mask[app]").TestClient

from annotation import SMALL_TRAINING  # noqa: E402

from point2mask.app import Masks, Project, create_app  # noqa: E402
from point2mask.app.storage import ConflictError  # noqa: E402
from point2mask.app.training import TrainingJob  # noqa: E402

# A run that says what it was asked and how far it is, and ends as its first word says.
FAKE = """
import json, sys, time
from pathlib import Path
how, recipe, *words = sys.argv[1:]
out = Path(words[-1])
given = dict(word.split("=", 1) for word in words[:-2])
(out / "pictures").mkdir(parents=True)
(out / "asked.json").write_text(json.dumps([recipe, given]))
print("12 images, said first", file=sys.stderr, flush=True)
for step in (10, 20):
    line = f"step {step}/20  epoch 1  loss {1 / step}  gradient 3  left 0:00:{20 - step}"
    print(line, file=sys.stderr, flush=True)
(out / "pictures" / "training_0.png").write_bytes(b"picture")
if how == "wait":
    time.sleep(600)
if how == "fail":
    print("point2mask: error: the clicks are no good", file=sys.stderr)
    sys.exit(2)
"""


@pytest.fixture
def project(tmp_path):
    """A folder whose name means something in YAML and in shells, with clicks on one of two."""
    folder = tmp_path / "pho tos: #1 'x' \N{GRINNING FACE}"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30), "red").save(folder / name)
    project = Project(folder)
    project.add_category("disc", True)
    project.add_category("ground", False)
    project.change(0, 0, [PointTarget(1, 1, ((20.5, 15.5),)), PointTarget(2, 2, ((3.5, 3.5),))])
    return project


def job(tmp_path, how, on_done=lambda run: None):
    (tmp_path / "fake.py").write_text(FAKE)
    return TrainingJob(tmp_path / "out", on_done, (sys.executable, str(tmp_path / "fake.py"), how))


def wait(job, state):
    end = time.monotonic() + 120
    while (status := job.status).state != state:
        assert status.state == "running", status
        assert time.monotonic() < end
        time.sleep(0.02)
    return status


def test_a_run_learns_from_the_clicks_as_they_were(project, tmp_path):
    done = []
    training = job(tmp_path, "succeed", done.append)
    started = training.start(project.labels(), project.folder, 20)
    assert (started.state, started.step, started.steps) == ("running", 0, 20)
    status = wait(training, "done")
    run = tmp_path / "out" / "training_1" / "run"
    assert (status.step, status.steps, status.loss, status.path) == (20, 20, "0.05", str(run))
    assert status.left == "0:00:0"
    assert status.drawn == (run / "pictures" / "training_0.png").stat().st_mtime_ns
    assert done == [run]
    recipe, given = json.loads((run / "asked.json").read_text())
    assert recipe == "own_clicks"
    given = {key: parse_yaml(value, key) for key, value in given.items()}
    assert given["data.root"] == str(project.folder)
    assert given["schedule.steps"] == 20
    assert read_points(given["data.train.points"]) == project.labels()
    assert training.picture(0).read_bytes() == b"picture"
    with pytest.raises(DataError, match="no picture 1"):
        training.picture(1)
    training.start(project.labels(), project.folder, 20)
    assert wait(training, "done").path == str(tmp_path / "out" / "training_2" / "run")


def test_one_run_at_a_time_which_can_be_stopped(project, tmp_path):
    training = job(tmp_path, "wait")
    training.start(project.labels(), project.folder, 20)
    with pytest.raises(ConflictError, match="a training run goes on"):
        training.start(project.labels(), project.folder, 20)
    while training.status.step < 20:
        time.sleep(0.02)
    training.stop()
    assert wait(training, "stopped").error == ""
    training.stop()  # nothing to do
    assert training.status.state == "stopped"


def test_what_went_wrong_is_one_line(project, tmp_path):
    training = job(tmp_path, "fail")
    training.start(project.labels(), project.folder, 20)
    assert wait(training, "failed").error == "the clicks are no good"

    def refuse(run):
        raise DataError(f"{run.name}: no network")

    training = job(tmp_path, "succeed", refuse)
    training.start(project.labels(), project.folder, 20)
    assert wait(training, "failed").error == "run: no network"


def test_nothing_to_learn_from(project, tmp_path):
    project.change(0, 1, [])
    training = job(tmp_path, "succeed")
    with pytest.raises(DataError, match="no picture has a click"):
        training.start(project.labels(), project.folder, 20)
    assert training.status.state == "none"
    assert not (tmp_path / "out").exists()


def test_over_http_to_the_cue(project, tmp_path, monkeypatch):
    """A real run of a few steps, whose network then makes masks."""
    pytest.importorskip("accelerate", reason="needs point2mask[train]")
    monkeypatch.setattr(
        TrainingJob.__init__, "__defaults__", ((sys.executable, "-c", SMALL_TRAINING),)
    )
    app = create_app(project, Masks(project.folder), tmp_path / "out")
    with TestClient(app, base_url="http://127.0.0.1:8642") as client:
        none = client.get("/api/training").json()
        assert (none["state"], none["cues"]) == ("none", ["built-in"])
        assert client.get("/api/training/pictures/0").status_code == 422
        assert client.post("/api/training", json={"steps": 1}).status_code == 422
        refused = client.post("/api/images/0/proposals")
        assert refused.status_code == 422
        assert "there is no network" in refused.json()["error"]
        assert client.post("/api/training", json={"steps": 8}).json()["state"] == "running"
        end = threading.Event()
        for _ in range(6000):
            status = client.get("/api/training").json()
            if status["state"] != "running":
                break
            end.wait(0.1)
        assert (status["state"], status["step"], status["error"]) == ("done", 8, "")
        assert status["cues"] == ["built-in", "checkpoint"]
        picture = client.get("/api/training/pictures/0")
        assert picture.headers["content-type"] == "image/png"
        proposed = client.post("/api/images/1/proposals")
        assert proposed.is_success  # of a network of eight steps, perhaps nothing
        network = app.state.desk.masks.cues.network
        known = {category.name: category.id for category in network.categories.values()}
        ids = np.ones((30, 40), np.int32)  # what it is to find: ground and two discs
        ids[12:19, 17:24], ids[2:7, 30:35] = 2, 3
        segments = [
            Segment(3, known["disc"], area=25),
            Segment(2, known["disc"], area=49),
            Segment(1, known["ground"], area=1126),
        ]
        monkeypatch.setattr(type(network.predictor), "predict", lambda *_: (ids, segments))
        ground, large, small = client.post("/api/images/1/proposals").json()
        assert [target["category_id"] for target in (ground, large, small)] == [2, 1, 1]
        assert (large["points"], small["points"]) == ([[20.5, 15.5]], [[32.5, 4.5]])
        assert client.get("/api/images/1").json()["segments_info"] == []
        # The other picture has clicks on the ground and on the larger disc.
        (small,) = client.post("/api/images/0/proposals").json()
        assert (small["id"], small["points"]) == (3, [[32.5, 4.5]])
        got = client.get("/api/images/0/masks?revision=1&cue=checkpoint").content
        assert np.frombuffer(got, "<u4")[:2].tolist() == [30, 40]


def test_a_run_ends_with_the_server(project, tmp_path, monkeypatch):
    (tmp_path / "fake.py").write_text(FAKE)
    command = (sys.executable, str(tmp_path / "fake.py"), "wait")
    monkeypatch.setattr(TrainingJob.__init__, "__defaults__", (command,))
    app = create_app(project, Masks(project.folder), tmp_path / "out")
    with TestClient(app, base_url="http://127.0.0.1:8642") as client:
        assert client.post("/api/training", json={"steps": 20}).json()["state"] == "running"
    assert wait(app.state.desk.training, "stopped")
