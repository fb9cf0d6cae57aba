"""The loss of the boundary map (method b.8, ``loss_bnd``)."""

import torch
from torch import Tensor

from point2mask import ops
from point2mask.losses.counts import divisor_of
from point2mask.models import Geometry


def boundary_separation(
    logits: Tensor, geometry: Geometry, instance: Tensor, semantic: Tensor
) -> Tensor:
    """A boundary between what the masks separate, none inside: :func:`ops.boundary_loss`.

    With a_ij = 1 - max(b_i, b_j) over 3 x 3 neighbours at full resolution: ¼ mean -log a over pairs
    of one thing + ¼ mean -log a over pairs of one stuff class + ½ mean -log(1 - a) over the pairs
    apart. Each image is taken alone: neighbours in the padding would count as apart.

    Args:
        logits: ``[B, h, w]`` at stride 8.
        geometry: of the batch.
        instance: int32 ``[B, H, W]``, thing target, -1 for none.
        semantic: int32 ``[B, H, W]``, class, -1 to ignore.

    Returns:
        ``[B]``, the images' parts of the mean over the batch.
    """
    losses = []
    for b, (height, width) in enumerate(geometry.sizes):
        boundary = geometry.image_to_pixels(b, logits[b : b + 1]).sigmoid()
        own = (slice(b, b + 1), slice(height), slice(width))
        losses.append(ops.boundary_loss(boundary, instance[own], semantic[own]))
    return torch.cat(losses) / divisor_of(logits.new_full((), len(losses)))
