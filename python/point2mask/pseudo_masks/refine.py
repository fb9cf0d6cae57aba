"""A semantic map sharpened by the picture it belongs to."""

import torch
from torch import Tensor

from point2mask import ops
from point2mask.bilinear import resize
from point2mask.pseudo_masks.cells import cell_means
from point2mask.pseudo_masks.image_tree import image_tree
from point2mask.pseudo_masks.maps import inside_mask

STRIDE = 2  # pixels a cell of the tree: finer than the network's maps, a quarter of the pixels


@torch.no_grad()
def refine(probability: Tensor, guide: Tensor, image_size: Tensor, sigma: float) -> Tensor:
    """Class probabilities averaged along the minimum spanning tree of the picture.

    The filter of the tree energy (supplementary material, Eq. 6), applied to the map itself: maps
    of stride 8 then end where colours change. Not part of the published method.

    Args:
        probability: ``[B, C, H, W]``, H and W even.
        guide: ``[B, 3, H, W]``, RGB normalised by the backbone's mean and deviation.
        image_size: int ``[B, 2]``, height and width of every image; the rest is not read.
        sigma: of the similarities exp(-‖g_i - g_j‖² / σ) along the tree.

    Returns:
        ``[B, C, H, W]``; what lies outside of an image means nothing.
    """
    height, width = probability.shape[-2:]
    shape = (height // STRIDE, width // STRIDE)
    extent = (image_size + STRIDE - 1).div(STRIDE, rounding_mode="floor")
    valid = inside_mask(extent, *shape)
    colors, maps = (cell_means(x, image_size, shape, STRIDE) for x in (guide, probability))
    tree = image_tree(colors, valid, sigma)
    both = torch.cat((maps, torch.ones_like(maps[:, :1])), 1).flatten(2)
    sums = ops.tree_filter(both, tree.order, tree.parent, tree.similarity.to(both.dtype))
    mean = (sums[:, :-1] / sums[:, -1:]).view(len(sums), -1, *shape)
    return resize(mean, height, width, extent)
