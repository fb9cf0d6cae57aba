"""Outlines of grown masks, moved to the edges that the picture has nearby.

Masks are grown from maps whose cells are some pixels wide, so their outlines are off by as many.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt
from torch import Tensor

from point2mask import engine
from point2mask.label.edges import color_gradient
from point2mask.ops import rgb_to_lab

_REACH = 5  # pixels to either side of an outline, of the network's cells of 8
_CORE = 0.6  # of its depth a small target keeps what is deeper
_SIGMA = 1.5  # pixels, of the colour gradient


def edge_strength(image: Tensor) -> NDArray[np.float32]:
    """How strong the edges of a picture ``[3, H, W]`` in [0, 1] are, ``[H, W]``."""
    lab = rgb_to_lab(image.float()[None])[0].permute(1, 2, 0)
    return color_gradient(lab.cpu().numpy(), _SIGMA)


def move_to_edges(
    labels: NDArray[np.int32], edge: NDArray[np.float32], reach: int = _REACH
) -> NDArray[np.int32]:
    """The labels of a picture's pixels, flooded anew about their outlines over low edges first.

    Args:
        labels: ``[H, W]`` from -1, which is flooded as the others are.
        edge: ``[H, W]`` of :func:`edge_strength`.
        reach: pixels next to outlines that are flooded anew.
    """
    depth = _depth(labels)
    numbers = labels + 1
    deepest = np.zeros(numbers.max() + 1)
    np.maximum.at(deepest, numbers.ravel(), depth.ravel())
    is_inner = depth > np.minimum(reach, _CORE * deepest)[numbers]
    # Floods begin where inner parts end: all others of their pixels would only wait in the queue.
    is_shore = is_inner & binary_dilation(~is_inner)
    flooded = engine.watershed(edge, np.where(is_shore, numbers, -1))
    return np.where(is_inner, labels, flooded - 1)


def _depth(labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Pixels ``[H, W]`` to the nearest pixel of another label; as large as it gets without one."""
    differs = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        one, other = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
        changes = one != other
        at = np.moveaxis(differs, axis, 0)
        at[:-1] |= changes
        at[1:] |= changes
    if not differs.any():
        return np.full(labels.shape, np.inf)
    return np.asarray(distance_transform_edt(~differs)) + 1
