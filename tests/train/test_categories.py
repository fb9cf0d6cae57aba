"""What a run's categories are: those of its validation pictures, and of the run before."""

import json
import shutil
from dataclasses import replace

import pytest
import runs

from point2mask.data import DataError, read_panoptic, sample_points, write_points
from point2mask.train.train import train
from point2mask.trained import load_trained


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    runs.write_data(root, train=2)
    return root


def rename(root, split, **change):
    """Changes the first category of a split."""
    path = root / f"annotations/panoptic_{split}.json"
    content = json.loads(path.read_text())
    content["categories"][0].update(change)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "got"),
    [({"name": "cell"}, r"1 'cell' \(thing\)"), ({"id": 77}, r"77 'disc' \(thing\)")],
)
def test_validation_pictures_have_those_of_training(root, tmp_path, change, got):
    content = (root / "annotations/panoptic_val.json").read_text()
    if "id" in change:
        path = root / "annotations/panoptic_val.json"
        plain = json.loads(content)
        for annotation in plain["annotations"]:
            for segment in annotation["segments_info"]:
                if segment["category_id"] == 1:
                    segment["category_id"] = 77
        path.write_text(json.dumps(plain))
    rename(root, "val", **change)
    config = runs.short(root)
    config = replace(config, data=replace(config.data, val=runs.source("val")))
    message = rf"data\.val: expected the categories of data\.train, 1 'disc' \(thing\), got {got}"
    with pytest.raises(DataError, match=message):
        train(config, tmp_path / "out", device="cpu")


def test_a_run_goes_on_with_its_own(root, tmp_path):
    config = runs.short(root)
    train(config, tmp_path / "out", device="cpu")
    shutil.copytree(root, tmp_path / "other")
    rename(tmp_path / "other", "train", name="cell")
    longer = replace(config, schedule=replace(config.schedule, epochs=2))
    other = replace(longer, data=replace(longer.data, root=str(tmp_path / "other")))
    with pytest.raises(DataError, match=r"as before, 1 'disc' \(thing\), got 1 'cell' \(thing\)"):
        train(other, tmp_path / "out", device="cpu", resume=True)
    rename(tmp_path / "other", "train", name="disc", color=[1, 2, 3])  # which nothing hangs on
    assert train(other, tmp_path / "out", device="cpu", resume=True)["epochs"] == 2


def test_no_clicks_at_all(root, tmp_path):
    """The file is named."""
    labels = sample_points(read_panoptic(root / "annotations/panoptic_train.json"), 1, 0)
    labels.images[:] = [(record, []) for record, _ in labels.images]
    write_points(root / "none.json", labels)
    config = runs.short(root)
    source = replace(config.data.train, points="none.json")
    config = replace(config, data=replace(config.data, train=source))
    with pytest.raises(DataError, match=r"^none\.json: expected images with a thing to learn from"):
        train(config, tmp_path / "out", device="cpu")


@pytest.mark.parametrize("name", ["round_1", "run"])
def test_a_folder_above_a_run_is_told_of_it(root, tmp_path, name):
    train(runs.short(root), tmp_path / "out" / name, device="cpu")
    message = rf"out: expected a checkpoint, or .*; there is a run in it: .*/out/{name}$"
    with pytest.raises(DataError, match=message):
        load_trained(tmp_path / "out")
