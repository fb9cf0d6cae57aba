"""The minimum spanning tree of a picture's colours."""

from typing import NamedTuple

import torch
from torch import Tensor

from point2mask import ops

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
