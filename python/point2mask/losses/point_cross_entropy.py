"""Cross-entropy of the semantic map where the class is known (method b.2, ``loss_sem_mask``)."""

import torch.nn.functional as F
from torch import Tensor

from point2mask.losses.counts import divisor_of


def point_cross_entropy(logits: Tensor, label: Tensor, local: bool = False) -> Tensor:
    """-Σ_{i labelled} log p_i(label_i) / #labelled; the count is that of the whole batch.

    Args:
        logits: float ``[L, B, C, h, w]``, L layers, which are summed.
        label: int64 ``[B, h, w]``, -1 where the class is not known.
        local: whether the labels of other processes do not count, as published.

    Returns:
        ``[B]``, the images' parts of the loss of the batch; 0 where nothing is labelled.
    """
    loss = F.cross_entropy(
        logits.flatten(0, 1), label.repeat(len(logits), 1, 1), ignore_index=-1, reduction="none"
    )
    per_image = loss.flatten(1).sum(1).view(logits.shape[:2]).sum(0)
    return per_image / divisor_of((label >= 0).sum(), local)
