"""Reference of :mod:`point2mask.ops.pairs`."""

import numpy as np
from numpy.typing import NDArray

from point2mask.ops.reference._grid import OFFSETS


def _shifted(size: int, step: int) -> tuple[slice, slice]:
    """Along one axis: the pixels whose neighbour by ``step`` is inside, and these neighbours."""
    step = max(-size, min(size, step))
    return slice(max(0, -step), size - max(0, step)), slice(max(0, step), size - max(0, -step))


def neighbor_difference(
    feature: NDArray[np.floating], directions: int = 8, norm: str = "l1"
) -> NDArray[np.float64]:
    """Distance of each pixel's feature to that of its neighbours; 0 where one lies outside."""
    if directions not in (2, 4, 8):
        raise ValueError(f"neighbor_difference: directions must be 2, 4 or 8, got {directions}")
    if norm not in ("l1", "l2", "squared_l2"):
        raise ValueError(f"neighbor_difference: norm must be l1, l2 or squared_l2, got {norm}")
    images, _, height, width = feature.shape
    difference = np.zeros((images, directions, height, width))
    for d, (dy, dx) in enumerate(OFFSETS[:directions]):
        (y, y_next), (x, x_next) = _shifted(height, dy), _shifted(width, dx)
        step = feature[:, :, y, x].astype(np.float64) - feature[:, :, y_next, x_next]
        if norm == "l1":
            difference[:, d, y, x] = np.abs(step).sum(1)
        elif norm == "l2":
            difference[:, d, y, x] = np.sqrt((step**2).sum(1))
        else:
            difference[:, d, y, x] = (step**2).sum(1)
    return difference
