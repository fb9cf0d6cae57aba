"""Targets of queries that are segments, things and stuff alike, and how far masks are from them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.losses.targets import Targets
from point2mask.models import Geometry
from point2mask.models.config import MASK_STRIDE
from point2mask.models.geometry import cells


@dataclass(frozen=True)
class SegmentTargets:
    """M = K things (padded) and all classes of stuff.

    Attributes:
        label: int64 ``[B, M]``, class.
        exists: bool ``[B, M]``. A thing without a pixel is none: no mask could show it.
        boxes: ``[B, M, 4]``, centre x, y, width, height in parts of the image.
        coverage: of every image the part of each cell of 4 pixels that is a target's, ``[M, h, w]``
            with h and w rounded up.
    """

    label: Tensor
    exists: Tensor
    boxes: Tensor
    coverage: list[Tensor]

    def counts(self, num_things: int) -> Tensor:
        """Things and stuff that exist, int64 ``[2]``."""
        thing = self.label < num_things
        return torch.stack([(self.exists & thing).sum(), (self.exists & ~thing).sum()])


def segment_targets(
    targets: Targets, geometry: Geometry, num_things: int, num_classes: int
) -> SegmentTargets:
    """The targets of a batch as segments."""
    stuff = torch.arange(num_things, num_classes, device=targets.category.device)
    label = torch.cat((targets.category, stuff.expand(len(targets.category), -1)), 1)
    parts = [
        _coverage(targets, b, size, num_things, num_classes)
        for b, size in enumerate(geometry.sizes)
    ]
    return SegmentTargets(
        label=label.clamp(min=0),
        exists=torch.stack([part.flatten(1).any(1) for part in parts]),
        boxes=torch.cat((targets.boxes, targets.class_boxes[:, num_things:]), 1),
        coverage=parts,
    )


def _coverage(
    targets: Targets, image: int, size: tuple[int, int], num_things: int, num_classes: int
) -> Tensor:
    """Of one image. Counts of pixels: integers, whose sum is the same in any order."""
    height, width = size
    things, stuff = targets.category.shape[1], num_classes - num_things
    instance, semantic = (
        x[image, :height, :width].long() for x in (targets.masks.instance, targets.masks.semantic)
    )
    target = torch.where(semantic >= num_things, things + semantic - num_things, instance)
    target = torch.where(target < 0, things + stuff, target)  # pixels of none
    rows, columns = (cells(length, MASK_STRIDE) for length in size)
    y = torch.arange(height, device=target.device)[:, None] // MASK_STRIDE
    x = torch.arange(width, device=target.device) // MASK_STRIDE
    cell = target * (rows * columns) + y * columns + x
    counts = torch.zeros(
        (things + stuff + 1) * rows * columns, dtype=torch.int32, device=target.device
    )
    counts.scatter_add_(0, cell.flatten(), torch.ones_like(cell, dtype=torch.int32).flatten())
    counts = counts.view(-1, rows, columns)
    return counts[:-1] / counts.sum(0)


def entropy_of_pairs(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy of every mask with every target, ``[..., Q, M]``.

    Args:
        logits: ``[..., Q, S]``.
        target: ``[M, S]``, parts in [0, 1].
    """
    # -t log p - (1 - t) log (1 - p) = softplus(x) - t x of p = sigmoid(x)
    total = F.softplus(logits).sum(-1, keepdim=True) - logits @ target.T
    return total / target.shape[1]
