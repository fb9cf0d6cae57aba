"""The pair losses in eager torch with ``unfold``, as published code computes them: slow and large,
but another algorithm than ours, and differentiated by autograd."""

import torch
import torch.nn.functional as F
from torch import Tensor


def neighbors(x: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """[B, C, H, W] -> [B, C, k²-1, H, W], zero padded."""
    images, channels, height, width = x.shape
    patches = F.unfold(x, kernel_size, dilation=dilation, padding=kernel_size // 2 * dilation)
    patches = patches.view(images, channels, kernel_size**2, height, width)
    center = kernel_size**2 // 2
    return torch.cat((patches[:, :, :center], patches[:, :, center + 1 :]), 2)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, 0).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp_min(1)


def lab_affinity_loss(
    logits: Tensor,
    lab: Tensor,
    kernel_size: int = 3,
    dilation: int = 2,
    theta: float = 2.0,
    threshold: float = 0.3,
    valid: Tensor | None = None,
) -> Tensor:
    """Unlike the published code, without the pairs that leave the image."""
    used = torch.ones_like(lab[:, :1]) if valid is None else valid[:, None].to(lab.dtype)
    both = (used * neighbors(used, kernel_size, dilation)[:, 0]) > 0
    log_p = logits.log_softmax(1)
    distance = (lab[:, :, None] - neighbors(lab, kernel_size, dilation)).norm(dim=1)
    near = ((-distance / theta).exp() >= threshold) & both
    agreement = (log_p[:, :, None] + neighbors(log_p, kernel_size, dilation)).logsumexp(1)
    return _mean(-agreement, near)


def boundary_loss(
    boundary: Tensor, instance: Tensor, semantic: Tensor, kernel_size: int = 3, dilation: int = 1
) -> Tensor:
    """Unlike the published code, without the pairs that leave the image."""

    def pairs(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x[:, None].to(boundary.dtype)
        return x, neighbors(x, kernel_size, dilation)[:, 0]

    here, there = pairs(torch.ones_like(boundary))
    inside = here * there > 0
    a = 1 - torch.maximum(*pairs(boundary))
    (i, j), (s, t) = pairs(instance), pairs(semantic)
    thing = (i == j) & (i >= 0) & inside
    stuff = (i == -1) & (j == -1) & (s == t) & (s >= 0) & inside
    apart = ((i != j) | ((s != t) & (s >= 0) & (t >= 0))) & inside
    together = -(a + 1e-5).log()
    return (_mean(together, thing) + _mean(together, stuff)) / 4 + _mean(
        -(1 + 1e-5 - a).log(), apart
    ) / 2
