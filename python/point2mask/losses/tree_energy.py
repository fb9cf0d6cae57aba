"""Long-range colour affinity of the semantic map (supplementary material Eq. 6 and 7)."""

from torch import Tensor

from point2mask import ops
from point2mask.losses.counts import divisor_of
from point2mask.pseudo_masks.image_tree import ImageTree


def tree_energy(
    logits: Tensor, tree: ImageTree, valid: Tensor, label: Tensor, local: bool = False
) -> Tensor:
    """Σ_i |p_i - p̂_i| / #unlabelled, with p̂ = p filtered along the tree (Eq. 7).

    As published the sum runs over all pixels and the count, the batch's, over the unlabelled ones.
    It is at least 1 here; the published count reaches 0 and below where squares overlap.

    Args:
        logits: float ``[L, B, C, h, w]``, L layers, which are summed.
        tree: of the images.
        valid: bool ``[B, h, w]``, cells that hold image.
        label: int ``[B, h, w]``, class known from a click, -1 = unlabelled.
        local: whether the pixels of other processes do not count, as published.

    Returns:
        ``[B]``, the images' parts of the loss of the batch.
    """
    # Layers and classes together are the channels of one pass over the tree.
    probability = logits.softmax(2).transpose(0, 1).flatten(3).flatten(1, 2)
    filtered = ops.tree_filter(
        probability, tree.order, tree.parent, tree.similarity.to(probability.dtype)
    )
    difference = (probability - filtered).abs().sum(1)
    energy = (difference * valid.flatten(1)).sum(1)
    return energy / divisor_of((valid & (label < 0)).sum(), local)
