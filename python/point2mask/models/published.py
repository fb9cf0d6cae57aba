"""The published checkpoints (mmdet state dicts) under the names of :class:`PanopticNetwork`.

They are those of Point2Mask, and those of Panoptic SegFormer itself.

Nothing is listed: what a checkpoint must hold follows from the network that its shapes describe, so
a name or a shape that differs in either direction is found when the network is loaded.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from point2mask.messages import shown
from point2mask.models.config import MASK_LEVELS, BackboneConfig, NetworkConfig
from point2mask.models.published_segformer import (
    UNUSED_HEADS,
    is_original,
    mask_decoder_tensors,
)

_HEAD = r"bbox_head\."
_MASK_HEADS = {"things": "thing", "stuff": "stuff", "semantic": "semantic"}

# Names that differ by nothing but their path. The order matters: the first that fits is taken.
_RENAMED = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"backbone\.((?:conv1|bn1|layer\d)\..*)", r"backbone.body.\1"),
        (r"backbone\.(patch_embed\..*)", r"backbone.body.\1"),
        (r"backbone\.layers\.(\d)\.(blocks\..*)", r"backbone.body.layers_\1.\2"),
        (r"neck\.convs\.(\d)\.conv\.(.*)", r"neck.convolutions.\1.\2"),
        (r"neck\.convs\.(\d)\.gn\.(.*)", r"neck.norms.\1.\2"),
        (r"neck\.extra_convs\.0\.conv\.(.*)", rf"neck.convolutions.{MASK_LEVELS}.\1"),
        (r"neck\.extra_convs\.0\.gn\.(.*)", rf"neck.norms.{MASK_LEVELS}.\1"),
        (_HEAD + r"transformer\.level_embeds", "level_embedding"),
        (_HEAD + r"transformer\.reference_points\.(.*)", r"location_decoder.reference_points.\1"),
        (_HEAD + r"query_embedding\.weight", "location_decoder.queries.weight"),
        (_HEAD + r"cls_branches\.(.*)", r"location_decoder.class_heads.\1"),
        (_HEAD + r"reg_branches\.(.*)", r"location_decoder.box_heads.\1"),
        (_HEAD + r"(stuff|semantic)_query\.weight", r"\1_decoder.queries.weight"),
        (_HEAD + r"cls_(stuff|semantic)_branches\.(.*)", r"\1_decoder.class_heads.\2"),
        (_HEAD + r"boundary_proj\.layer\.(.*)", r"pseudo_mask_heads.boundary.\1"),
        (_HEAD + r"memory_proj\.layer\.(.*)", r"pseudo_mask_heads.feature.\1"),
    )
)
_LAYER_PARTS = {
    "encoder": {
        "attentions.0": "attention",
        "norms.0": "attention_norm",
        "norms.1": "feedforward_norm",
    },
    "decoder": {
        "attentions.0.attn": "self_attention",
        "attentions.1": "attention",
        "norms.0": "self_attention_norm",
        "norms.1": "attention_norm",
        "norms.2": "feedforward_norm",
    },
    "mask": {
        "norm1": "attention_norm",
        "norm2": "self_attention_norm",
        "norm3": "feedforward_norm",
        "self_attn": "self_attention",
        "mlp.layers.0": "feedforward.0",
        "mlp.layers.3": "feedforward.2",
        "mask_attn.out_proj": "attention.output",
    },
}
_FEEDFORWARD = {
    "ffns.0.layers.0.0": "feedforward.expand",
    "ffns.0.layers.1": "feedforward.contract",
}
_LAYER_PARTS["encoder"] |= _FEEDFORWARD
_LAYER_PARTS["decoder"] |= _FEEDFORWARD

# What a checkpoint holds beside the network: a counter, constants, and the parts of the last thing
# layer that have no use because its queries go nowhere.
_LEFT_OVER = re.compile(
    r"bbox_head\._iter|.*\.relative_position_index|.*\.attn_mask|"
    rf"bbox_head\.({'|'.join(UNUSED_HEADS)})\..*"
)
# Projections of the further mask levels, taken together with that of the first.
_FURTHER_LEVELS = re.compile(r".*_mask_head\..*\.(mask_projs\.[12]\.0|linear_l[23]\.0)\.\w+")
_UNUSED_IN_LAST = ("norm1.", "norm3.", "mlp.", "mask_attn.out_proj.")


def published_config(state: Mapping[str, Tensor]) -> NetworkConfig:
    """The network that the shapes of a published state dict describe.

    What no shape tells (the groups of norms, dropout) is as published.

    Raises:
        ValueError: the state dict is not that of a published network; says why.
    """
    original = _recognise(state)
    head = "bbox_head."
    classes = state[f"{head}cls_branches.0.weight"]
    layer = "blocks.0.attn.linear_l1" if original else "model.layers.0.mask_attn.mask_projs.0"
    mask_heads = state[f"{head}stuff_mask_head.{layer}.0.weight"]
    width, heads = classes.shape[1], mask_heads.shape[0]
    sampled = state[f"{head}transformer.encoder.layers.0.attentions.0.attention_weights.bias"]
    levels = len(state[f"{head}transformer.level_embeds"])
    expand = state[f"{head}transformer.encoder.layers.0.ffns.0.layers.0.0.weight"]
    rest: dict[str, Any] = {"original": True, "semantic_layers": 0}
    if not original:
        features = state[f"{head}memory_proj.layer.2.bias"]
        rest = {"semantic_layers": _mask_layers(state, "semantic"), "feature_width": len(features)}
    return NetworkConfig(
        num_things=len(classes),
        num_stuff=len(state[f"{head}stuff_query.weight"]),
        backbone=_backbone(state),
        width=width,
        heads=heads,
        points=len(sampled) // (heads * levels),
        feedforward=len(expand),
        encoder_layers=_count(state, rf"{_HEAD}transformer\.encoder\.layers\.(\d+)\."),
        location_layers=_count(state, rf"{_HEAD}transformer\.decoder\.layers\.(\d+)\."),
        queries=len(state[f"{head}query_embedding.weight"]),
        thing_layers=_mask_layers(state, "things") + original,  # the last one stands by itself
        stuff_layers=_mask_layers(state, "stuff"),
        **rest,
    )


def from_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a network from a published state dict, and the names that were left over.

    Raises:
        ValueError: a name that no part of a published network has.
    """
    _recognise(state)
    last = _mask_layers(state, "things") - 1  # of Point2Mask; the original last has a name
    tensors = {  # no part of a checkpoint: img_norm_cfg of the published configurations
        "backbone.mean": torch.tensor([[[0.485]], [[0.456]], [[0.406]]]),
        "backbone.std": torch.tensor([[[0.229]], [[0.224]], [[0.225]]]),
    }
    left_over = []
    for name, tensor in state.items():
        if _LEFT_OVER.fullmatch(name) or _is_unused(name, last):
            left_over.append(name)
        elif found := dict(_converted(name, tensor, state, last)):
            tensors |= found
        elif not _FURTHER_LEVELS.fullmatch(name):
            raise ValueError(f"expected the tensors of a published network, got {shown(name)}")
    if any(f"things_mask_head.model.layers.{last}.mask_attn.in_proj" in name for name in state):
        left_over.append(f"bbox_head.things_mask_head.model.layers.{last}.mask_attn: its values")
    return tensors, left_over


def _recognise(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of Panoptic SegFormer itself, or of Point2Mask.

    Raises:
        ValueError: it is of neither; says of what.
    """
    heads = {name.split(".")[1] for name in state if name.startswith("bbox_head.")}
    if not heads:
        start = ", ".join(sorted({name.split(".")[0] for name in state})[:5]) or "nothing"
        raise ValueError(
            "expected a state dict of mmdet with bbox_head.*, as Point2Mask published them, got "
            f"tensors of {start}"
        )
    original = is_original(heads)
    wanted = {"things_mask_head", "stuff_mask_head", "cls_branches", "query_embedding"}
    wanted |= {"stuff_query", "transformer"}
    if not original:
        wanted |= {"semantic_mask_head", "boundary_proj", "memory_proj"}
    missing = sorted(wanted - heads)
    if missing:
        psps = "; PSPS, for one, has no boundary_proj" if missing == ["boundary_proj"] else ""
        system = "Panoptic SegFormer" if original else "Point2Mask"
        raise ValueError(
            f"expected a checkpoint of {system}, got one without {', '.join(missing)}{psps}"
        )
    return original


def _backbone(state: Mapping[str, Tensor]) -> BackboneConfig:
    if "backbone.patch_embed.proj.weight" in state:
        width = len(state["backbone.patch_embed.proj.weight"])
        table = state["backbone.layers.0.blocks.0.attn.relative_position_bias_table"]
        window = (round(len(table) ** 0.5) + 1) // 2
        if width != 192:
            raise ValueError(f"expected Swin-L, whose first stage has 192 channels, got {width}")
        return BackboneConfig(
            name="swin_large_patch4_window12_384.ms_in22k",
            window=window,
            freeze_stem=False,
            drop_path=0.3,
        )
    depth = _count(state, r"backbone\.layer3\.(\d+)\.")
    names = {6: "resnet50.tv2_in1k", 23: "resnet101.tv2_in1k"}
    if depth not in names:
        parts = sorted({name.split(".")[1] for name in state if name.startswith("backbone.")})
        raise ValueError(
            "expected the backbone ResNet-50, ResNet-101 or Swin-L, got one of other parts or "
            f"numbers of layers ({', '.join(parts[:6])})"
        )
    return BackboneConfig(name=names[depth])


def _converted(
    name: str, tensor: Tensor, state: Mapping[str, Tensor], last: int
) -> Iterator[tuple[str, Tensor]]:
    """Our names and tensors for one published tensor; none where it is left over or unknown."""
    for pattern, replacement in _RENAMED:
        if match := pattern.fullmatch(name):
            yield match.expand(replacement), tensor
            return
    if match := re.fullmatch(_HEAD + r"semantic_proj\.(weight|bias)", name):
        yield {"weight": "semantic_scale", "bias": "semantic_bias"}[match[1]], tensor.flatten()
    elif match := re.fullmatch(r"backbone\.layers\.(\d)\.downsample\.(.*)", name):
        yield f"backbone.body.layers_{int(match[1]) + 1}.downsample.{match[2]}", tensor
    elif match := re.fullmatch(r"backbone\.norm(\d)\.(.*)", name):
        yield f"backbone.norms.{int(match[1]) - 1}.{match[2]}", tensor
    elif match := re.fullmatch(_HEAD + r"transformer\.(en|de)coder\.layers\.(\d+)\.(.*)", name):
        kind = f"{match[1]}coder"
        module = {"encoder": "encoder", "decoder": "location_decoder"}[kind]
        if part := _renamed_part(_LAYER_PARTS[kind], match[3]):
            yield f"{module}.layers.{match[2]}.{part}", tensor
    elif found := dict(mask_decoder_tensors(name, tensor, state)):
        yield from found.items()
    elif match := re.fullmatch(
        _HEAD + r"(things|stuff|semantic)_mask_head\.model\.layers\.(\d+)\.(.*)", name
    ):
        is_last = match[1] == "things" and int(match[2]) == last
        decoder = f"{_MASK_HEADS[match[1]]}_decoder"
        layer = f"{decoder}.last" if is_last else f"{decoder}.layers.{match[2]}"
        attention = layer if is_last else f"{layer}.attention"
        if match[3].startswith("mask_attn.") and "out_proj" not in match[3]:
            stack = _stack_of(name, state)
            for part, value in _attention(match[3].removeprefix("mask_attn."), tensor, stack):
                if not (is_last and part.startswith("value.")):
                    yield f"{attention}.{part}", value
        elif not is_last and (part := _renamed_part(_LAYER_PARTS["mask"], match[3])):
            yield f"{layer}.{part}", tensor


def _renamed_part(parts: Mapping[str, str], path: str) -> str | None:
    """The path of a tensor below a layer, its module renamed; None if the layer has no such."""
    for start, name in parts.items():
        if path.startswith(f"{start}."):
            return name + path.removeprefix(start)
    return None


def _stack_of(name: str, state: Mapping[str, Tensor]) -> Callable[[], Tensor]:
    """The projections of all mask levels, where the name is that of the first."""

    def stack() -> Tensor:
        names = [name.replace("mask_projs.0", f"mask_projs.{i}") for i in range(MASK_LEVELS)]
        for each in names:
            if each not in state:
                raise ValueError(f"expected a tensor {each!r}, got none")
        return torch.stack([state[each] for each in names])

    return stack


def _attention(
    part: str, tensor: Tensor, stack: Callable[[], Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """What one published tensor of a mask attention is here."""
    if match := re.fullmatch(r"in_proj_(weight|bias)", part):
        for projection, value in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            yield f"{projection}.{match[1]}", value
    elif part == "mask_projs.0.0.weight":
        yield "level_weight", stack().flatten(2)
    elif part == "mask_projs.0.0.bias":
        yield "level_bias", stack()[..., None]
    elif part == "mask_proj_all.0.weight":
        yield "mask_weight", tensor.flatten(1)
    elif part == "mask_proj_all.0.bias":
        yield "mask_bias", tensor.squeeze()


def _mask_layers(state: Mapping[str, Tensor], kind: str) -> int:
    return _count(state, rf"{_HEAD}{kind}_mask_head\.(?:model\.layers|blocks)\.(\d+)\.")


def _is_unused(name: str, last: int) -> bool:
    start = f"bbox_head.things_mask_head.model.layers.{last}."
    return name.startswith(start) and name.removeprefix(start).startswith(_UNUSED_IN_LAST)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Numbered modules: one more than the largest number."""
    numbers = [int(match[1]) for name in state if (match := re.match(pattern, name))]
    return max(numbers, default=-1) + 1
