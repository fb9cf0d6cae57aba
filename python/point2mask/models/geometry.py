"""Where the images of a padded batch lie on the four levels.

A cell of the level with stride s covers the pixels ``s·i`` to ``s·i + s - 1`` of an axis, whatever
the sizes of image and batch. Images lie at the top left; a cell is valid if it holds a pixel of
its image. All that a network does depends on valid cells alone, so an image gives the same result
in every batch.

On the published grid, here ``spanning``, as many cells span each image exactly: one of them covers
``size / cells`` pixels, a little less than s, and less alike on every level.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask.bilinear import enlarge, resize, weights
from point2mask.models.config import MASK_LEVELS, STRIDES

_MULTIPLE = STRIDES[MASK_LEVELS - 1]  # of the sides of a canvas, the largest stride of a backbone


def on_canvas(maps: Sequence[Tensor], value: float = 0.0) -> Tensor:
    """Maps ``[..., h_i, w_i]`` of several images on one canvas, as networks take them.

    Returns:
        ``[B, ..., H, W]`` with every map at the top left and ``value`` elsewhere; H and W are the
        least multiples of 32 that hold all.
    """
    height, width = (
        cells(max(one.shape[axis] for one in maps), _MULTIPLE) * _MULTIPLE for axis in (-2, -1)
    )
    return torch.stack(
        [F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value) for x in maps]
    )


def cells(pixels: int, stride: int) -> int:
    """Cells that cover an axis of ``pixels``."""
    return -(-pixels // stride)


@dataclass(frozen=True)
class Geometry:
    """Sizes, padding and coordinates of a batch. S is the number of cells of all levels together,
    M that of the first three, from which masks are made; (h, w) is the shape of the first."""

    canvas: tuple[int, int]  # height and width of the padded batch, pixels
    sizes: tuple[tuple[int, int], ...]  # height and width of every image, pixels
    shapes: tuple[tuple[int, int], ...]  # cells of every level of the padded batch
    valid: Tensor  # bool [B, S]
    extent: Tensor  # [B, levels, 2], width and height of every image in cells, not rounded
    valid_ratio: Tensor  # [B, levels, 2], the same as parts of the padded level
    resize: tuple[tuple[Tensor, Tensor], ...]  # for each mask level: [B, h, h_l], [B, w, w_l]
    spanning: bool  # whether the cells of a level span every image, as published

    @classmethod
    def of(cls, image_size: Tensor, images: Tensor, spanning: bool = False) -> "Geometry":
        """Of a batch ``[B, 3, H, W]`` with images of sizes ``[B, 2]`` (height, width).

        The sizes are read: on the CPU they cost no synchronisation.
        """
        if images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f"images must have shape [B, 3, H, W], got {list(images.shape)}")
        if image_size.shape != (images.shape[0], 2):
            raise ValueError(
                f"image_size must have shape [{images.shape[0]}, 2], got {list(image_size.shape)}"
            )
        canvas = (images.shape[2], images.shape[3])
        device, dtype = images.device, torch.promote_types(images.dtype, torch.float32)
        sizes = tuple((int(h), int(w)) for h, w in image_size.tolist())
        for b, (h, w) in enumerate(sizes):
            if not (0 < h <= canvas[0] and 0 < w <= canvas[1]):
                raise ValueError(
                    f"image_size must be within 1 x 1 and {canvas[0]} x {canvas[1]}, "
                    f"got {h} x {w} in image {b}"
                )
        shapes = tuple((cells(canvas[0], s), cells(canvas[1], s)) for s in STRIDES)
        valid = torch.cat(
            [
                torch.stack([_valid(size, stride, shape).flatten() for size in sizes])
                for stride, shape in zip(STRIDES, shapes, strict=True)
            ],
            1,
        )
        size = torch.tensor(sizes, dtype=dtype).flip(1)[:, None]
        extent = size / torch.tensor(STRIDES, dtype=dtype)[:, None]
        if spanning:
            extent = extent.ceil()
        ratio = extent / torch.tensor(shapes, dtype=dtype).flip(1)
        resize = tuple(
            (
                _resize([h for h, _ in sizes], level, shapes[0][0], shapes[level][0], spanning),
                _resize([w for _, w in sizes], level, shapes[0][1], shapes[level][1], spanning),
            )
            for level in range(MASK_LEVELS)
        )
        return cls(
            canvas,
            sizes,
            shapes,
            valid.to(device),
            extent.to(device),
            ratio.to(device),
            tuple((rows.to(device), columns.to(device)) for rows, columns in resize),
            spanning,
        )

    @property
    def lengths(self) -> list[int]:
        """Cells of every level."""
        return [h * w for h, w in self.shapes]

    @property
    def mask_cells(self) -> int:
        """M, the cells of the levels that make masks."""
        return sum(self.lengths[:MASK_LEVELS])

    @property
    def finest(self) -> Tensor:
        """Valid cells at stride 8, bool ``[B, h, w]``."""
        h, w = self.shapes[0]
        return self.valid[:, : h * w].unflatten(1, (h, w))

    def groups(self) -> dict[tuple[int, int], list[int]]:
        """The images by size, which can go through a network together without padding."""
        groups: dict[tuple[int, int], list[int]] = {}
        for b, size in enumerate(self.sizes):
            groups.setdefault(size, []).append(b)
        return groups

    def to_finest(self, level: int, maps: Tensor) -> Tensor:
        """Bilinear resize of a mask level ``[B, K, h_l, w_l]`` to stride 8, ``[B, K, h, w]``.

        Cells outside the image count as the nearest cell inside. As two matrix products it is
        deterministic forward and backward on every device.
        """
        if level == 0:
            return maps
        rows, columns = (matrix.to(maps.dtype) for matrix in self.resize[level])
        return rows[:, None] @ maps @ columns[:, None].transpose(-1, -2)

    def to_pixels(self, maps: Tensor) -> Tensor:
        """Maps at stride 8 ``[..., B, K, h, w]`` at full resolution ``[..., B, K, H, W]``.

        Bilinear (half-pixel centres, the border repeated); 0 outside an image.
        """
        return torch.stack(
            [
                F.pad(
                    self.image_to_pixels(b, maps.select(-4, b)),
                    (0, self.canvas[1] - w, 0, self.canvas[0] - h),
                )
                for b, (h, w) in enumerate(self.sizes)
            ],
            -4,
        )

    def of_image(self, image: int, maps: Tensor, stride: int = STRIDES[0]) -> Tensor:
        """The cells of one image of the batch, of maps ``[..., h, w]`` of the canvas."""
        height, width = self.sizes[image]
        return maps[..., : cells(height, stride), : cells(width, stride)]

    def image_to_pixels(self, image: int, maps: Tensor, stride: int = STRIDES[0]) -> Tensor:
        """Maps ``[..., K, h, w]`` of one image of the batch at its own resolution.

        ``stride`` is the side of the maps' cells in pixels.
        """
        height, width = self.sizes[image]
        inside = self.of_image(image, maps, stride)
        flat = inside.reshape(-1, 1, *inside.shape[-2:])
        if flat.shape[0] == 0:
            return maps.new_zeros(*maps.shape[:-2], height, width)
        if self.spanning:
            pixels = resize(flat, height, width)
        else:
            pixels = enlarge(flat, stride)
        return pixels[..., :height, :width].reshape(*maps.shape[:-2], height, width)


def _valid(size: tuple[int, int], stride: int, shape: tuple[int, int]) -> Tensor:
    """Valid cells ``[h, w]`` of one image on one level."""
    rows = torch.arange(shape[0]) < cells(size[0], stride)
    columns = torch.arange(shape[1]) < cells(size[1], stride)
    return rows[:, None] & columns


def _resize(pixels: list[int], level: int, out_cells: int, in_cells: int, spanning: bool) -> Tensor:
    """Bilinear weights ``[B, out_cells, in_cells]`` from a mask level to stride 8, on one axis."""
    count = torch.tensor([cells(size, STRIDES[level]) for size in pixels])[:, None]
    factor = torch.tensor(STRIDES[level] / STRIDES[0])
    if spanning:
        factor = torch.tensor([cells(size, STRIDES[0]) for size in pixels])[:, None] / count
    return weights(out_cells, in_cells, factor, count)
