"""The weights that training starts from: of the backbone alone, or of a whole trained network."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from point2mask.checkpoint import load_weights
from point2mask.data.records import Category
from point2mask.data.training import class_channels
from point2mask.hub import load_predictor
from point2mask.models import AnyNetworkConfig, PointNetwork, make_network
from point2mask.trained import without_download

BRANCH = "click_decoder."  # which any trained network can be given


def start_network(config: AnyNetworkConfig) -> PointNetwork:
    """A new network; with ``config.weights`` all that does not depend on the classes is taken over.

    A click branch starts anew where the given network has none, and is left out where this one has.

    Raises:
        DataError: the folder has no network, or one of other sizes.
    """
    if config.weights is None:
        return make_network(config)
    network = make_network(without_download(config))
    tensors = _as_branched(load_predictor(config.weights).network, network)
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
    load_weights(network, _as_branched(given.network, network), Path(weights))
    return 0


def _as_branched(given: PointNetwork, network: PointNetwork) -> dict[str, Tensor]:
    """The state of ``given``, with a click branch as ``network`` has one or none."""
    tensors, own = given.state_dict(), network.state_dict()
    if (given.click_decoder is None) == (network.click_decoder is None):
        return tensors
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(BRANCH)}
    return rest | {name: tensor for name, tensor in own.items() if name.startswith(BRANCH)}


def class_tensors(config: AnyNetworkConfig) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes."""
    more = replace(config, num_things=config.num_things + 1, num_stuff=config.num_stuff + 1)
    with torch.device("meta"):
        one, other = (make_network(without_download(c)).state_dict() for c in (config, more))
    return {name for name, tensor in one.items() if other[name].shape != tensor.shape}
