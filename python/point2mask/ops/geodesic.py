"""Shortest paths over an image, from the points of every target to every pixel."""

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
def geodesic_distance(edge_cost: Tensor, seeds: Tensor) -> Tensor:
    """Cost of the cheapest path from the seeds of every target to every pixel.

    This is the cost of a pixel for a target in Point2Mask (eq. 3): the sum of the costs of the
    steps along the best path over the 8-connected grid.

    The distance D is the unique fixed point, reached from +inf, of
    ``D[v] = min over u of fl(D[u] + cost of the step u -> v)`` with D = 0 at the seeds, where fl
    rounds to the dtype. So it has the bits of Dijkstra's algorithm in that dtype, on any device and
    for any number of threads.

    Args:
        edge_cost: float32 or float64 ``[B, 8, H, W]``, the cost of the directed step from a pixel
            by (dy, dx) = (1, 0), (0, 1), (1, 1), (1, -1), (-1, 0), (0, -1), (-1, -1), (-1, 1);
            not negative, +inf for a wall. Steps that leave the image are not looked at.
        seeds: int32 ``[B, K, P]``, the pixels y·W + x of every target, -1 for padding.

    Returns:
        ``[B, K, H, W]``, the dtype of ``edge_cost``; +inf where no seed reaches, and everywhere for
        a target without seeds. The gradient with respect to ``edge_cost`` follows one shortest path
        to every pixel, even where several are equally short: of those with the fewest steps (over
        steps whose rounded sum is equal), the one that takes the step of smallest direction index,
        chosen from the pixel backwards. Infinite distances have no gradient.

    Raises:
        ValueError: wrong shape or dtype, a negative or NaN cost of a step inside the image, or a
            seed outside ``[-1, H·W)``.

    Steps of cost 1, seeds in two corners of 2 x 4 pixels:

    >>> seeds = torch.tensor([[[0], [7]]], dtype=torch.int32)
    >>> geodesic_distance(torch.ones(1, 8, 2, 4), seeds)[0].int().tolist()
    [[[0, 1, 2, 3], [1, 1, 2, 3]], [[3, 2, 1, 1], [3, 2, 1, 0]]]
    """
    distance: Tensor = torch.ops.point2mask.geodesic_distance.default(edge_cost, seeds)
    return distance


run_in_float32("geodesic_distance")


@register_fake("geodesic_distance")
def _(edge_cost: Tensor, seeds: Tensor) -> Tensor:
    torch._check(
        edge_cost.dim() == 4 and edge_cost.shape[1] == 8,
        lambda: f"edge_cost must have shape [B, 8, H, W], got {edge_cost.shape}",
    )
    check_rank("seeds", seeds, "B, K, P")
    images, _, height, width = edge_cost.shape
    return edge_cost.new_empty((images, seeds.shape[1], height, width))


def _save_paths(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    edge_cost, seeds = inputs
    ctx.save_for_backward(edge_cost, output, seeds)


def _geodesic_distance_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    edge_cost, distance, seeds = ctx.saved_tensors
    backward = torch.ops.point2mask.geodesic_distance_backward.default
    return backward(grad, edge_cost, distance, seeds), None


differentiable("geodesic_distance", _geodesic_distance_backward, _save_paths, like=(1,))
