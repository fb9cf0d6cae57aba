"""Losses of a set of things or stuff: classes, boxes and masks (method b.8)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.models import NetworkOutput

ALPHA, GAMMA = 0.25, 2.0
EPSILON = 1e-3  # of the dice


class SegmentLosses(NamedTuple):
    """What the things and stuff that a network finds cost it."""

    losses: dict[str, Tensor]  # by name, [B] each, not weighted yet
    counts: Tensor  # [2], things and stuff to be found, over all processes


def full(x: Tensor) -> Tensor:
    """At least float32: losses are not for half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def full_precision(output: NetworkOutput) -> torch.autocast:
    """A block in which nothing is computed in half precision."""
    return torch.autocast(output.boundary_logits.device.type, enabled=False)


def sigmoid_focal(logits: Tensor, target: Tensor) -> Tensor:
    """α_t (1 - p_t)^γ (-log p_t), element by element (Lin et al., ICCV 2017, Eq. 5)."""
    probability = logits.sigmoid()
    miss = target + probability - 2 * target * probability  # 1 - p_t
    alpha = ALPHA * target + (1 - ALPHA) * (1 - target)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return alpha * miss**GAMMA * entropy


def box_corners(box: Tensor) -> Tensor:
    """Centre x, y, width, height to x0, y0, x1, y1."""
    centre, half = box[..., :2], box[..., 2:] / 2
    return torch.cat((centre - half, centre + half), -1)


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU - |hull without union| / |hull| of boxes x0, y0, x1, y1 (Rezatofighi et al., CVPR 2019).

    Broadcasts over the leading dimensions. 0 / 0 of boxes without extent counts as 0.
    """
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0)
    outer = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    common, hull = inner.prod(-1), outer.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common
    tiny = torch.finfo(a.dtype).tiny
    return common / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)


def dice(mask: Tensor, target: Tensor, epsilon: float = EPSILON) -> Tensor:
    """1 - 2 Σ m t / (Σ m² + Σ t² + 2 ε) over the last dimension (Milletari et al., 3DV 2016).

    The published masks are ReLU outputs and go in as they are, without a sigmoid.
    """
    common = (mask * target).sum(-1)
    squares = mask.square().sum(-1) + target.square().sum(-1)
    return 1 - 2 * common / (squares + 2 * epsilon)
