"""Per-target statistics of label maps."""

from typing import NamedTuple

import torch
from torch import Tensor

from point2mask.ops._library import check_rank, register_fake, takes_tensors


class MaskStatistics(NamedTuple):
    """What :func:`mask_statistics` returns; all entries are zero for an empty target."""

    area: Tensor  # int64 [B, K], pixels
    centroid: Tensor  # float32 [B, K, 2], mean (y, x), pixel indices
    box: Tensor  # int32 [B, K, 4], x0, y0, x1, y1 with exclusive ends


@takes_tensors
def mask_statistics(labels: Tensor, targets: int) -> MaskStatistics:
    """Area, centroid and bounding box of every target of every image.

    Args:
        labels: int32 ``[B, H, W]``, the target of each pixel, -1 for none.
        targets: K, the number of targets an image (padded targets are simply empty).

    Returns:
        Areas, centroids and boxes. Sums are exact integers, so the result is deterministic.

    Raises:
        ValueError: wrong shape or dtype, or a label outside ``[-1, K)``; on CUDA such labels
            count as -1 instead, because rejecting them would have to wait for the device.

    >>> labels = torch.tensor([[[0, 0, 1], [0, -1, 1]]], dtype=torch.int32)
    >>> mask_statistics(labels, 2).area
    tensor([[3, 2]])
    """
    return MaskStatistics(*torch.ops.point2mask.mask_statistics.default(labels, targets))


@register_fake("mask_statistics")
def _(labels: Tensor, targets: int) -> tuple[Tensor, Tensor, Tensor]:
    check_rank("labels", labels, "B, H, W")
    images = labels.shape[0]
    return (
        labels.new_empty((images, targets), dtype=torch.int64),
        labels.new_empty((images, targets, 2), dtype=torch.float32),
        labels.new_empty((images, targets, 4), dtype=torch.int32),
    )
