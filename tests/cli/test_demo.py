"""The demo: all of it, and again after it was interrupted."""

import json

import pytest

from point2mask.cli import demo, main
from point2mask.data import read_rgb
from point2mask.train.config import load_config

FEW = "--train", "4", "--images", "2", "--epochs", "1"


@pytest.mark.slow
def test_it_runs_the_whole_way(tmp_path, capfd):
    out = tmp_path / "demo"
    code = main(["demo", "--out", str(out), *FEW])
    said = capfd.readouterr()
    assert code == 0, said.err
    assert "points | step 1/1" in said.out
    assert "P1/M: " in said.out
    figures = json.loads((out / "demo.json").read_text())
    assert set(figures) == {"pq_things", "clicks_over_masks"}
    assert read_rgb(out / "demo.png").shape[0] > 2 * 2 * 128


@pytest.fixture
def interrupted(monkeypatch):
    """Ends the demo as soon as it has clicks."""
    do = demo._do

    def do_some(words):
        if words[0] == "label":
            raise KeyboardInterrupt
        do(words)

    monkeypatch.setattr(demo, "_do", do_some)


def test_it_begins_again_after_it_was_interrupted(interrupted, tmp_path, capfd):
    clicks = []
    for seed in ("0", "1"):
        assert main(["demo", "--out", str(tmp_path), *FEW, "--seed", seed]) == 130
        clicks.append((tmp_path / "points.json").read_bytes())
    assert clicks[0] != clicks[1]


def test_its_folder_may_have_any_name(monkeypatch, tmp_path):
    """Signs that mean something in YAML, and such beyond the first plane of Unicode."""
    roots = []

    def load(commands):
        for words in commands.values():
            overrides = [word for word in words[2:] if "=" in word]
            roots.append(load_config(words[1], overrides).data.root)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_do", lambda words: None)
    monkeypatch.setattr(demo, "_do_together", load)
    for out in (tmp_path / "[a: b] #c \U0001f4f7", tmp_path / "plain"):
        assert main(["demo", "--out", str(out), *FEW]) == 130
        assert roots[-2:] == [str(out / "shapes")] * 2


def test_it_keeps_the_clicks_of_others(interrupted, tmp_path, capfd):
    points = tmp_path / "points.json"
    content = {"images": [], "annotations": [], "categories": []}
    points.write_text(json.dumps(content))
    assert main(["demo", "--out", str(tmp_path), *FEW]) == 130
    assert json.loads((tmp_path / "points.json.~1~").read_text()) == content
    assert json.loads(points.read_text()) != content
