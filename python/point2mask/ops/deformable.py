"""Multi-scale deformable attention: a few bilinear reads a query instead of a whole map."""

from typing import Any

import torch
from torch import Tensor

from point2mask.ops._library import (
    check_rank,
    differentiable,
    register_fake,
    run_in_float32,
    takes_tensors,
)


@takes_tensors
def deformable_attention(value: Tensor, where: Tensor, weight: Tensor, shapes: Tensor) -> Tensor:
    """Weighted bilinear reads of every query and head on several maps (Zhu et al., ICLR 2021).

    ``output[b, q, m] = sum over l, p of weight[b, q, m, l, p] · V_l(where[b, q, m, l, p])`` with
    V_l the map l of image b and head m, bilinear between the centres of cells and 0 outside: what
    ``torch.nn.functional.grid_sample`` gives for the grid ``2 where - 1`` with
    ``align_corners=False``. Q queries, M heads, L maps (at most 16 on CUDA), P points, S cells.

    Args:
        value: float32 or float64 ``[B, S, M, C]``, the maps one after the other, row-major.
        where: ``[B, Q, M, L, P, 2]``, x and y; a map is the unit square. A NaN reads 0.
        weight: ``[B, Q, M, L, P]``.
        shapes: int64 ``[L, 2]``, h and w of the maps, S cells together; on the CPU, on whatever
            device the others are, so that they are checked without waiting for it.

    Returns:
        ``[B, Q, M, C]``. All three floating arguments have gradients; at the borders between
        cells, where the bilinear map has a kink, that of the cell to the right and below.

    Raises:
        ValueError: wrong shapes, dtypes or devices, or maps that do not have S cells together.
    """
    output: Tensor = torch.ops.point2mask.deformable_attention.default(value, where, weight, shapes)
    return output


run_in_float32("deformable_attention")


@register_fake("deformable_attention")
def _(value: Tensor, where: Tensor, weight: Tensor, shapes: Tensor) -> Tensor:
    check_rank("value", value, "B, S, M, C")
    check_rank("where", where, "B, Q, M, L, P, 2")
    images, _, heads, channels = value.shape
    return value.new_empty((images, where.shape[1], heads, channels))


def _save_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _deformable_attention_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    backward = torch.ops.point2mask.deformable_attention_backward.default
    return *backward(grad, *ctx.saved_tensors), None


differentiable("deformable_attention", _deformable_attention_backward, _save_inputs, like=(1, 2, 3))
