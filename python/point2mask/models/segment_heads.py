"""What a query of MaskDINO says: a class, a box and a mask, of a thing or of stuff."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from point2mask.models.config import MaskDINOConfig
from point2mask.models.decoder import PRIOR, BoxHead


class Predictions(NamedTuple):
    """What Q queries say after every one of L layers."""

    class_logits: Tensor  # [L, B, Q, C], of independent classes: for a sigmoid
    boxes: Tensor  # [L, B, Q, 4], centre x, y, width, height in parts of the image without padding
    embedding: Tensor  # [L, B, Q, d], whose product with the mask features is the mask

    def last(self) -> "Predictions":
        """Those of the last layer, L = 1."""
        return Predictions(*(part[-1:] for part in self))


class SegmentHeads(nn.Module):
    """One head for classes, one for boxes, one for masks: shared by all layers."""

    def __init__(self, config: MaskDINOConfig) -> None:
        super().__init__()
        width = config.width
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Linear(width, config.num_classes)
        # Published without the prior, the loss begins a hundred times as high.
        nn.init.constant_(self.classes.bias, -math.log((1 - PRIOR) / PRIOR))
        self.boxes = BoxHead(width, 0.0)
        self.masks = nn.Sequential(
            *(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()),
            nn.Linear(width, width),
        )

    def change(self, x: Tensor) -> Tensor:
        """The change of a box in logits ``[..., 4]``, in full precision: half a pixel matters."""
        with torch.autocast(x.device.type, enabled=False):
            change: Tensor = self.boxes(x.to(self.classes.weight.dtype))
        return change

    def say(self, x: Tensor, boxes: Tensor) -> Predictions:
        """What queries ``[B, Q, d]`` say (L = 1), whose boxes ``[B, Q, 4]`` are known."""
        normed = self.norm(x)
        return Predictions(self.classes(normed)[None], boxes[None], self.masks(normed)[None])


def draw(embedding: Tensor, mask_features: Tensor) -> Tensor:
    """Masks ``[..., B, K, h, w]``, logits, of ``[..., B, K, d]`` and ``[B, d, h, w]``.

    B may be missing in all.
    """
    return (embedding @ mask_features.flatten(-2)).unflatten(-1, mask_features.shape[-2:])
