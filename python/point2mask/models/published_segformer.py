"""The mask decoders in checkpoints of Panoptic SegFormer itself (Li et al., CVPR 2022).

All else has the names that it has in those of Point2Mask.
"""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from point2mask.models.config import MASK_LEVELS

_DECODERS = {"things": "thing_decoder", "stuff": "stuff_decoder"}
_ATTENTION = {"q": "query", "k": "key", "v": "value", "proj": "output"}
_LAYER = {
    "head_norm1": "attention_norm",
    "head_norm2": "feedforward_norm",
    "norm3": "self_attention_norm",
    "mlp.fc1": "feedforward.0",
    "mlp.fc2": "feedforward.2",
    "self_attention.proj": "self_attention.out_proj",
}
# Heads of the mask decoder whose losses have the weight 0 and which serve no result.
UNUSED_HEADS = ("cls_thing_branches", "reg_branches2")


def is_original(heads: set[str]) -> bool:
    """Whether the modules of ``bbox_head`` are those of Panoptic SegFormer itself."""
    return not heads.isdisjoint(UNUSED_HEADS)


def mask_decoder_tensors(
    name: str, tensor: Tensor, state: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Our names and tensors for one of a mask decoder; none where it is none, or taken elsewhere.

    Raises:
        ValueError: a projection of another mask level is missing.
    """
    match = re.fullmatch(
        r"bbox_head\.(things|stuff)_mask_head\.(?:blocks\.(\d+)\.|(attnen)\.)(.*)\.(weight|bias)",
        name,
    )
    if match is None:
        return
    head, number, tail, module, kind = match.groups()
    layer = f"{_DECODERS[head]}.last" if tail else f"{_DECODERS[head]}.layers.{number}"
    part = module if tail else module.removeprefix("attn.")
    attention = layer if tail else f"{layer}.attention"
    if not tail and part == module:  # of the layer, not of its attention
        if module in _LAYER:
            yield f"{layer}.{_LAYER[module]}.{kind}", tensor
        elif module == "self_attention.qkv":
            yield f"{layer}.self_attention.in_proj_{kind}", tensor
    elif part in _ATTENTION:
        yield f"{attention}.{_ATTENTION[part]}.{kind}", tensor
    elif part == "linear.0":
        yield f"{attention}.mask_{kind}", tensor if kind == "weight" else tensor.squeeze()
    elif part == "linear_l1.0":  # those of the other levels are taken with it
        names = [name.replace("linear_l1", f"linear_l{i + 1}") for i in range(MASK_LEVELS)]
        for each in names:
            if each not in state:
                raise ValueError(f"expected a tensor {each!r}, got none")
        levels = torch.stack([state[each] for each in names])
        yield f"{attention}.level_{kind}", levels if kind == "weight" else levels[..., None]
