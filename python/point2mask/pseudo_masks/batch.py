"""What a training step sees of a batch of images."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from point2mask.pseudo_masks.points import PointBatch


@dataclass(frozen=True)
class Batch:
    """Images with their clicks, padded at the right and the bottom to one size.

    Attributes:
        images: float32 ``[B, 3, H, W]``, RGB in [0, 1], 0 in the padding.
        image_size: int64 ``[B, 2]``, height and width of each image inside the canvas; stays on the
            CPU, where the network reads it without waiting for the device.
        points: the clicks; channels of the categories as in ``is_thing``.
        is_thing: bool ``[C]``.
        truth: int32 ``[B, H, W]``, the target (index into ``points``) of every pixel, -1 = void or
            padding; None unless the network is trained with full masks.
        names: the images' names, for messages.
    """

    images: Tensor
    image_size: Tensor
    points: PointBatch
    is_thing: Tensor
    truth: Tensor | None
    names: tuple[str, ...]

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device, but for ``image_size``."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            points=self.points.to(device),
            is_thing=self.is_thing.to(device),
            truth=None if self.truth is None else self.truth.to(device, non_blocking=True),
        )
