"""Training that starts from a trained network: the same classes, others, and other sizes."""

from dataclasses import replace

import pytest
import runs
import torch

from point2mask.data import DataError
from point2mask.data.augment import AugmentConfig
from point2mask.hub import load_predictor, save_pretrained
from point2mask.models import MergeConfig
from point2mask.train.build import build_module
from point2mask.train.launch import launch
from point2mask.train.start import class_tensors, start_network, take_classes
from point2mask.train.train import Run


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder of save_pretrained, and its predictor."""
    folder = tmp_path_factory.mktemp("given")
    predictor = runs.predictor(folder / "data", AugmentConfig(), MergeConfig())
    predictor.network.backbone.mean += 0.1
    save_pretrained(predictor, folder / "model")
    return str(folder / "model"), load_predictor(folder / "model")


def equal(one, other):
    one, other = one.state_dict(), other.state_dict()
    return {name for name in one.keys() & other.keys() if torch.equal(one[name], other[name])}


def test_the_same_classes_are_taken_over(given):
    folder, predictor = given
    config = replace(predictor.network.config, weights=folder)
    network = start_network(config)
    everything = set(network.state_dict())
    of_classes = class_tensors(config)
    assert "semantic_scale" in of_classes
    assert not any(name.startswith(("backbone", "encoder.")) for name in of_classes)
    assert everything - of_classes <= equal(network, predictor.network)
    assert equal(network, predictor.network) != everything
    assert take_classes(network, folder, predictor.categories) == 0
    assert equal(network, predictor.network) == everything


def test_other_classes_start_anew(given):
    folder, predictor = given
    config = replace(predictor.network.config, weights=folder, num_things=3, num_stuff=1)
    network = start_network(config)
    of_classes = class_tensors(config)
    before = network.state_dict()["semantic_decoder.queries.weight"].clone()
    renamed = {k: replace(c, name=c.name + "s") for k, c in predictor.categories.items()}
    assert take_classes(network, folder, renamed) == len(of_classes) > 0
    assert torch.equal(network.state_dict()["semantic_decoder.queries.weight"], before)


def test_other_sizes_are_refused(given, tmp_path):
    folder, predictor = given
    config = replace(predictor.network.config, weights=folder, encoder_layers=1)
    with pytest.raises(DataError, match=r"expected no tensor 'encoder\.layers\.1"):
        start_network(config)
    with pytest.raises(DataError, match="expected a checkpoint, or the folder of a run"):
        start_network(replace(config, weights=str(tmp_path)))


def test_a_click_branch_is_given_to_a_trained_network_and_taken_from_it(given, tmp_path):
    folder, predictor = given
    config = replace(predictor.network.config, weights=folder, click_layers=2)
    torch.manual_seed(0)
    network = start_network(config)
    branch = {name for name in network.state_dict() if name.startswith("click_decoder.")}
    assert branch
    assert not branch & predictor.network.state_dict().keys()
    assert take_classes(network, folder, predictor.categories) == len(branch)
    assert equal(network, predictor.network) == set(predictor.network.state_dict())

    save_pretrained(replace(predictor, network=network.eval()), tmp_path / "branched")
    config = replace(config, weights=str(tmp_path / "branched"))
    again = start_network(config)
    assert take_classes(again, config.weights, predictor.categories) == 0
    assert equal(again, network) == set(network.state_dict())
    plain = start_network(replace(config, click_layers=0))
    assert plain.state_dict().keys() == predictor.network.state_dict().keys()


def test_a_run_starts_from_all_of_it(given, tmp_path):
    folder, predictor = given
    runs.write_data(tmp_path)
    config = runs.config(tmp_path)
    config = replace(config, network=replace(config.network, weights=folder))
    run = Run(config, tmp_path / "run", launch("cpu", None), build_module)
    assert equal(run.network, predictor.network) == set(predictor.network.state_dict())
    assert run.anew == 0
