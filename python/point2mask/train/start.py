"""The weights that training starts from: of the backbone alone, or of a whole trained network."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from point2mask.checkpoint import load_weights
from point2mask.data.errors import DataError
from point2mask.data.records import Category
from point2mask.data.training import class_channels
from point2mask.hub import load_predictor
from point2mask.models import AnyNetworkConfig, PointNetwork, make_network
from point2mask.models.base import MAPS
from point2mask.trained import without_download

# Which any trained network can be given, and do without: the last one is of denoising.
PARTS = (("click_decoder.",), MAPS, ("label_embedding.",))
# What a network computes with its weights, where their shapes do not say it.
ALIKE = (
    *("architecture", "heads", "points", "norm_groups", "mask_activation", "semantic_activation"),
    *("anchors", "published", "original"),
)


def start_network(config: AnyNetworkConfig) -> PointNetwork:
    """A new network; with ``config.weights`` all that does not depend on the classes is taken over.

    A click branch, and maps, start anew where the given network has none, and are left out where
    this one has; so does what only denoising needs.

    Raises:
        DataError: the folder has no network, or one of other sizes, or one that computes otherwise;
            or the backbone's file has not its weights.
    """
    if config.weights is None:
        try:
            return make_network(config)
        except ValueError as error:
            raise DataError(f"network.backbone.pretrained: {error}") from error
    given = load_predictor(config.weights).network
    _check_alike(given.config, config)
    network = make_network(without_download(config))
    tensors = _with_parts(given, network)
    own, of_classes = network.state_dict(), class_tensors(config)
    anew = {name: own[name] for name in of_classes & tensors.keys()}
    load_weights(network, tensors | anew, Path(config.weights))
    return network


def take_classes(network: PointNetwork, weights: str, categories: Mapping[int, Category]) -> int:
    """Takes over what depends on the classes too, if they are the same in the same order.

    Returns:
        How many tensors start anew.
    """
    given = load_predictor(weights)
    names = [
        [(known[key].name, known[key].isthing) for key in class_channels(known)]
        for known in (given.categories, categories)
    ]
    if names[0] != names[1]:
        return len(class_tensors(network.config))
    tensors = _with_parts(given.network, network)
    load_weights(network, tensors, Path(weights))
    return len(tensors.keys() - given.network.state_dict().keys())


def _check_alike(given: AnyNetworkConfig, config: AnyNetworkConfig) -> None:
    """That weights mean to one network what they mean to the other."""
    for name in ALIKE:
        if name == "semantic_activation" and not given.semantic_layers:
            continue
        before, now = (getattr(either, name, None) for either in (given, config))
        if before != now:
            raise DataError(
                f"network.{name}: expected {before} as the network of {config.weights}, got {now}"
            )


def _with_parts(given: PointNetwork, network: PointNetwork) -> dict[str, Tensor]:
    """The state of ``given``, with a click branch and maps as ``network`` has them or not."""
    tensors, own = given.state_dict(), network.state_dict()
    for part in PARTS:
        known, wanted = (
            {name for name in state if name.startswith(part)} for state in (tensors, own)
        )
        if bool(known) != bool(wanted):
            tensors = {name: tensor for name, tensor in tensors.items() if name not in known}
            tensors |= {name: own[name] for name in wanted}
    return tensors


def class_tensors(config: AnyNetworkConfig) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes."""
    more = replace(config, num_things=config.num_things + 1, num_stuff=config.num_stuff + 1)
    with torch.device("meta"):
        one, other = (make_network(without_download(c)).state_dict() for c in (config, more))
    return {name for name, tensor in one.items() if other[name].shape != tensor.shape}
