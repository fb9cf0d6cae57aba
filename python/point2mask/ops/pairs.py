"""Differences and losses on pairs of neighbouring pixels.

None of them stores a copy of the map for every neighbour, as ``unfold`` does.
"""

from typing import Any, Literal, cast

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
        ValueError: wrong shape, dtype, number of directions or norm.

    >>> neighbor_difference(torch.tensor([[[[0.0, 0, 1], [0, 1, 1]]]]), 2).int().tolist()
    [[[[0, 1, 0], [0, 0, 0]], [[0, 1, 0], [1, 0, 0]]]]
    """
    difference: Tensor = torch.ops.point2mask.neighbor_difference.default(feature, directions, norm)
    return difference


@takes_tensors
def lab_affinity_loss(
    logits: Tensor,
    lab: Tensor,
    kernel_size: int = 3,
    dilation: int = 2,
    theta: float = 2.0,
    threshold: float = 0.3,
    valid: Tensor | None = None,
) -> Tensor:
    """Pulls neighbouring pixels of like colour towards the same class (supplement, Eq. 4-5).

    With p the softmax of the logits, the mean over all pairs of pixels (i, j) with
    exp(-‖lab_i - lab_j‖ / theta) >= threshold of -log Σ_c p_ic p_jc, where j lies in the dilated
    window around i. Only pairs inside the image and of two valid pixels take part; the published
    code lets its zero padding take part as black pixels of probability one.

    Args:
        logits: float32 or float64 ``[B, C, H, W]``, finite where valid, C >= 1.
        lab: ``[B, 3, H, W]``, the same dtype, CIE LAB colours (see :func:`rgb_to_lab`), finite
            where valid. Not differentiated: it comes from the image.
        kernel_size: of the square window, odd and at least 3.
        dilation: distance of neighbouring window positions, pixels.
        theta: scale of the colour distance, LAB units.
        threshold: in (0, 1], least similarity of a pair.
        valid: bool ``[B, H, W]``, the pixels that take part; None for all. Other pixels' values
            are not looked at and their gradient is 0.

    Returns:
        ``[B]``, one loss an image, at least 0; 0 where no pair is similar. Differentiable with
        respect to the logits. Loss and gradient are finite for any finite logits: pairs whose
        probability of agreement underflows are computed in the log domain.

    Raises:
        ValueError: wrong shape, dtype or parameter, or NaN or infinity in a valid pixel.
    """
    loss, _ = torch.ops.point2mask.lab_affinity_loss.default(
        logits, lab, kernel_size, dilation, theta, threshold, valid
    )
    return cast(Tensor, loss)


@takes_tensors
def boundary_loss(
    boundary: Tensor, instance: Tensor, semantic: Tensor, kernel_size: int = 3, dilation: int = 1
) -> Tensor:
    """Teaches a boundary map to separate what the masks separate.

    For a pixel i and each j in the dilated window around it, inside the image, let
    a = 1 - max(b_i, b_j). With means over pairs of the same instance (thing), of no instance but
    the same class (stuff), and of differing instances or known differing classes (apart), the loss
    is 1/4 mean_thing(-log(a + e)) + 1/4 mean_stuff(-log(a + e)) + 1/2 mean_apart(-log(1 - a + e)),
    e = 1e-5; the mean over no pair is 0. Pairs that leave the image do not take part; the
    published code's zero padding makes pixels of a mask at the image border "apart".

    Args:
        boundary: float32 or float64 ``[B, H, W]``, probability of a boundary, in [0, 1].
        instance: int32 ``[B, H, W]``, the thing instance of each pixel, -1 for none.
        semantic: int32 ``[B, H, W]``, the class of each pixel, -1 to ignore.
        kernel_size: of the square window, odd and at least 3.
        dilation: distance of neighbouring window positions, pixels.

    Returns:
        ``[B]``, one loss an image, at least -1e-5. Differentiable with respect to the boundary;
        where b_i = b_j both take half of the maximum's gradient, as in :func:`torch.maximum`.

    Raises:
        ValueError: wrong shape, dtype or parameter, a boundary that is NaN or outside [0, 1], or
            a label below -1.
    """
    loss, _ = torch.ops.point2mask.boundary_loss.default(
        boundary, instance, semantic, kernel_size, dilation
    )
    return cast(Tensor, loss)


for _name in ("neighbor_difference", "lab_affinity_loss", "boundary_loss"):
    run_in_float32(_name)


@register_fake("neighbor_difference")
def _(feature: Tensor, directions: int = 8, norm: str = "l1") -> Tensor:
    check_rank("feature", feature, "B, C, H, W")
    images, _, height, width = feature.shape
    return feature.new_empty((images, directions, height, width))


@register_fake("lab_affinity_loss")
def _(logits: Tensor, lab: Tensor, *parameters: Any, **named: Any) -> tuple[Tensor, Tensor]:
    images = logits.shape[0]
    return logits.new_empty((images,)), logits.new_empty((images,), dtype=torch.int64)


@register_fake("boundary_loss")
def _(boundary: Tensor, *arguments: Any, **named: Any) -> tuple[Tensor, Tensor]:
    images = boundary.shape[0]
    return boundary.new_empty((images,)), boundary.new_empty((images, 3), dtype=torch.int64)


def _save_difference(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    feature, _, ctx.norm = inputs
    ctx.save_for_backward(feature, output)


def _neighbor_difference_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    feature, difference = ctx.saved_tensors
    backward = torch.ops.point2mask.neighbor_difference_backward.default
    return backward(grad, feature, difference, ctx.norm), None, None


def _save_lab_affinity(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    logits, lab, *ctx.parameters, valid = inputs
    ctx.save_for_backward(logits, lab, output[1], valid)


def _lab_affinity_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    logits, lab, pairs, valid = ctx.saved_tensors
    backward = torch.ops.point2mask.lab_affinity_loss_backward.default
    return backward(grad, logits, lab, pairs, *ctx.parameters, valid), *(None,) * 6


def _save_boundary(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    boundary, instance, semantic, *ctx.parameters = inputs
    ctx.save_for_backward(boundary, instance, semantic, output[1])


def _boundary_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    backward = torch.ops.point2mask.boundary_loss_backward.default
    return backward(grad, *ctx.saved_tensors, *ctx.parameters), *(None,) * 4


for _name, _backward, _save in (
    ("neighbor_difference", _neighbor_difference_backward, _save_difference),
    ("lab_affinity_loss", _lab_affinity_backward, _save_lab_affinity),
    ("boundary_loss", _boundary_backward, _save_boundary),
):
    differentiable(_name, _backward, _save, like=(1,))  # the map
