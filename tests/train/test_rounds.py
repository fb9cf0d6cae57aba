"""Rounds: masks grown from clicks by one network are what the next one learns from."""

import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import runs

from point2mask import rounds as module
from point2mask.cli import main
from point2mask.data import DataError, read_panoptic, sample_points
from point2mask.data.training import training_clicks
from point2mask.rounds import Round, train_rounds
from point2mask.train.config import load_config, save_config


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    runs.write_data(root, train=4)
    config = runs.config(root)
    return replace(
        config,
        data=replace(config.data, val=runs.source("val")),
        schedule=replace(config.schedule, epochs=1),
    )


@pytest.fixture(scope="module")
def two_rounds(config, tmp_path_factory):
    """A folder of two rounds, from the command line."""
    folder = tmp_path_factory.mktemp("rounds")
    save_config(folder / "recipe.yaml", config)
    command = [
        "train",
        folder / "recipe.yaml",
        "--device",
        "cpu",
        "--rounds",
        2,
        "--out",
        folder / "out",
    ]
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        assert main([str(part) for part in command]) == 0
    return folder / "out", out.getvalue(), err.getvalue()


def test_two_rounds(config, two_rounds):
    out, table, said = two_rounds
    assert [line.split()[-1] for line in table.splitlines()[-2:]] == ["round_1", "round_2"]
    assert "round 2 of at most 2" in said
    second = load_config(out / "round_2" / "config.yaml")
    assert second.supervision.kind == "masks"
    assert second == replace(
        config,
        data=replace(config.data, train=second.data.train),
        supervision=replace(config.supervision, kind="masks"),
    )
    truth = read_panoptic(Path(config.data.root) / "annotations/panoptic_train.json")
    grown = read_panoptic(second.data.train.annotations, second.data.train.masks)
    assert [i.record for i in grown.images] == [i.record for i in truth.images]
    clicks = dict(sample_points(truth).images)
    for image in grown.images:  # every click has its mask
        ids = grown.segment_map(image)
        targets = clicks[image.record]
        assert all(ids[y, x] == target.id for target in targets for x, y in target.pixels)
    kept = json.loads((out / "rounds.json").read_text())
    assert [entry["folder"] for entry in kept] == ["round_1", "round_2"]
    assert kept[1]["quality"] == json.loads((out / "round_2/result.json").read_text())["quality"]


def test_what_is_finished_is_kept(config, two_rounds, tmp_path):
    whole = json.loads((two_rounds[0] / "rounds.json").read_text())
    out = tmp_path / "out"
    shutil.copytree(two_rounds[0], out)
    before = (out / "round_1/result.json").stat().st_mtime_ns
    shutil.rmtree(out / "round_2")
    next((out / "labels_2/records").rglob("*.json")).unlink()
    with pytest.raises(DataError, match="--resume goes on with it"):
        train_rounds(config, out, 2, device="cpu")
    again = train_rounds(config, out, 2, resume=True, device="cpu")
    assert (out / "round_1/result.json").stat().st_mtime_ns == before
    assert again[1].result["losses"] == whole[1]["losses"]


@pytest.mark.parametrize(
    ("qualities", "made"),
    [([0.2, 0.3, 0.4], 4), ([0.3, 0.2], 2), ([0.2, 0.3, 0.3], 3), ([None, None, None], 4)],
)
def test_later_rounds_follow_validation(config, tmp_path, monkeypatch, qualities, made):
    results = iter([*qualities, 0.0])

    def train(*_, **__):
        share = next(results)
        return {"quality": None if share is None else {"all": {"pq": share}}}

    monkeypatch.setattr(module, "train", train)
    grown = []
    monkeypatch.setattr(module, "grow_masks", lambda *_, **options: grown.append(options) or {})
    (tmp_path / "out").mkdir()
    finished = train_rounds(config, tmp_path / "out", 4, device="cpu")
    assert [entry.number for entry in finished] == list(range(1, made + 1))
    assert grown == (made - 1) * [{"redraw": True, "skip_broken": False}]


def test_quality_is_none_without_validation(tmp_path):
    assert Round(1, tmp_path, {"quality": None}).quality is None


def test_what_cannot_be_done_is_refused(config, tmp_path, monkeypatch):
    masks = replace(config, supervision=replace(config.supervision, kind="masks"))
    with pytest.raises(DataError, match=r"supervision\.kind: expected points"):
        train_rounds(masks, tmp_path / "out", 2, device="cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DataError, match="one process"):
        train_rounds(config, tmp_path / "out", 2, device="cpu")
    assert not (tmp_path / "out").exists()


def test_clicks_are_those_of_training(config):
    dataset = read_panoptic(Path(config.data.root) / "annotations/panoptic_train.json")
    source = replace(config.data.train, points_per_segment=3, point_seed=5, first=2)
    labels = training_clicks(source, config.data.root)
    expected = sample_points(dataset, 3, 5)
    assert list(labels.images) == list(expected.images)[:2]
    assert all(targets for _, targets in labels.images)
