"""What assigners and supply schemes see: one batch, ready to be labelled."""

from dataclasses import dataclass

import torch
from torch import Tensor

from point2mask.pseudo_masks.cost import resize, target_cost
from point2mask.pseudo_masks.points import PointBatch


@dataclass(frozen=True)
class Problem:
    """Pixels to be distributed over targets (method b.4, b.5).

    Attributes:
        edges: ``[B, 8, h, w]`` step costs on the reduced grid.
        distance: ``[B, K, h, w]`` cost from the clicks, on the reduced grid.
        cost: ``[B, K, H, W]`` the same, bilinear at the image's resolution, plus the class penalty.
        likelihood: ``[B, K, H, W]`` q = P of the target's class + P of all present stuff.
        pixel_class: int64 ``[B, H, W]`` most likely class.
        foreground: bool ``[B, H, W]`` pixels to be labelled: no stuff, no padding.
        is_target: bool ``[B, K]`` thing targets; others take no part.
        points: the clicks.
        stride: image pixels a cell of the reduced grid.
        classes: C, channels of the semantic map.
        areas: ``[B, K]`` given areas in pixels, or None.
    """

    edges: Tensor
    distance: Tensor
    cost: Tensor
    likelihood: Tensor
    pixel_class: Tensor
    foreground: Tensor
    is_target: Tensor
    points: PointBatch
    stride: int
    classes: int
    areas: Tensor | None

    @property
    def unlabelled(self) -> Tensor:
        """Bool ``[B, H, W]``: the complement of ``foreground``."""
        return ~self.foreground

    def nearest(self) -> Tensor:
        """Int32 ``[B, H, W]``: the target of least cost, ties to the lowest; -1 outside."""
        excluded = ~self.is_target[..., None, None]
        label = self.cost.masked_fill(excluded, torch.inf).argmin(1)
        return self.keep_foreground(label)

    def most_likely(self, distance: Tensor) -> Tensor:
        """PSPS labels ``argmax_j (1 - d_j) q_j`` for distances on the reduced grid (b.5).

        Args:
            distance: ``[B, K, h, w]``; scaled by its largest value over an image's targets.

        Returns:
            Int32 ``[B, H, W]``, -1 outside the foreground.
        """
        excluded = ~self.is_target[..., None, None]
        largest = distance.masked_fill(excluded, 0.0).amax((1, 2, 3), keepdim=True)
        closeness = resize(1.0 - distance / (largest + 1e-5), *self.foreground.shape[-2:])
        score = closeness.mul_(self.likelihood).masked_fill_(excluded, -torch.inf)
        return self.keep_foreground(score.argmax(1))

    def distance_from(self, cells: Tensor) -> Tensor:
        """Shortest-path cost ``[B, K, h, w]`` from one other cell a target (-1: none)."""
        return target_cost(self.edges, cells[..., None])

    def keep_foreground(self, label: Tensor) -> Tensor:
        """Int32 labels with -1 outside the foreground and where no target takes part."""
        outside = self.unlabelled | ~self.is_target.any(1)[:, None, None]
        return label.int().masked_fill_(outside, -1)
