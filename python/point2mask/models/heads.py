"""Heads that only serve the pseudo masks: object boundaries and features to compare pixels by."""

import torch.nn.functional as F
from torch import Tensor, nn

from point2mask.models.config import MASK_LEVELS
from point2mask.models.geometry import Geometry


class MapHead(nn.Sequential):
    """1 x 1 convolution, ReLU, 1 x 1 convolution."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, outputs, 1))


class PseudoMaskHeads(nn.Module):
    """Boundary and feature maps at stride 8 from the memory, whose gradient they do not change."""

    def __init__(self, width: int, feature_width: int) -> None:
        super().__init__()
        self.boundary = MapHead(width, 1)
        self.feature = MapHead(width, feature_width)

    def forward(
        self, memory: Tensor, position: Tensor, geometry: Geometry
    ) -> tuple[Tensor, Tensor]:
        """Boundary logits ``[B, h, w]`` and features ``[B, F, h, w]`` of length 1.

        Both come from the sum of the three levels of memory + position (``[B, M, d]`` each).
        Outside an image they repeat its border.
        """
        placed = (memory + position).detach().transpose(1, 2)
        levels = placed.split(geometry.lengths[:MASK_LEVELS], -1)
        total = sum(
            geometry.to_finest(level, maps.unflatten(-1, geometry.shapes[level]))
            for level, maps in enumerate(levels)
        )
        return self.boundary(total)[:, 0], F.normalize(self.feature(total), dim=1)
