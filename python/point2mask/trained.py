"""Networks back from disk, and what predicts with those of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

from point2mask.checkpoint import (
    AVERAGE,
    MODEL,
    STATE,
    check_digests,
    check_tensors,
    last_checkpoint,
    load_tensors,
    read_state,
)
from point2mask.data.augment import AugmentConfig
from point2mask.data.errors import DataError
from point2mask.data.fields import parse
from point2mask.data.records import Category
from point2mask.models import AnyNetworkConfig, MergeConfig, PointNetwork, make_network
from point2mask.models.backbone import check_backbone
from point2mask.predict import Predictor
from point2mask.pseudo_masks import SupervisionConfig
from point2mask.ranges import Checked


@dataclass(frozen=True)
class TrainedConfig(Checked):
    """The parts of a run's configuration that a trained network keeps."""

    network: AnyNetworkConfig
    augment: AugmentConfig
    merge: MergeConfig
    supervision: SupervisionConfig


def without_download(config: AnyNetworkConfig) -> AnyNetworkConfig:
    """Every weight comes from a file: no backbone is fetched or looked for."""
    return replace(config, backbone=replace(config.backbone, pretrained="none"), weights=None)


def load_network(
    config: AnyNetworkConfig, tensors: Mapping[str, Tensor], place: Path
) -> PointNetwork:
    """The network of a configuration and its weights, in evaluation mode.

    Args:
        config: of anyone: its sizes are compared with those of the weights before it is made.
        tensors: all of its state.
        place: their file.

    Raises:
        DataError: there is no such network, or the weights are of another one.
    """
    config = without_download(config)
    try:
        check_backbone(config.backbone)
        with torch.device("meta"):
            sizes = make_network(config).state_dict()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{place.parent}: no network can be made of its config: {reason}"
        ) from error
    check_tensors(sizes, tensors, place)
    network = make_network(config)
    network.load_state_dict(dict(tensors))
    return network.eval()


def check_classes(
    network: AnyNetworkConfig, categories: Mapping[int, Category], place: object
) -> None:
    """That the network has as many classes as the data."""
    things = sum(category.isthing for category in categories.values())
    expected = (things, len(categories) - things)
    if (network.num_things, network.num_stuff) != expected:
        raise DataError(
            f"{place}: expected a network of {expected[0]} thing and {expected[1]} stuff classes, "
            f"got num_things={network.num_things}, num_stuff={network.num_stuff}"
        )


def first_difference(expected: Mapping[int, Category], got: Mapping[int, Category]) -> str | None:
    """The first category in which two lists differ, in words; None where they are the same."""
    for one, other in zip_longest(expected.values(), got.values()):
        if one is None or other is None or _key(one) != _key(other):
            return f"{_in_words(one)}, got {_in_words(other)}"
    return None


def _key(category: Category) -> tuple[int, str, bool]:
    return category.id, category.name, category.isthing


def _in_words(category: Category | None) -> str:
    if category is None:
        return "none"
    return f"{category.id} {category.name!r} ({'thing' if category.isthing else 'stuff'})"


def categories_from_plain(values: list[dict[str, object]]) -> dict[int, Category]:
    """Categories as checkpoints store them."""
    categories = [parse(Category, value, f"categories[{i}]") for i, value in enumerate(values)]
    return {category.id: category for category in categories}


def load_trained(path: str | Path) -> Predictor:
    """The network of a checkpoint, or of the last one of a run; averaged weights where there are.

    Raises:
        DataError: there is no checkpoint, or it is broken.
    """
    path = Path(path)
    folder = path if (path / STATE).is_file() else last_checkpoint(path / "checkpoints")
    if folder is None:
        # Of several rounds, and what the annotation page has trained.
        runs = [*sorted(path.glob("round_*")), *path.glob("run")]
        hint = f"; there is a run in it: {runs[-1]}" if runs else ""
        raise DataError(f"{path}: expected a checkpoint, or the folder of a run that has one{hint}")
    check_digests(folder)
    state = read_state(folder)
    names = {entry.name for entry in fields(TrainedConfig)}
    known = {name: value for name, value in state.config.items() if name in names}
    config = parse(TrainedConfig, known, f"{folder / STATE}: config")
    file = folder / MODEL
    tensors = load_tensors(file)
    if (folder / AVERAGE).is_file():
        tensors |= load_tensors(folder / AVERAGE)
    prefix = "network."
    own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    network = load_network(config.network, own, file)
    categories = categories_from_plain(state.categories)
    return Predictor(network, categories, config.augment, config.merge, config.supervision)
