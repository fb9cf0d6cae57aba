"""Training that starts from a trained network: the same classes, others, and other sizes."""

from dataclasses import fields, replace

import pytest
import runs
import torch
from networks import TINY_MASKDINO

from point2mask.data import DataError
from point2mask.data.augment import AugmentConfig
from point2mask.hub import load_predictor, save_pretrained
from point2mask.models import (
    Mask2FormerConfig,
    MaskDINOConfig,
    MergeConfig,
    NetworkConfig,
    make_network,
)
from point2mask.train.build import build_module
from point2mask.train.launch import launch
from point2mask.train.start import ALIKE, class_tensors, start_network, take_classes
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


@pytest.mark.parametrize(
    ("name", "value", "had"),
    [
        ("heads", 8, 4),
        ("norm_groups", 4, 8),
        ("mask_activation", "sigmoid", "relu"),
        ("semantic_activation", "softplus", "relu"),
        ("published", True, False),
        ("original", True, False),
    ],
)
def test_what_shapes_do_not_say_is_refused(given, name, value, had):
    """Weights mean something else to a network that computes otherwise."""
    folder, predictor = given
    assert getattr(predictor.network.config, name) == had
    config = replace(predictor.network.config, weights=folder, **{name: value})
    message = rf"network\.{name}: expected {had} as the network of .*/model, got {value}"
    with pytest.raises(DataError, match=message):
        start_network(config)


def test_all_that_a_network_computes_with_is_compared():
    """A new field is one of the shapes, of training alone, or of those that are compared."""
    free = {
        *("num_things", "num_stuff", "backbone", "width", "feedforward", "encoder_layers"),
        *("semantic_layers", "feature_width", "click_layers", "weights", "dropout", "queries"),
        *("location_layers", "thing_layers", "stuff_layers", "decoder_layers"),
        *("decoder_feedforward", "denoising_queries", "denoising_noise"),
    }
    configs = (NetworkConfig, Mask2FormerConfig, MaskDINOConfig)
    assert {entry.name for kind in configs for entry in fields(kind)} == free | set(ALIKE)


def test_denoising_is_given_and_taken(given, tmp_path):
    _, predictor = given
    config = replace(TINY_MASKDINO, num_things=6, num_stuff=4, denoising_queries=0)
    torch.manual_seed(0)
    without = make_network(config).eval()
    save_pretrained(replace(predictor, network=without), tmp_path / "without")
    config = replace(config, denoising_queries=10, weights=str(tmp_path / "without"))
    network = start_network(config)
    assert take_classes(network, config.weights, predictor.categories) == 1
    assert equal(network, without) == set(without.state_dict())
    save_pretrained(replace(predictor, network=network.eval()), tmp_path / "with")
    config = replace(config, denoising_queries=0, weights=str(tmp_path / "with"))
    again = start_network(config)
    assert take_classes(again, config.weights, predictor.categories) == 0
    assert equal(again, without) == set(without.state_dict())


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
