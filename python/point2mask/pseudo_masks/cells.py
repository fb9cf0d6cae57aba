"""Pictures and labels at stride 8, where the semantic losses live.

A cell covers 8 x 8 pixels of its image whatever the batch, or, on the published grid
(``spanning``), as many pixels as let whole cells span the image; what lies outside an image is
never read.
"""

import torch
from torch import Tensor

from point2mask.models.config import STRIDES
from point2mask.pseudo_masks.points import PointBatch

STRIDE = STRIDES[0]


def cell_means(
    maps: Tensor,
    image_size: Tensor,
    shape: tuple[int, int],
    stride: int = STRIDE,
    spanning: bool = False,
) -> Tensor:
    """Bilinear resize of ``[B, C, H, W]`` to cells ``[B, C, h, w]``, without antialiasing.

    The border is repeated. The centre of a cell of ``stride`` pixels, an even number, lies between
    four pixels, whose mean it is; that of a spanning cell lies anywhere.
    """
    if spanning:
        return _spanning_means(maps, image_size, shape)
    first = stride // 2 - 1
    corners = [
        sample(maps, image_size, shape, (first + dy, first + dx), stride)
        for dy in (0, 1)
        for dx in (0, 1)
    ]
    return torch.stack(corners).mean(0)


def _spanning_means(maps: Tensor, image_size: Tensor, shape: tuple[int, int]) -> Tensor:
    low, high, weight = [], [], []
    for size, count in zip(image_size.unbind(1), shape, strict=True):
        place = (torch.arange(count, device=size.device) + 0.5) * cell_pixels(size)[:, None] - 0.5
        place = place.clamp(min=0)
        last = size[:, None] - 1
        low.append(torch.minimum(place.long(), last))
        high.append(torch.minimum(place.long() + 1, last))
        weight.append((place - place.floor()).to(maps.dtype))
    down, right = weight[0][:, None, :, None], weight[1][:, None, None]
    top, bottom = (
        lookup(maps, rows, low[1]).lerp(lookup(maps, rows, high[1]), right)
        for rows in (low[0], high[0])
    )
    return top.lerp(bottom, down)


def cell_labels(
    labels: Tensor, image_size: Tensor, valid: Tensor, spanning: bool = False
) -> Tensor:
    """Labels at the centres of cells, int64 ``[B, h, w]``, -1 outside the image.

    Args:
        labels: int ``[B, H, W]``.
        image_size: int ``[B, 2]``, height and width.
        valid: bool ``[B, h, w]``, cells that hold image.
        spanning: whether cells span the image.
    """
    rows, columns = (
        torch.minimum(cell_starts(size, count, spanning, 0.5), size[:, None] - 1)
        for size, count in zip(image_size.unbind(1), valid.shape[1:], strict=True)
    )
    return torch.where(valid, lookup(labels[:, None], rows, columns)[:, 0], -1).long()


def point_labels(
    points: PointBatch, image_size: Tensor, valid: Tensor, size: int, spanning: bool = False
) -> Tensor:
    """The class that a click makes certain, int64 ``[B, h, w]``, -1 where there is none (b.1).

    Equals the published target: a ``size`` x ``size`` square of pixels around every click, reduced
    to cells by taking a cell's first pixel; of several classes the lowest.

    Args:
        points: the clicks, in pixels.
        image_size: int ``[B, 2]``, height and width.
        valid: bool ``[B, h, w]``, cells that hold image.
        size: side of the square in pixels, odd.
        spanning: whether cells span the image.
    """
    return certain_labels(points, image_size, valid, size, spanning)[0]


def certain_labels(
    points: PointBatch, image_size: Tensor, valid: Tensor, size: int, spanning: bool = False
) -> tuple[Tensor, Tensor]:
    """As :func:`point_labels`; the lowest of the clicks' classes, and the highest."""
    images, height, width = valid.shape
    points = points.nonempty()
    y, x = points.pixels(height * STRIDE, width * STRIDE)
    reach = size // 2
    smallest = STRIDE // 2 if spanning else STRIDE
    steps = torch.arange(2 * reach // smallest + 1, device=valid.device)

    def near(pixel: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Cells [B, K, P, steps] whose first pixel may lie in the square, and whether it does."""
        count = valid.shape[1 + axis]
        starts = cell_starts(image_size[:, axis], count, spanning).contiguous()
        first = torch.searchsorted(starts, (pixel - reach).flatten(1)).view_as(pixel)
        cell = first[..., None] + steps
        known = cell < count
        cell = torch.where(known, cell, 0)
        start = starts.gather(1, cell.flatten(1)).view_as(cell)
        return cell, known & (start <= pixel[..., None] + reach)

    rows, row_inside = near(y, 0)
    columns, column_inside = near(x, 1)
    inside = row_inside[..., :, None] & column_inside[..., None, :]
    inside &= points.is_point[..., None, None]
    cell = torch.where(inside, rows[..., :, None] * width + columns[..., None, :], 0)
    category = points.category[..., None, None, None].expand_as(cell)

    def reduce(how: str, none: int) -> Tensor:
        value = torch.where(inside, category, none).flatten(1)
        label = value.new_full((images, height * width), none)
        label = label.scatter_reduce(1, cell.flatten(1), value, how).view(images, height, width)
        return torch.where(valid & (label != none), label, -1)

    return reduce("amin", torch.iinfo(torch.int64).max), reduce("amax", -1)


def cell_pixels(size: Tensor) -> Tensor:
    """Pixels that a spanning cell covers on an axis of images of ``size [B]``, a fraction."""
    return size / (size + STRIDE - 1).div(STRIDE, rounding_mode="floor")


def cell_starts(size: Tensor, count: int, spanning: bool, part: float = 0.0) -> Tensor:
    """The pixel, int64 ``[B, count]``, in which every cell of an axis starts, or ``part`` of it on.

    Args:
        size: int ``[B]``, pixels of the images.
        count: cells of the canvas; those past an image continue its own.
        spanning: whether cells span the image.
        part: of a cell, in [0, 1).
    """
    index = torch.arange(count, device=size.device) + part
    pixels = cell_pixels(size) if spanning else torch.full_like(size, STRIDE, dtype=index.dtype)
    return (index * pixels[:, None]).long()


def lookup(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Some rows ``[B, h]`` and columns ``[B, w]`` of ``[B, C, H, W]``: ``[B, C, h, w]``."""
    image = torch.arange(len(maps), device=maps.device)[:, None, None]
    return maps[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


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
    return lookup(maps, rows, columns)
