"""Reference of :mod:`point2mask.ops.masks`."""

import numpy as np
from numpy.typing import NDArray


def mask_statistics(
    labels: NDArray[np.int32], targets: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int32]]:
    """Area, centroid (y, x) and box (x0, y0, x1, y1) of every target; zeros where empty."""
    images = labels.shape[0]
    area = np.zeros((images, targets), np.int64)
    centroid = np.zeros((images, targets, 2), np.float64)
    box = np.zeros((images, targets, 4), np.int32)
    if labels.size and (labels.min() < -1 or labels.max() >= targets):
        raise ValueError(f"mask_statistics: labels must lie in [-1, {targets})")
    for image, target in np.ndindex(images, targets):
        y, x = np.nonzero(labels[image] == target)
        if y.size:
            area[image, target] = y.size
            centroid[image, target] = y.mean(), x.mean()
            box[image, target] = x.min(), y.min(), x.max() + 1, y.max() + 1
    return area, centroid, box
