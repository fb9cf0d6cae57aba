"""Differences and losses on pairs of neighbouring pixels.

None of them stores a copy of the map for every neighbour, as ``unfold`` does.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from point2mask.ops._library import NAMESPACE, register_fake, run_in_float32


def neighbor_difference(
    feature: Tensor, directions: int = 8, norm: Literal["l1", "l2", "squared_l2"] = "l1"
) -> Tensor:
    """Distance between the features of every pixel and of its neighbours.

    With L1 and class probabilities this is the semantic term of the cost of a step between
    neighbouring pixels; with squared L2 and colours, the edge weight of the spanning tree.

    Args:
        feature: float32 or float64 ``[B, C, H, W]``.
        directions: D, which of the steps (1, 0), (0, 1), (1, 1), (1, -1), (-1, 0), (0, -1),
            (-1, -1), (-1, 1) (dy, dx): 2 and 4 for the undirected edges of the 4- and the
            8-connected grid, 8 for all directed ones.
        norm: ``l1`` sums absolute differences, ``squared_l2`` squares, ``l2`` is Euclidean.

    Returns:
        ``[B, D, H, W]``, the dtype of ``feature``; 0 where the neighbour lies outside the image.
        Differentiable; the gradient is 0 where the norm has none (l1 and l2 of equal values).
        NaN is not looked for: it propagates into the pairs of its pixel.

    Raises:
        RuntimeError: wrong shape, dtype, number of directions or norm.
    """
    difference: Tensor = torch.ops.point2mask.neighbor_difference.default(feature, directions, norm)
    return difference


run_in_float32("neighbor_difference")


@register_fake("neighbor_difference")
def _(feature: Tensor, directions: int = 8, norm: str = "l1") -> Tensor:
    torch._check(
        feature.dim() == 4, lambda: f"feature must have shape [B, C, H, W], got {feature.shape}"
    )
    images, _, height, width = feature.shape
    return feature.new_empty((images, directions, height, width))


@register_fake("neighbor_difference_backward")
def _(grad_difference: Tensor, feature: Tensor, difference: Tensor, norm: str) -> Tensor:
    return torch.empty_like(feature, memory_format=torch.contiguous_format)


def _save_feature(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    feature, _, ctx.norm = inputs
    ctx.save_for_backward(feature, output)


def _neighbor_difference_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    feature, difference = ctx.saved_tensors
    backward = torch.ops.point2mask.neighbor_difference_backward.default
    return backward(grad, feature, difference, ctx.norm), None, None


torch.library.register_autograd(
    f"{NAMESPACE}::neighbor_difference", _neighbor_difference_backward, setup_context=_save_feature
)
