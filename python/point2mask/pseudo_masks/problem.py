"""What assigners and supply schemes see: one batch, ready to be labelled."""

from dataclasses import dataclass

import torch
from torch import Tensor

from point2mask import ops
from point2mask.bilinear import resize
from point2mask.pseudo_masks.cost import target_cost
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
        is_image: bool ``[B, H, W]`` pixels that are no padding.
        foreground: bool ``[B, H, W]`` pixels to be labelled: no stuff, no padding.
        is_target: bool ``[B, K]`` thing targets; others take no part.
        points: the clicks.
        stride: image pixels a cell of the reduced grid.
        classes: C, channels of the semantic map.
        is_cell: bool ``[B, h, w]`` cells of the reduced grid that lie in the image.
        cells: int64 ``[B, 2]`` their rows and columns, or None where there is no padding.
        areas: ``[B, K]`` given areas in pixels, or None.
        partition: ``[B, K, H, W]`` log p of every target at every pixel as the click branch sees
            it, or None.
    """

    edges: Tensor
    distance: Tensor
    cost: Tensor
    likelihood: Tensor
    pixel_class: Tensor
    is_image: Tensor
    foreground: Tensor
    is_target: Tensor
    points: PointBatch
    stride: int
    classes: int
    is_cell: Tensor
    cells: Tensor | None
    areas: Tensor | None
    partition: Tensor | None

    @property
    def unlabelled(self) -> Tensor:
        """Bool ``[B, H, W]``: the complement of ``foreground``."""
        return ~self.foreground

    @property
    def demand(self) -> Tensor:
        """``[B, N]``: one unit a foreground pixel."""
        return self.foreground.flatten(1).to(self.cost.dtype)

    def cheapest(self, cost: Tensor) -> Tensor:
        """Int32 ``[B, H, W]``: the target of least ``cost [B, K, H, W]``, ties to the lowest.

        -1 outside the foreground.
        """
        return self.nearest(cost, self.foreground)

    def nearest(self, cost: Tensor, pixels: Tensor) -> Tensor:
        """The same of any ``pixels``, bool ``[B, H, W]``.

        The transport's labels with potentials of zero: one read of the cost, where an arg min
        across targets is slow.
        """
        potential = torch.zeros_like(self.is_target, dtype=cost.dtype)
        potential = potential.masked_fill_(~self.is_target, -torch.inf)
        demand = pixels.flatten(1).to(cost.dtype)
        return ops.transport_labels(cost.flatten(2), potential, demand).view(pixels.shape)

    def most_likely(self, distance: Tensor) -> Tensor:
        """PSPS labels ``argmax_j (1 - d_j) q_j`` for distances on the reduced grid (b.5).

        Args:
            distance: ``[B, K, h, w]``; scaled by its largest value over an image's targets.

        Returns:
            Int32 ``[B, H, W]``, -1 outside the foreground.
        """
        excluded = ~(self.is_target[..., None, None] & self.is_cell[:, None])
        largest = distance.masked_fill(excluded, 0.0).amax((1, 2, 3), keepdim=True)
        height, width = self.foreground.shape[-2:]
        farness = resize(distance / (largest + 1e-5) - 1.0, height, width, self.cells)
        return self.cheapest(farness.mul_(self.likelihood))

    def distance_from(self, cells: Tensor) -> Tensor:
        """Shortest-path cost ``[B, K, h, w]`` from one other cell a target (-1: none)."""
        return target_cost(self.edges, cells[..., None])
