"""Image tags: which classes the semantic decoder should find (method b.2)."""

from torch import Tensor

from point2mask.losses.counts import divisor_of
from point2mask.losses.sets import sigmoid_focal


def class_presence_focal(logits: Tensor, present: Tensor, local: bool = False) -> Tensor:
    """Focal loss of the tags, divided by the number of tags of the whole batch.

    Args:
        logits: ``[L, B, C]``, L layers, which are summed.
        present: bool ``[B, C]``.
        local: whether the tags of other processes do not count, as published.

    Returns:
        ``[B]``, the images' parts of the loss of the batch.
    """
    loss = sigmoid_focal(logits, present.to(logits.dtype).expand_as(logits))
    return loss.sum((0, 2)) / divisor_of(present.sum(), local)
