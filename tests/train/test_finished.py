"""Runs that are taken up again once they are finished, and what may be another then."""

import json
from dataclasses import replace

import pytest
import runs
import torch
from safetensors.torch import save_file

from point2mask.cli import main
from point2mask.data import DataError
from point2mask.models.backbone import Backbone
from point2mask.train.config import load_config, save_config
from point2mask.train.train import train
from point2mask.trained import load_trained


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    runs.write_data(folder)
    return folder


def test_another_merge_is_scored_and_predicted_with(root, tmp_path):
    """The losses of its last steps stay."""
    config = runs.short(root)
    config = replace(config, data=replace(config.data, val=runs.source("val")))
    first = train(config, tmp_path, device="cpu")
    assert first["losses"]
    again = replace(config, merge=replace(config.merge, quality_things=0.01))
    second = train(again, tmp_path, device="cpu", resume=True)
    assert second["losses"] == first["losses"]
    assert json.loads((tmp_path / "result.json").read_text()) == second
    assert load_trained(tmp_path).merge.quality_things == 0.01
    for key in ("steps", "seconds"):
        assert second[key] == first[key]


def test_epochs_that_are_parts_of_the_steps_stay(root, tmp_path):
    """With more of them the learning rate would be another, and the run no longer."""
    config = runs.config(root)
    config = replace(config, schedule=replace(config.schedule, steps=4, epochs=2))
    train(config, tmp_path, device="cpu", make_module=runs.Semantic)
    more = replace(config, schedule=replace(config.schedule, epochs=4))
    with pytest.raises(DataError, match=r"^schedule\.epochs: the run to be taken up again has 2, "):
        train(more, tmp_path, device="cpu", make_module=runs.Semantic, resume=True)


def test_weights_of_the_backbone_may_be_gone(root, tmp_path, capsys):
    """By the command: a run that goes on has all of its own."""
    config = runs.short(root)
    file = tmp_path / "backbone.safetensors"
    backbone = config.network.backbone
    save_file({k: v.contiguous() for k, v in Backbone(backbone).body.state_dict().items()}, file)
    network = replace(config.network, backbone=replace(backbone, pretrained=str(file)))
    save_config(tmp_path / "recipe.yaml", replace(config, network=network))
    words = ["train", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    file.unlink()
    torch.manual_seed(1)
    assert main([*words, "schedule.epochs=2", "--resume"]) == 0
    assert load_config(tmp_path / "out/config.yaml", needs_weights=False).schedule.epochs == 2
    capsys.readouterr()
    assert main([*words[:-1], str(tmp_path / "new")]) == 2
    assert "network.backbone.pretrained: expected one of none, hub, " in capsys.readouterr().err
    assert main([*words[:-1], str(tmp_path / "new"), "--resume"]) == 2
    assert "expected a file of weights, got none" in capsys.readouterr().err
