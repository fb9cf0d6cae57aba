"""Losses of a set of things or stuff: classes, boxes and masks (method b.8)."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from point2mask.models.matching import ALPHA, GAMMA

EPSILON = 1e-3  # of the dice


class SegmentLosses(NamedTuple):
    """What the things and stuff that a network finds cost it."""

    losses: dict[str, Tensor]  # by name, [B] each, not weighted yet
    counts: Tensor  # [2], things and stuff to be found, over all processes, for their shares


def sigmoid_focal(logits: Tensor, target: Tensor) -> Tensor:
    """α_t (1 - p_t)^γ (-log p_t), element by element (Lin et al., ICCV 2017, Eq. 5).

    Certain and right costs nothing, certain and wrong does:

    >>> import torch
    >>> sigmoid_focal(torch.tensor([9.0, 9]), torch.tensor([1.0, 0])).round(decimals=2)
    tensor([0.0000, 6.7500])
    """
    probability = logits.sigmoid()
    miss = target + probability - 2 * target * probability  # 1 - p_t
    alpha = ALPHA * target + (1 - ALPHA) * (1 - target)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return alpha * miss**GAMMA * entropy


def dice(mask: Tensor, target: Tensor) -> Tensor:
    """1 - 2 Σ m t / (Σ m² + Σ t² + 2 ε) over the last dimension (Milletari et al., 3DV 2016).

    The published masks are ReLU outputs and go in as they are, without a sigmoid.

    >>> import torch
    >>> dice(torch.tensor([1.0, 1, 0, 0]), torch.tensor([1.0, 1, 1, 1])).round(decimals=2)
    tensor(0.3300)
    """
    common = (mask * target).sum(-1)
    squares = mask.square().sum(-1) + target.square().sum(-1)
    return 1 - 2 * common / (squares + 2 * EPSILON)
