"""Long-range colour affinity of the semantic map (supplementary material Eq. 6 and 7)."""

from typing import NamedTuple

import torch
from torch import Tensor

from point2mask import ops
from point2mask.losses.counts import divisor_of

_FAR = 1e3  # in units of the normalised colour: farther than any two colours


class ImageTree(NamedTuple):
    """The minimum spanning tree of every image; see :mod:`point2mask.ops.tree` for ranks."""

    order: Tensor  # int32 [B, N]
    parent: Tensor  # int32 [B, N]
    similarity: Tensor  # [B, N], in [0, 1], of the edge to the parent


@torch.no_grad()
def image_tree(guide: Tensor, valid: Tensor, sigma: float = 0.02) -> ImageTree:
    """The tree of the 4-connected grid with edges ‖g_i - g_j‖² and similarities exp(-edge / σ).

    One tree serves all layers of a step. Padding hangs on an edge of similarity 0, so an image's
    part is the tree that the image alone has.

    Args:
        guide: ``[B, 3, h, w]``, RGB normalised by the backbone's mean and deviation.
        valid: bool ``[B, h, w]``, cells that hold image.
        sigma: θ₂ of Eq. 6.
    """
    inside = valid[:, None]
    apart = torch.where(inside, _FAR, 0.0).to(guide.dtype)
    tree = ops.minimum_spanning_tree(torch.cat((torch.where(inside, guide, 0.0), apart), 1))
    return ImageTree(tree.order, tree.parent, (-tree.weight / sigma).exp())


def tree_energy(logits: Tensor, tree: ImageTree, valid: Tensor, label: Tensor) -> Tensor:
    """Σ_i |p_i - p̂_i| / #unlabelled, with p̂ = p filtered along the tree (Eq. 7).

    As published the sum runs over all pixels and the count, the batch's, over the unlabelled ones.
    It is at least 1 here; the published count reaches 0 and below where squares overlap.

    Args:
        logits: float ``[L, B, C, h, w]``, L layers, which are summed.
        tree: of the images.
        valid: bool ``[B, h, w]``, cells that hold image.
        label: int ``[B, h, w]``, class known from a click, -1 = unlabelled.

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
    return energy / divisor_of((valid & (label < 0)).sum())
