"""The size that masks of a picture are made at: by its area, and by how close its clicks lie.

Most pictures are reduced to a longer side of :data:`SIDE`. A long one keeps more, and so does one
whose targets would shrink to the markers of their clicks.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SIDE = 640  # pixels of the longer side of an ordinary picture
LEAST_AREA = SIDE**2 / 2  # pixels that a picture keeps, however long it is
SPACING = 40  # pixels between the clicks of neighbours, the median of a picture's targets
TARGET_AREA = 128**2  # pixels a target, beyond which close clicks make no picture larger
MOST_AREA = 16e6  # pixels: about 2 GB for merging regions
MARKER_RADIUS = 3  # pixels: a click also labels the square about it

Clicks = Sequence[tuple[float, float]]  # (x, y) of one target, in pixels


class WorkingSize(NamedTuple):
    """Height and width, and how many pixels a length of one pixel in an ordinary picture has."""

    shape: tuple[int, int]
    unit: float

    @property
    def growth(self) -> float:
        """How much larger it is than an ordinary picture of the same objects."""
        return max(self.shape) / (SIDE * self.unit)


def working_size(
    shape: tuple[int, int], max_side: int | None = None, clicks: Sequence[Clicks] = ()
) -> WorkingSize:
    """The size to work at.

    Args:
        shape: height and width of the picture, pixels.
        max_side: of the longer side; None lets it follow the picture and its clicks.
        clicks: in the picture.
    """
    if max_side is not None:
        reduced = _scaled(shape, max_side / max(shape))
        return WorkingSize(reduced, max(reduced) / SIDE)
    area = shape[0] * shape[1]
    scale = max(SIDE / max(shape), math.sqrt(LEAST_AREA / area))
    if scale < 1 and (apart := spacing(clicks)) is not None:
        useful = math.sqrt(len(clicks) * TARGET_AREA / area)
        wanted = min(SPACING / apart, useful)
        if wanted > scale:
            # In steps of half an octave: clicks that are moved a little leave it as it is.
            scale *= 2 ** (math.ceil(2 * math.log2(wanted / scale)) / 2)
    reduced = _scaled(shape, min(scale, math.sqrt(MOST_AREA / area)))
    return WorkingSize(reduced, min(1.0, max(reduced) / SIDE))


def spacing(clicks: Sequence[Clicks]) -> float | None:
    """The median over targets of the pixels to the next click of another one; None if there is one
    target at most."""
    points = np.array([point for target in clicks for point in target], np.float64).reshape(-1, 2)
    owner = np.repeat(np.arange(len(clicks)), [len(target) for target in clicks])
    nearest = np.full(len(clicks), np.inf)
    for target, point in zip(owner, points, strict=True):
        squares = ((points[owner != target] - point) ** 2).sum(1)
        nearest[target] = min(nearest[target], squares.min(initial=np.inf))
    known = nearest[np.isfinite(nearest)]
    return max(float(np.sqrt(np.median(known))), 1.0) if len(known) else None


def too_small(shape: tuple[int, int], size: WorkingSize, clicks: Sequence[Clicks]) -> str:
    """What a person should know where targets shrink to the markers of clicks; else nothing."""
    apart = spacing(clicks)
    if apart is None or size.shape == shape:
        return ""
    apart *= max(size.shape) / max(shape)
    marker = 2 * MARKER_RADIUS + 1
    if apart >= 2 * marker:
        return ""
    height, width = size.shape
    return (
        f"targets are {apart:.0f} pixels apart at the {width} x {height} pixels that masks are "
        f"made at, and every click marks {marker} x {marker}: a larger --max-side tells them apart"
    )


def _scaled(shape: tuple[int, int], scale: float) -> tuple[int, int]:
    scale = min(1.0, scale)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
