"""Masks of instances as COCO stores them: polygons and run lengths."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError

Mask = NDArray[np.bool_]
_EDGES = 256  # at a time: bounds the memory that a polygon takes


def fill_polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask:
    """Pixels ``bool [H, W]`` whose centre lies inside one of the polygons.

    A polygon is ``[x0, y0, x1, y1, ...]`` with corners in pixels, pixel (i, j) covering
    [i, i + 1) x [j, j + 1), and is closed by itself. Where it crosses itself the even-odd rule
    holds.
    """
    mask = np.zeros(size, np.bool_)
    for polygon in polygons:
        mask |= _fill(np.asarray(polygon, np.float64).reshape(-1, 2), size)
    return mask


def _fill(corners: NDArray[np.float64], size: tuple[int, int]) -> Mask:
    height, width = size
    # Every edge toggles, in the rows whose centres it crosses, all pixels right of the crossing.
    toggles = np.zeros((height, width + 1), np.int64)
    low, high = corners, np.roll(corners, -1, 0)
    downwards = low[:, 1] <= high[:, 1]
    low, high = (np.where(downwards[:, None], a, b) for a, b in ((low, high), (high, low)))
    first = np.clip(np.ceil(low[:, 1] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(high[:, 1] - 0.5), 0, height).astype(np.int64)
    for start in range(0, len(corners), _EDGES):
        part = slice(start, start + _EDGES)
        rows = last[part] - first[part]
        edge = np.repeat(np.arange(start, start + len(rows)), rows)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows, rows) + first[edge]
        share = (row + 0.5 - low[edge, 1]) / (high[edge, 1] - low[edge, 1])
        x = low[edge, 0] + share * (high[edge, 0] - low[edge, 0])
        column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
        np.add.at(toggles, (row, column), 1)
    return np.asarray(toggles.cumsum(1)[:, :width] % 2 == 1)


def fill_runs(counts: Sequence[int], size: tuple[int, int], place: object) -> Mask:
    """A mask ``bool [H, W]`` from the lengths of its runs, column by column, zeros first."""
    height, width = size
    lengths = np.asarray(counts, np.int64)
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise DataError(
            f"{place}: expected runs of {width} x {height} = {height * width} pixels together, "
            f"got {lengths.sum()}"
        )
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T


def read_counts(text: str, limit: int, place: object) -> list[int]:
    """Lengths of runs from COCO's compressed text.

    Five bits a character, from 48 up, the lowest first; 32 says that more follow, 16 in the last
    one is the sign. From the fourth on a length is stored as its difference to the last but one.

    Raises:
        DataError: other characters, a text that ends within a number, or numbers beyond ``limit``.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DataError(f"{place}: expected compressed runs, got {text[:40]!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        if len(counts) > 2:
            value += counts[-2]
        if not 0 <= value <= limit:
            raise DataError(f"{place}: expected runs of [0, {limit}] pixels, got {value}")
        counts.append(value)
        value = shift = 0
    if shift:
        raise DataError(f"{place}: expected compressed runs, but the last one is cut off")
    return counts
