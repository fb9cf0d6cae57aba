"""Pictures and labels at stride 8, where the semantic losses live.

A cell covers 8 x 8 pixels of its image whatever the batch; what lies outside an image is never
read.
"""

import torch
from torch import Tensor

from point2mask.models.config import STRIDES
from point2mask.pseudo_masks.points import PointBatch

STRIDE = STRIDES[0]


def cell_means(
    maps: Tensor, image_size: Tensor, shape: tuple[int, int], stride: int = STRIDE
) -> Tensor:
    """Bilinear resize of ``[B, C, H, W]`` to cells ``[B, C, h, w]``, without antialiasing.

    The centre of a cell lies between four pixels, whose mean it is; the border is repeated.
    ``stride`` is even.
    """
    first = stride // 2 - 1
    corners = [
        sample(maps, image_size, shape, (first + dy, first + dx), stride)
        for dy in (0, 1)
        for dx in (0, 1)
    ]
    return torch.stack(corners).mean(0)


def cell_labels(labels: Tensor, image_size: Tensor, valid: Tensor) -> Tensor:
    """Labels at the centres of cells, int64 ``[B, h, w]``, -1 outside the image.

    Args:
        labels: int ``[B, H, W]``.
        image_size: int ``[B, 2]``, height and width.
        valid: bool ``[B, h, w]``, cells that hold image.
    """
    shape = (valid.shape[1], valid.shape[2])
    centre = (STRIDE // 2, STRIDE // 2)
    picked = sample(labels[:, None], image_size, shape, centre)[:, 0]
    return torch.where(valid, picked, -1).long()


def point_labels(points: PointBatch, valid: Tensor, size: int) -> Tensor:
    """The class that a click makes certain, int64 ``[B, h, w]``, -1 where there is none (b.1).

    Equals the published target: a ``size`` x ``size`` square of pixels around every click, reduced
    to cells by taking a cell's first pixel; of several classes the lowest.

    Args:
        points: the clicks, in pixels.
        valid: bool ``[B, h, w]``, cells that hold image.
        size: side of the square in pixels, odd.
    """
    images, height, width = valid.shape
    points = points.nonempty()
    y, x = points.pixels(height * STRIDE, width * STRIDE)
    reach = size // 2
    steps = torch.arange(2 * reach // STRIDE + 1, device=valid.device)

    def near(pixel: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Cells [B, K, P, steps] whose first pixel may lie in the square, and whether it does."""
        first = (pixel - reach).add(STRIDE - 1).div(STRIDE, rounding_mode="floor")
        cell = first[..., None] + steps
        return cell, (cell * STRIDE <= pixel[..., None] + reach) & (cell >= 0) & (cell < count)

    rows, row_inside = near(y, height)
    columns, column_inside = near(x, width)
    inside = row_inside[..., :, None] & column_inside[..., None, :]
    inside &= points.is_point[..., None, None]
    none = torch.iinfo(torch.int64).max
    cell = torch.where(inside, rows[..., :, None] * width + columns[..., None, :], 0)
    category = points.category[..., None, None, None].expand_as(cell)
    value = torch.where(inside, category, none)
    label = value.new_full((images, height * width), none)
    label = label.scatter_reduce(1, cell.flatten(1), value.flatten(1), "amin")
    label = label.view(images, height, width)
    return torch.where(valid & (label < none), label, -1)


def sample(
    maps: Tensor,
    image_size: Tensor,
    shape: tuple[int, int],
    offset: tuple[int, int],
    stride: int = STRIDE,
) -> Tensor:
    """The pixel at an offset (dy, dx) in every cell: ``[B, C, H, W]`` to ``[B, C, h, w]``.

    Past an image's border the last pixel inside is taken.
    """
    limit = image_size[:, :, None] - 1
    rows, columns = (
        torch.minimum(torch.arange(count, device=maps.device) * stride + shift, limit[:, axis])
        for axis, (count, shift) in enumerate(zip(shape, offset, strict=True))
    )
    image = torch.arange(len(maps), device=maps.device)[:, None, None]
    return maps[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
