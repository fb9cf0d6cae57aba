"""Sine encoding of positions in an image: of cells and of boxes."""

import math

import torch
from torch import Tensor

from point2mask.models.geometry import Geometry

_WAVES = 10000.0  # about the ratio of the longest to the shortest


def sine_position(
    shape: tuple[int, int], extent: Tensor, width: int, within: float = 0.5
) -> Tensor:
    """Encoding of the cells of a level: half of the channels for y, half for x.

    Args:
        shape: h and w, cells of the padded level.
        extent: ``[B, 2]``, width and height of every image in cells; its far border has
            the phase 2 pi in the first channels, whatever its size.
        width: d, channels, a multiple of 4.
        within: the point of a cell that stands for it: 1/2 for the centre, 1 for the far corner.

    Returns:
        ``[B, h·w, d]``; sine and cosine of one frequency are neighbours.
    """

    def encode(count: int, length: Tensor) -> Tensor:
        place = torch.arange(count, device=extent.device, dtype=extent.dtype) + within
        return _sine(place / (length[:, None] + 1e-6), width // 2)

    height, breadth = shape
    rows = encode(height, extent[:, 1])[:, :, None].expand(-1, -1, breadth, -1)
    columns = encode(breadth, extent[:, 0])[:, None].expand(-1, height, -1, -1)
    return torch.cat((rows, columns), -1).flatten(1, 2)


def level_positions(
    geometry: Geometry, width: int, levels: int, within: float = 0.5
) -> list[Tensor]:
    """:func:`sine_position` of the first levels of a batch, ``[B, h_l·w_l, d]`` each."""
    return [
        sine_position(shape, geometry.extent[:, level], width, within)
        for level, shape in enumerate(geometry.shapes[:levels])
    ]


def sine_boxes(boxes: Tensor, width: int) -> Tensor:
    """Encoding of boxes ``[..., 4]`` (centre x, y, width, height in parts of the image).

    Returns:
        ``[..., 2 d]``: d / 2 channels each for y, x, width and height, in this order.
    """
    return _sine(boxes[..., (1, 0, 2, 3)], width // 2).flatten(-2)


def _sine(part: Tensor, channels: int) -> Tensor:
    """Parts of an axis ``[...]`` as sines and cosines, ``[..., channels]``."""
    pair = torch.arange(channels, device=part.device, dtype=torch.int64) // 2
    wavelength = _WAVES ** (2 * pair.to(part.dtype) / channels)
    phase = (part * 2 * math.pi)[..., None] / wavelength
    return torch.stack((phase[..., 0::2].sin(), phase[..., 1::2].cos()), -1).flatten(-2)
