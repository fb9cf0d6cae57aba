"""Pixel-to-target cost: shortest paths over semantic change, boundary and features (method b.4)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask import ops
from point2mask.bilinear import resize

EMPTY_TARGET_COST = 10.0  # what the published code gives a target without a point


def neighbor_values(map_: Tensor) -> Tensor:
    """``[B, h, w]`` -> ``[B, 8, h, w]``: the value at each of the eight neighbours, 0 outside."""
    height, width = map_.shape[-2:]
    padded = F.pad(map_, (1, 1, 1, 1))
    return torch.stack(
        [
            padded[..., 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            for dy, dx in ops.GRID_OFFSETS
        ],
        dim=-3,
    )


def edge_cost(
    semantic: Tensor,
    boundary: Tensor | None = None,
    feature: Tensor | None = None,
    low_level: Tensor | None = None,
    *,
    semantic_weight: float = 1.0,
    boundary_weight: float = 0.1,
    feature_weight: float = 0.1,
    step_weight: float = 0.0,
) -> Tensor:
    """Cost of the directed step between 8-neighbours (the paper's Eq. 3 as published in code).

    ``e(p->q) = semantic_weight * |P(p) - P(q)|_1 + boundary_weight * (max(b(p), b(q)) + E(q))
    + feature_weight * max(0, 1 - <f_p, f_q>) + step_weight``. The supplementary
    material replaces the feature term by the boundary term (``feature_weight=0``); the published
    code keeps both.

    Args:
        semantic: ``[B, C, h, w]`` class likelihoods P.
        boundary: ``[B, h, w]`` probability b of an instance boundary, or None for 0.
        feature: ``[B, D, h, w]`` features f of at most unit length, or None for no such term.
        low_level: ``[B, h, w]`` edge response E in [0, 1] (PSPS: :func:`sobel_lab_edges`).
        semantic_weight, boundary_weight, feature_weight: lambda_prob, beta and lambda_feat.
        step_weight: cost of any step, by which equal regions are split (published: none).

    Returns:
        ``[B, 8, h, w]``, the input of :func:`point2mask.ops.geodesic_distance`.
    """
    cost = semantic_weight * ops.neighbor_difference(semantic, 8, "l1")
    if boundary is not None:
        cost += boundary_weight * torch.maximum(boundary[:, None], neighbor_values(boundary))
    if low_level is not None:
        cost += boundary_weight * neighbor_values(low_level)
    if feature is not None:
        # 1 - <f, g> = |f - g|^2 / 2 + 1 - (|f|^2 + |g|^2) / 2; resized features are shorter than 1.
        missing = 0.5 * (1 - feature.square().sum(1))
        around = neighbor_values(missing) + missing[:, None]
        difference = 0.5 * ops.neighbor_difference(feature, 8, "squared_l2")
        cost += feature_weight * (difference + around).clamp_min(0)
    if step_weight:
        cost += step_weight
    return cost


def close_padding(cost: Tensor, is_image: Tensor) -> Tensor:
    """Forbids every step from padding into the image, in place.

    Args:
        cost: ``[B, 8, h, w]`` directed costs.
        is_image: bool ``[B, h, w]``.
    """
    returns = ~is_image[:, None] & (neighbor_values(is_image.to(cost.dtype)) > 0)
    return cost.masked_fill_(returns, torch.inf)


def target_cost(edges: Tensor, seeds: Tensor) -> Tensor:
    """Shortest-path cost ``[B, K, h, w]`` of every pixel to every target, finite everywhere.

    A target without a point has the constant cost of the published code, 10.

    Args:
        edges: ``[B, 8, h, w]`` directed step costs.
        seeds: int32 ``[B, K, P]`` cells of the targets' points, -1 for none.
    """
    distance = ops.geodesic_distance(edges, seeds)
    return torch.where(distance.isfinite(), distance, EMPTY_TARGET_COST)


def sobel_lab_edges(image: Tensor, height: int, width: int) -> Tensor:
    """The low-level edge map of PSPS, ``[B, h, w]`` in [0, 1].

    Mean over the LAB channels of the squared Sobel response, divided by its largest value more
    than five pixels inside the map, clipped to 1 (Fan et al., ECCV 2022, published code).

    Args:
        image: ``[B, 3, H, W]`` RGB in [0, 1].
        height, width: size of the map.
    """
    lab = ops.rgb_to_lab(resize(image, height, width))
    kernel = lab.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack([kernel, kernel.T])[:, None]
    padded = F.pad(lab, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    response = F.conv2d(padded, kernels).square().sum(1).view(lab.shape).mean(1)
    border = min(5, (min(height, width) - 1) // 2)
    inner = response[:, border : height - border, border : width - border]
    return (response / inner.amax((1, 2), keepdim=True).clamp_min(1e-12)).clamp_max(1.0)
