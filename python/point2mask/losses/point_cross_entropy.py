"""Cross-entropy of the semantic map where the class is known (method b.2, ``loss_sem_mask``)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask import ops
from point2mask.losses.counts import divisor_of


def point_cross_entropy(
    logits: Tensor, label: Tensor, local: bool = False, by_class: bool = False
) -> Tensor:
    """-Σ_{i labelled} log p_i(label_i) / #labelled; the count is that of the whole batch.

    Args:
        logits: float ``[L, B, C, h, w]``, L layers, which are summed.
        label: int64 ``[B, h, w]``, -1 where the class is not known.
        local: whether the labels of other processes do not count, as published.
        by_class: whether the classes of an image share its weight, the number of its labels, alike,
            however many labels each has. Published: all labels count alike.

    Returns:
        ``[B]``, the images' parts of the loss of the batch; 0 where nothing is labelled.
    """
    loss = F.cross_entropy(
        logits.flatten(0, 1), label.repeat(len(logits), 1, 1), ignore_index=-1, reduction="none"
    )
    if by_class:
        loss = loss * _class_weights(label, logits).repeat(len(logits), 1, 1)
    per_image = loss.flatten(1).sum(1).view(logits.shape[:2]).sum(0)
    return per_image / divisor_of((label >= 0).sum(), local)


def _class_weights(label: Tensor, logits: Tensor) -> Tensor:
    """``[B, h, w]``: what a label counts if the classes of its image count alike; 0 without one."""
    count = ops.mask_statistics(label.int(), logits.shape[2]).area.to(logits.dtype)
    share = count.sum(1, keepdim=True) / (count > 0).sum(1, keepdim=True).clamp(min=1)
    weight = (share / count.clamp(min=1)).gather(1, label.clamp(min=0).flatten(1))
    return torch.where(label >= 0, weight.view_as(label), 0)
