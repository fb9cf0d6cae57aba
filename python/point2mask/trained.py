"""Networks back from disk, and what predicts with those of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from point2mask.checkpoint import (
    AVERAGE,
    MODEL,
    STATE,
    check_digests,
    last_checkpoint,
    load_tensors,
    load_weights,
    read_state,
)
from point2mask.data.augment import AugmentConfig
from point2mask.data.errors import DataError
from point2mask.data.fields import parse
from point2mask.data.records import Category
from point2mask.models import AnyNetworkConfig, MergeConfig, make_network
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
        raise DataError(f"{path}: expected a checkpoint, or the folder of a run that has one")
    check_digests(folder)
    state = read_state(folder)
    names = {entry.name for entry in fields(TrainedConfig)}
    known = {name: value for name, value in state.config.items() if name in names}
    config = parse(TrainedConfig, known, f"{folder / STATE}: config")
    network = make_network(without_download(config.network))
    file = folder / MODEL
    tensors = load_tensors(file)
    if (folder / AVERAGE).is_file():
        tensors |= load_tensors(folder / AVERAGE)
    prefix = "network."
    own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    load_weights(network, own, file)
    categories = categories_from_plain(state.categories)
    return Predictor(network.eval(), categories, config.augment, config.merge, config.supervision)
