"""The maps of a batch: what they must look like, and their reduction within each image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from point2mask.bilinear import resize
from point2mask.pseudo_masks.points import PointBatch


@dataclass(frozen=True)
class Maps:
    """Per-pixel inputs of a batch; all but the first may have any resolution or be absent.

    Attributes:
        semantic: ``[B, C, H, W]`` class probabilities.
        boundary_logits: ``[B, h, w]`` logits of an instance boundary.
        feature: ``[B, D, h, w]`` unit-length features.
        low_level: ``[B, h, w]`` edge response in [0, 1].
    """

    semantic: Tensor
    boundary_logits: Tensor | None
    feature: Tensor | None
    low_level: Tensor | None

    def full_precision(self) -> "Maps":
        """Half and bfloat16 maps as float32; all maps in the dtype of ``semantic``."""
        half = self.semantic.dtype in (torch.float16, torch.bfloat16)
        dtype = torch.float32 if half else self.semantic.dtype
        return Maps(
            self.semantic.to(dtype),
            None if self.boundary_logits is None else self.boundary_logits.to(dtype),
            None if self.feature is None else self.feature.to(dtype),
            None if self.low_level is None else self.low_level.to(dtype),
        )

    def resized(self, rows: int, columns: int, size: Tensor | None) -> "Maps":
        """All maps at one size; what lies outside images of ``size [B, 2]`` is never read."""
        canvas = self.semantic.shape[-2:]

        def reduce(map_: Tensor) -> Tensor:
            if size is None:
                return resize(map_, rows, columns)
            # The part of this map that the image covers, at least one pixel.
            ratio, whole = on_device(map_.shape[-2:], size), on_device(canvas, size)
            covered = (size * ratio + whole - 1).div(whole, rounding_mode="floor")
            return resize(map_, rows, columns, covered.clamp_min(1))

        return replace(
            self,
            semantic=reduce(self.semantic),
            boundary_logits=None
            if self.boundary_logits is None
            else reduce(self.boundary_logits[:, None])[:, 0],
            feature=None if self.feature is None else reduce(self.feature),
            low_level=None if self.low_level is None else reduce(self.low_level[:, None])[:, 0],
        )


def on_device(numbers: Sequence[int], like: Tensor) -> Tensor:
    """Int64 tensor of numbers that the host knows, written where ``like`` lives.

    ``torch.tensor`` would copy them from the host's memory, and that waits for the device.
    """
    return torch.cat([like.new_full((1,), number, dtype=torch.int64) for number in numbers])


def image_sizes(semantic: Tensor, image_size: Tensor | None) -> Tensor:
    """Int64 ``[B, 2]``: height and width of every image, at most those of the canvas."""
    canvas = on_device(semantic.shape[-2:], semantic)
    if image_size is None:
        return canvas.expand(len(semantic), 2)
    return torch.minimum(image_size.to(canvas), canvas).clamp_min(0)


def inside_mask(size: Tensor, height: int, width: int) -> Tensor:
    """Bool ``[B, H, W]``: the top left ``size [B, 2]`` of each canvas."""
    y = torch.arange(height, device=size.device) < size[:, :1]
    x = torch.arange(width, device=size.device) < size[:, 1:]
    return y[:, :, None] & x[:, None, :]


def check_arguments(
    maps: Maps,
    points: PointBatch,
    is_thing: Tensor,
    image_size: Tensor | None,
    areas: Tensor | None,
) -> None:
    """Raises a ValueError that names the argument, what was expected and what came."""
    images, classes = _check_map("semantic", maps.semantic, "B, C, H, W")[:2]
    named = {"boundary_logits": "B, h, w", "feature": "B, D, h, w", "low_level": "B, h, w"}
    for name, wanted in named.items():
        map_ = getattr(maps, name)
        if map_ is not None and _check_map(name, map_, wanted)[0] != images:
            raise ValueError(f"{name} must hold B={images} images, got {[*map_.shape]}")
    if is_thing.shape != (classes,) or is_thing.dtype != torch.bool:
        raise ValueError(f"is_thing must be bool [C={classes}], got {[*is_thing.shape]}")
    points.check(images, classes)
    if image_size is not None and (
        not isinstance(image_size, Tensor)
        or image_size.shape != (images, 2)
        or image_size.is_floating_point()
    ):
        got = [*image_size.shape] if isinstance(image_size, Tensor) else type(image_size).__name__
        raise ValueError(f"image_size must have shape [B={images}, 2] and integers, got {got}")
    if areas is not None and areas.shape != points.category.shape:
        raise ValueError(f"areas must have shape {[*points.category.shape]}, got {[*areas.shape]}")


def _check_map(name: str, map_: Tensor, wanted: str) -> torch.Size:
    if map_.dim() != len(wanted.split(",")) or not map_.is_floating_point():
        raise ValueError(f"{name} must be float [{wanted}], got {map_.dtype} {[*map_.shape]}")
    if 0 in map_.shape[1:]:
        raise ValueError(f"{name} must not be empty, got {[*map_.shape]}")
    return map_.shape
