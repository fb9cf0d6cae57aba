"""The published network of golden data, small, with its weights; and what it is to compute."""

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from point2mask.models import BackboneConfig, PanopticNetwork
from point2mask.models.published import from_published, published_config
from point2mask.pseudo_masks import PointBatch
from point2mask.pseudo_masks.batch import Batch

IS_THING = torch.tensor([True, True, True, False, False])
# Our names of losses, and what theirs begin or end with; the layers are added up here. Theirs are
# swapped for the boxes of the last layer.
LOSSES = {
    "semantic_presence": "loss_sem_cls",
    "semantic_point": "loss_sem_mask",
    "semantic_lab": "loss_sem_color",
    "semantic_tree": "loss_tree_color",
    "thing_class": "loss_cls",
    "thing_dice": "loss_mask",
    "stuff_class": "loss_st_cls",
    "stuff_dice": "loss_st_mask",
    "contrast": "loss_cl",
    "boundary": "loss_bnd",
}


@dataclass(frozen=True)
class Golden:
    tensors: dict[str, Tensor]
    losses: dict[str, dict[str, float]]  # by step and by our names
    batch: Batch

    @classmethod
    def read(cls, folder: Path) -> "Golden":
        from safetensors.torch import load_file

        tensors = load_file(folder / "data.safetensors")
        values = json.loads((folder / "golden.json").read_text())
        images = tensors["images_uint8"].float() / 255
        size = torch.tensor([images.shape[-2:]]).expand(len(images), 2)
        clicks = [[(c, [tuple(xy) for xy in points]) for c, points in x] for x in values["clicks"]]
        names = tuple(f"image {b}" for b in range(len(images)))
        batch = Batch(images, size, PointBatch.from_lists(clicks), IS_THING, None, names)
        return cls(tensors, {k: _added_up(v) for k, v in values["losses"].items()}, batch)


def golden_folder(data_root: Path, name: str) -> Path:
    folder = data_root / "published" / name
    if not folder.is_dir():
        pytest.skip(f"golden data not found at {folder}")
    return folder


def shapes_of(data_root: Path, recipe: str) -> dict[str, list[int]]:
    """Names and shapes of the tensors in the published checkpoint of a recipe."""
    path = data_root / "published" / f"point2mask_{recipe}_keys.json"
    if not path.is_file():
        pytest.skip(f"names of the published tensors not found at {path}")
    return {name: entry["shape"] for name, entry in json.loads(path.read_text()).items()}


def random_state(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    """Random tensors of a state dict, such that a network with them neither dies nor explodes."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros(shape, dtype=torch.int64)
        elif len(shape) > 1:
            state[name] = noise * noise[0].numel() ** -0.5
        else:  # variances and factors are near 1, the others near 0
            centre = name.endswith(("running_var", ".weight"))
            state[name] = centre + 0.02 * noise
    return state


def golden_network(data_root: Path, monkeypatch: Any, **changes: Any) -> PanopticNetwork:
    """In evaluation mode, as the golden data are made without dropout."""
    from safetensors.torch import load_file

    state = load_file(golden_folder(data_root, "golden") / "weights.safetensors")
    with monkeypatch.context() as patch:
        thin = functools.partial(timm.create_model, channels=(8, 16, 32, 64))
        patch.setattr("timm.create_model", thin)
        config = replace(
            published_config(state),
            norm_groups=8,
            backbone=BackboneConfig(name="resnet50", pretrained="none"),
            **changes,
        )
        network = PanopticNetwork(config)
    tensors, _ = from_published(state)
    counters = {k: v for k, v in network.state_dict().items() if k.endswith("batches_tracked")}
    network.load_state_dict(counters | tensors)
    return network.eval()


def _added_up(losses: dict[str, float]) -> dict[str, float]:
    """Losses of all layers by our names."""
    total = {
        ours: sum(v for k, v in losses.items() if k.split(".")[-1] == theirs)
        for ours, theirs in LOSSES.items()
    }
    box = {k: v for k, v in losses.items() if k.endswith("loss_bbox")}
    iou = {k: v for k, v in losses.items() if k.endswith("loss_iou")}
    total["thing_box"] = sum(box.values()) - box["loss_bbox"] + iou["loss_iou"]
    total["thing_giou"] = sum(iou.values()) - iou["loss_iou"] + box["loss_bbox"]
    assert abs(sum(total.values()) - sum(losses.values())) < 1e-4
    return total
