"""Sine encoding of the position of a cell in its image."""

import math

import torch
from torch import Tensor


def sine_position(
    shape: tuple[int, int], extent: Tensor, width: int, temperature: float = 10000.0
) -> Tensor:
    """Encoding of cell centres: half of the channels for y, half for x.

    Args:
        shape: h and w, cells of the padded level.
        extent: ``[B, 2]``, width and height of every image in cells; its far border has
            the phase 2 pi in the first channels, whatever its size.
        width: d, channels, a multiple of 4.
        temperature: ratio of the longest to the shortest wave.

    Returns:
        ``[B, h·w, d]``; sine and cosine of one frequency are neighbours.
    """
    half = width // 2
    pair = torch.arange(half, device=extent.device, dtype=torch.int64) // 2
    wavelength = temperature ** (2 * pair.to(extent.dtype) / half)

    def encode(count: int, length: Tensor) -> Tensor:
        centre = torch.arange(count, device=extent.device, dtype=extent.dtype) + 0.5
        phase = (centre / (length[:, None] + 1e-6) * 2 * math.pi)[..., None] / wavelength
        return torch.stack((phase[..., 0::2].sin(), phase[..., 1::2].cos()), -1).flatten(-2)

    height, breadth = shape
    rows = encode(height, extent[:, 1])[:, :, None].expand(-1, -1, breadth, -1)
    columns = encode(breadth, extent[:, 0])[:, None].expand(-1, height, -1, -1)
    return torch.cat((rows, columns), -1).flatten(1, 2)
