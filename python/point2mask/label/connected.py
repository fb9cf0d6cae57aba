"""Things that were grown from clicks, less what does not hang together with their clicks.

Growing shares all pixels of a class out among the targets that were clicked, also those of objects
that nobody clicked and of what the network only takes for the class.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label
from torch import Tensor

from point2mask.pseudo_masks.points import PointBatch

_TOUCHING = np.ones((3, 3))  # also at corners


def keep_connected(
    grown: Tensor,
    stuff: Tensor,
    points: PointBatch,
    crowds: Sequence[Sequence[int]],
    is_thing: Tensor,
) -> NDArray[np.int32]:
    """Targets of pixels where each thing keeps its largest part and those under its clicks.

    A part is of pixels of a thing that touch, also at corners. The thing's other parts go to stuff.
    Crowds, which are of many parts, keep all.

    Args:
        grown: int ``[B, H, W]``, the target of every pixel, negative for none.
        stuff: int ``[B, H, W]``, the target that a pixel goes to that is given up, negative for
            none.
        points: the clicks.
        crowds: of every picture the targets that are crowds.
        is_thing: bool ``[C]``.

    Returns:
        ``[B, H, W]``, as ``grown``.
    """
    things, is_point = (at.cpu().numpy() for at in (points.things(is_thing), points.is_point))
    row, column = (at.cpu().numpy() for at in points.pixels(grown.shape[-2], grown.shape[-1]))
    result, given_up = grown.cpu().numpy().astype(np.int32), stuff.cpu().numpy()
    for image, own in enumerate(result):
        for target, box in enumerate(find_objects(own + 1)):
            if box is None or not things[image, target] or target in crowds[image]:
                continue
            at = is_point[image, target]
            clicks = np.stack((row[image, target, at], column[image, target, at]), axis=1)
            lost = _apart(own[box] == target, clicks - [side.start for side in box])
            own[box][lost] = given_up[image][box][lost]
    return result


def _apart(own: NDArray[np.bool_], clicks: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which of a thing's pixels are neither of its largest part nor of one with a click ``[P, 2]``.

    Clicks may lie outside.
    """
    part, count = label(own, _TOUCHING)
    is_kept = np.arange(count + 1) == np.bincount(part[own]).argmax()
    inside = clicks[((clicks >= 0) & (clicks < own.shape)).all(1)]
    is_kept[part[tuple(inside.T)]] = True
    return np.asarray(own & ~is_kept[part])
