"""Bilinear resizing of maps: half-pixel centres, the border repeated, no antialiasing.

All that networks, losses and pseudo-masks resize goes through here. Pictures are made smaller with
antialiasing, by :func:`point2mask.data.augment.resize_image`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def resize(maps: Tensor, height: int, width: int, extent: Tensor | None = None) -> Tensor:
    """Maps at another size; themselves where that is theirs.

    Args:
        maps: ``[B, C, h, w]``.
        height, width: size of the result.
        extent: int64 ``[B, 2]``, rows and columns of each map that belong to its image (at least
            1). What lies beyond is never read: the last row and column are repeated instead.
    """
    if extent is not None:
        rows = _along(maps, 2, height, extent[:, 0])
        return _along(rows, 3, width, extent[:, 1])
    if maps.shape[-2:] == (height, width):
        return maps
    return F.interpolate(maps, (height, width), mode="bilinear", align_corners=False)


def enlarge(maps: Tensor, factor: int) -> Tensor:
    """Maps ``[B, C, h, w]`` with so many pixels in the place of each."""
    return F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)


def weights(size: int, cells: int, factor: Tensor, count: Tensor) -> Tensor:
    """What cells of an axis give to those of a finer one, ``[B, size, cells]``.

    Args:
        size: cells of the finer axis.
        cells: of the coarser one, of which each image has ``count [B, 1]``.
        factor: finer cells a coarser one, of all images or ``[B, 1]`` of each.
    """
    centre = (torch.arange(size) + 0.5) / factor - 0.5
    centre = torch.minimum(centre.clamp(min=0), count - 1)  # the border repeated
    return (1 - (centre[..., None] - torch.arange(cells)).abs()).clamp(min=0)


def _along(maps: Tensor, dim: int, size: int, extent: Tensor) -> Tensor:
    """Linear interpolation of ``[B, C, h, w]`` along one dimension within each image's extent."""
    position = torch.arange(size, device=maps.device, dtype=maps.dtype)
    position = ((position + 0.5) * (maps.shape[dim] / size) - 0.5).clamp_min(0)
    last = (extent - 1)[:, None]
    low = torch.minimum(position.long(), last)
    high = torch.minimum(position.long() + 1, last)
    weight = (position - position.floor()).expand(len(maps), size)
    shape = [len(maps), 1, 1, 1]
    shape[dim] = size
    grown = [*maps.shape]
    grown[dim] = size
    first = maps.gather(dim, low.view(shape).expand(grown))
    second = maps.gather(dim, high.view(shape).expand(grown))
    return first.lerp_(second, weight.reshape(shape))
