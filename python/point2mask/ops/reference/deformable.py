"""Reference of :mod:`point2mask.ops.deformable`."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def deformable_attention(
    value: NDArray[Any], where: NDArray[Any], weight: NDArray[Any], shapes: NDArray[Any]
) -> NDArray[np.float64]:
    """Weighted bilinear reads ``[B, Q, M, C]`` of every query and head on several maps."""
    images, queries, heads, levels, points, _ = where.shape
    output = np.zeros((images, queries, heads, value.shape[3]))
    ends = np.cumsum([h * w for h, w in shapes])
    for b, q, m, level, p in np.ndindex(images, queries, heads, levels, points):
        height, width = (int(n) for n in shapes[level])
        maps = value[b, ends[level] - height * width : ends[level], m].reshape(height, width, -1)
        read = bilinear(maps, *where[b, q, m, level, p].astype(float))
        output[b, q, m] += float(weight[b, q, m, level, p]) * read
    return output


def bilinear(maps: NDArray[Any], x: float, y: float) -> NDArray[np.float64]:
    """A map ``[h, w, C]`` over the unit square at a point, 0 outside and for NaN."""
    height, width, channels = maps.shape
    column, row = x * width - 0.5, y * height - 0.5
    read = np.zeros(channels)
    if not (-1 < column < width and -1 < row < height):
        return read
    left, top = math.floor(column), math.floor(row)
    for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= i < height and 0 <= j < width:
            read += (1 - abs(row - i)) * (1 - abs(column - j)) * maps[i, j]
    return read
