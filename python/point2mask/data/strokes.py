"""Corrections by hand as pixels, within bounded memory and work."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from point2mask.data.errors import DataError
from point2mask.data.marks import Stroke

MAX_WORK = 1_000_000_000  # pixels that are looked at for all strokes of an image: some ten seconds
CROSSING_WORK = 200  # the same, for every row that a side of a polygon crosses
PART = 2**20  # pixels that are looked at at a time
LEAST_RADIUS = 0.71  # pixels: at least the one under a line


def draw_strokes(
    labels: NDArray[np.int32],
    strokes: Sequence[Stroke],
    values: dict[int, int],
    size: tuple[int, int] | None = None,
) -> None:
    """Writes strokes into a map ``[h, w]`` of an image, in place.

    Args:
        labels: the map.
        strokes: in their order.
        values: what is written for every segment id.
        size: height and width of the image, where the map has another size.

    Raises:
        DataError: so many, so large strokes that they would take minutes.
    """
    height, width = labels.shape
    down, across = (1.0, 1.0) if size is None else (height / size[0], width / size[1])
    work = 0
    for stroke in strokes:
        points = np.asarray(stroke.points) * (across, down)
        value = values[stroke.segment_id]
        if stroke.shape == "polygon":
            work = _add(work, CROSSING_WORK * _crossings(points - 0.5, height))
            work = _add(work, _fill_polygon(labels, points - 0.5, value))
            continue
        radius = max(stroke.radius * np.sqrt(down * across), LEAST_RADIUS)
        for start, end in zip(points, points[1:] if len(points) > 1 else points, strict=False):
            work = _add(work, _fill_line(labels, start, end, radius, value))


def _add(work: int, more: int) -> int:
    if work + more > MAX_WORK:
        raise DataError(
            f"expected strokes of at most {MAX_WORK} pixels together in an image, got more"
        )
    return work + more


def _rows(corners: NDArray[np.float64], height: int) -> tuple[NDArray[np.int64], ...]:
    """Of every side of a polygon the first row that it crosses, and how many it does."""
    below = np.roll(corners[:, 1], -1)
    low, high = np.minimum(corners[:, 1], below), np.maximum(corners[:, 1], below)
    first = np.ceil(low).clip(0, height).astype(np.int64)
    return first, (np.ceil(high).clip(0, height).astype(np.int64) - first).clip(0)


def _crossings(corners: NDArray[np.float64], height: int) -> int:
    return int(_rows(corners, height)[1].sum())


def _fill_polygon(labels: NDArray[np.int32], corners: NDArray[np.float64], value: int) -> int:
    """The pixels whose centres it encloses by the even-odd rule, or that lie on its outline.

    Args:
        labels: the map ``[h, w]``.
        corners: ``[N, 2]``, the centre of pixel (0, 0) at (0, 0).
        value: that is written.

    Returns:
        How many pixels were written.
    """
    height, width = labels.shape
    first, counts = _rows(corners, height)
    side = np.repeat(np.arange(len(corners)), counts)
    row = first[side] + np.arange(len(side)) - np.repeat(np.cumsum(counts) - counts, counts)
    start, way = corners[side], (np.roll(corners, -1, 0) - corners)[side]
    column = start[:, 0] + (row - start[:, 1]) / way[:, 1] * way[:, 0]
    order = np.lexsort((column, row))
    row, column = row[order][::2], column[order]
    left = np.ceil(column[::2]).clip(0, width).astype(np.int64)
    right = (np.floor(column[1::2]) + 1).clip(0, width).astype(np.int64)
    for y, begin, end in zip(row.tolist(), left.tolist(), right.tolist(), strict=True):
        labels[y, begin:end] = value
    _fill_lowest(labels, corners, value)
    return int((right - left).clip(0).sum())


def _fill_lowest(labels: NDArray[np.int32], corners: NDArray[np.float64], value: int) -> None:
    """Sides along a row, and corners, whose pixels the rows of sides do not count in."""
    height, width = labels.shape
    for (x, y), (other, below) in zip(corners, np.roll(corners, -1, 0), strict=True):
        if y != np.floor(y) or not 0 <= y < height:
            continue
        low, high = (min(x, other), max(x, other)) if y == below else (x, x)
        begin, end = max(0, int(np.ceil(low))), min(width, int(np.floor(high)) + 1)
        labels[int(y), begin : max(begin, end)] = value


def _fill_line(
    labels: NDArray[np.int32],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    radius: float,
    value: int,
) -> int:
    """The pixels whose centres are at most ``radius`` from the line between two points.

    Returns:
        How many pixels were looked at.
    """
    height, width = labels.shape
    low, high = np.minimum(start, end) - radius, np.maximum(start, end) + radius
    top, bottom = max(0, int(np.floor(low[1]))), min(height, int(np.ceil(high[1])))
    (dx, dy), looked = end - start, 0
    step = max(1, PART // max(1, int(min(high[0] - low[0], width))))
    for first in range(top, bottom, step):
        last = min(first + step, bottom)
        # The part of the line that is near enough to these rows, and a pixel more for rounding.
        near = np.array([0.0, 1.0])
        if abs(dy) > 1e-9:
            near = ((np.array([first - radius, last + radius]) - start[1]) / dy).clip(0, 1)
        sides = start[0] + near * dx
        left = max(0, int(np.floor(sides.min() - radius)) - 1)
        right = min(width, int(np.ceil(sides.max() + radius)) + 1)
        part = labels[first:last, left : max(left, right)]
        x = np.arange(part.shape[1]) + left + 0.5 - start[0]
        y = np.arange(part.shape[0])[:, None] + first + 0.5 - start[1]
        along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        part[(x - along * dx) ** 2 + (y - along * dy) ** 2 <= radius * radius] = value
        looked += part.size
    return looked
