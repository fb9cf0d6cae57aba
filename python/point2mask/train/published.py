"""Published checkpoints of Point2Mask and Panoptic SegFormer as folders of this project."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from point2mask.checkpoint import load_tensors, load_weights
from point2mask.data.coco_categories import CATEGORIES as COCO
from point2mask.data.errors import DataError
from point2mask.data.files import open_regular
from point2mask.data.formats.voc import CATEGORIES as VOC
from point2mask.data.training import class_channels
from point2mask.hub import save_pretrained
from point2mask.models import NetworkConfig, make_network
from point2mask.models.published import from_published, published_config
from point2mask.models.weights import plain_tensors, reading_torch
from point2mask.predict import Predictor
from point2mask.train.config import load_config
from point2mask.trained import without_download

_DATA = {(20, 1): ("voc", VOC), (80, 53): ("coco", COCO)}  # by numbers of things and stuff
_BACKBONES = {"resnet50": "r50", "resnet101": "r101", "swin_large_patch4_window12_384": "swinl"}


@dataclass(frozen=True)
class Converted:
    """What became of a checkpoint.

    Attributes:
        recipe: the one that trains such a network; its sizes of pictures and thresholds are kept.
        original: it is of Panoptic SegFormer itself, which has no maps to grow masks from.
        tensors: how many the network has.
        left_over: names in the checkpoint that serve nothing here.
    """

    recipe: str
    original: bool
    tensors: int
    left_over: list[str]


def convert_checkpoint(path: Path, out: Path) -> Converted:
    """Writes a published checkpoint as a folder of ``save_pretrained``, in published mode.

    Args:
        path: ``.pth`` of mmdet, or a ``.safetensors`` with the tensors of its ``state_dict``.
        out: the folder; made if it is not there.

    Raises:
        DataError: the file is not such a checkpoint, or a name or a shape is not that of the
            network that the recipe of its data and backbone describes; nothing is written then.
    """
    state = read_state(path)
    try:
        found = published_config(state)
        tensors, left_over = from_published(state)
    except (ValueError, KeyError) as error:
        reason = f"expected a tensor {error}, got none" if isinstance(error, KeyError) else error
        raise DataError(f"{path}: {reason}") from error
    counts = (found.num_things, found.num_stuff)
    if counts not in _DATA:
        known = " or ".join(f"{t} and {s} ({n.upper()})" for (t, s), (n, _) in _DATA.items())
        raise DataError(
            f"{path}: expected classes of things and stuff {known}, got {counts[0]} and {counts[1]}"
        )
    data, categories = _DATA[counts]
    recipe = f"{data}_{_BACKBONES[found.backbone.name.partition('.')[0]]}"
    config = load_config(recipe, ["published=true"])
    sizes = config.network
    if found.original:
        assert isinstance(sizes, NetworkConfig)
        layers = sizes.thing_layers + 1
        sizes = replace(sizes, thing_layers=layers, semantic_layers=0, original=True)
    network = make_network(without_download(sizes))
    load_weights(network, tensors, path)
    ordered = {key: categories[key] for key in class_channels(categories)}
    save_pretrained(
        Predictor(network.eval(), ordered, config.augment, config.merge, config.supervision), out
    )
    return Converted(recipe, found.original, len(tensors), left_over)


def read_state(path: Path) -> Mapping[str, Tensor]:
    """The state dict in a file; no code in it is run.

    Raises:
        DataError: there is no such file, or it has anything but tensors in its state dict.
    """
    if path.suffix == ".safetensors":
        return load_tensors(path)
    with open_regular(path, "a checkpoint of mmdet") as file:
        try:
            with reading_torch(path):
                content = torch.load(file, map_location="cpu", weights_only=True)
            wrapped = isinstance(content, dict) and "state_dict" in content
            state = plain_tensors(content["state_dict"] if wrapped else content, path)
        except ValueError as error:
            raise DataError(str(error)) from error
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}
