"""The published MaskDINO of golden data, small, with its weights; and what it is to compute."""

import functools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from point2mask.models import (
    BackboneConfig,
    MaskDINOConfig,
    MaskDINONetwork,
)
from point2mask.models.config import STRIDES

FOLDER = Path(__file__).resolve().parents[1] / "../shared/data/published_maskdino"
# Theirs, by the beginnings and ends of their names.
RENAMED = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"pixel_decoder\.input_proj\.(\d)\.0\.(.*)", r"neck.convolutions.\1.\2"),
        (r"pixel_decoder\.input_proj\.(\d)\.1\.(.*)", r"neck.norms.\1.\2"),
        (r"pixel_decoder\.transformer\.level_embed", "level_embedding"),
        (r"pixel_decoder\.adapter_1\.norm\.(.*)", r"mask_features.lateral_norm.\1"),
        (r"pixel_decoder\.adapter_1\.(.*)", r"mask_features.lateral.\1"),
        (r"pixel_decoder\.layer_1\.norm\.(.*)", r"mask_features.smooth_norm.\1"),
        (r"pixel_decoder\.layer_1\.(.*)", r"mask_features.smooth.\1"),
        (r"pixel_decoder\.mask_features\.(.*)", r"mask_features.output.\1"),
        (r"predictor\.enc_output_norm\.(.*)", r"selection.norm.\1"),
        (r"predictor\.enc_output\.(.*)", r"selection.linear.\1"),
        (r"predictor\.class_embed\.(.*)", r"heads.classes.\1"),
        (r"predictor\.label_enc\.(.*)", r"label_embedding.\1"),
        (r"predictor\.decoder_norm\.(.*)", r"heads.norm.\1"),
    )
)
PARTS = {
    "encoder": {
        **{"self_attn": "attention", "norm1": "attention_norm", "norm2": "feedforward_norm"},
        **{"linear1": "feedforward.expand", "linear2": "feedforward.contract"},
    },
    "decoder": {
        **{"self_attn": "self_attention", "cross_attn": "attention"},
        **{"norm1": "attention_norm", "norm2": "self_attention_norm", "norm3": "feedforward_norm"},
        **{"linear1": "feedforward.expand", "linear2": "feedforward.contract"},
    },
}
# Second names of the shared heads.
ALIAS = re.compile(r"predictor\.(decoder\.norm|bbox_embed|decoder\.bbox_embed|decoder\.bbox)\..*")


def our_name(name: str) -> str | None:
    """Ours for a tensor of theirs; None for a second name."""
    name = name.removeprefix("sem_seg_head.")
    for pattern, ours in RENAMED:
        if match := pattern.fullmatch(name):
            return match.expand(ours)
    if match := re.fullmatch(r"predictor\.mask_embed\.layers\.(\d)\.(.*)", name):
        return f"heads.masks.{2 * int(match[1])}.{match[2]}"
    if match := re.fullmatch(r"predictor\._bbox_embed\.layers\.(\d)\.(.*)", name):
        return f"heads.boxes.{2 * int(match[1])}.{match[2]}"
    if match := re.fullmatch(r"predictor\.decoder\.ref_point_head\.layers\.(\d)\.(.*)", name):
        return f"decoder.position.{2 * int(match[1])}.{match[2]}"
    if match := re.fullmatch(r".*(encoder|decoder)\.layers\.(\d+)\.(\w+?)([._].*)", name):
        kind, layer = match[1], match[2]
        part, _, rest = name.partition(f"{kind}.layers.{layer}.")[2].partition(".")
        return f"{kind}.layers.{layer}.{PARTS[kind][part]}.{rest}"
    assert ALIAS.fullmatch(name), name
    return None


def our_tensor(name: str, tensor: Tensor, config: MaskDINOConfig) -> Tensor:
    """Their decoder has the coarsest level first."""
    if "cross_attn.sampling_offsets" in name or "cross_attn.attention_weights" in name:
        numbers = 2 if "offsets" in name else 1
        shape = (config.heads, len(STRIDES), config.points * numbers)
        return tensor.unflatten(0, shape).flip(1).flatten(0, 2)
    return tensor


class Golden(NamedTuple):
    config: MaskDINOConfig
    values: dict[str, Any]
    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    eval: dict[str, Tensor]
    train: dict[str, Tensor]
    units: dict[str, Tensor]


@functools.cache
def golden() -> Golden:
    if not FOLDER.is_dir():
        pytest.skip(f"no {FOLDER}")
    values = json.loads((FOLDER / "golden.json").read_text())
    sizes = values["config"]
    config = MaskDINOConfig(
        num_things=sizes["things"],
        num_stuff=sizes["stuff"],
        backbone=BackboneConfig(name="tf_efficientnet_lite0", pretrained="none", freeze_stem=False),
        width=sizes["width"],
        heads=sizes["heads"],
        points=sizes["points_per_map"],
        feedforward=sizes["enc_ffn"],
        encoder_layers=sizes["enc_layers"],
        decoder_layers=sizes["dec_layers"],
        decoder_feedforward=sizes["dec_ffn"],
        queries=sizes["queries"],
        denoising_queries=sizes["dn_num"],
        denoising_noise=sizes["noise"],
        semantic_layers=1,
        feature_width=8,
    )
    files = ("weights", "inputs", "eval", "train", "units")
    return Golden(config, values, *(load_file(FOLDER / f"{name}.safetensors") for name in files))


class Given(torch.nn.Module):
    """The maps of the golden data in place of a backbone's."""

    def __init__(self, maps: list[Tensor]) -> None:
        super().__init__()
        self.maps = maps
        self.channels = [x.shape[1] for x in maps]

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.maps


def network(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> MaskDINONetwork:
    """With the published weights; only the maps of Point2Mask are as initialised."""
    data = golden()
    maps = [data.inputs[f"res{stage}"].clone().requires_grad_() for stage in (2, 3, 4, 5)]
    config = replace(data.config, **changes)
    monkeypatch.setattr("point2mask.models.maskdino.Backbone", lambda *_: Given(maps))
    torch.manual_seed(0)
    made = MaskDINONetwork(config)
    state = {}
    for name, tensor in data.weights.items():
        if ours := our_name(name):
            state[ours] = our_tensor(name, tensor, config)
    missing, unexpected = made.load_state_dict(state, strict=False)
    assert not unexpected
    heads = ("semantic_", "pseudo_mask_heads.")
    assert all(name.startswith(heads) for name in missing), missing
    return made


def images() -> tuple[Tensor, Tensor]:
    height, width = golden().values["config"]["image"]
    return torch.zeros(2, 3, height, width), torch.tensor([[height, width]] * 2)
