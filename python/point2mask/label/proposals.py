"""Clicks that nobody has to set: one inside everything that a network finds."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from point2mask.data.json_files import Point
from point2mask.data.records import Category, Segment
from point2mask.data.targets import PointTarget


def propose_targets(
    ids: NDArray[np.integer],
    segments: Sequence[Segment],
    known: Mapping[int, Category],
    categories: Mapping[int, Category],
    targets: Sequence[PointTarget] = (),
    rest: Iterable[Point] = (),
) -> list[PointTarget]:
    """A target of one click for every segment that has none yet, the largest first.

    The click is in the middle of the pixel that is furthest from the segment's edge, the edge of
    the picture among it.

    Args:
        ids: the segment ``[H, W]`` of every pixel.
        segments: those that were found; categories are of ``known``.
        known: the categories of the network.
        categories: those that targets are to have, the same by name and kind; segments of others
            are left out.
        targets: what is clicked already. Its segments are left out, and so is stuff of a category
            that has a target.
        rest: clicks on nothing, whose segments are left out too.
    """
    names = {(category.name, category.isthing): category.id for category in categories.values()}
    pixels = [pixel for target in targets for pixel in target.pixels]
    pixels += [(int(x), int(y)) for x, y in rest]
    clicked = {int(ids[y, x]) for x, y in pixels}
    there = {target.category_id for target in targets}
    fresh = max((target.id for target in targets), default=0) + 1
    proposed: list[PointTarget] = []
    for segment in sorted(segments, key=lambda segment: -(segment.area or 0)):
        category = known[segment.category_id]
        own = names.get((category.name, category.isthing))
        if own is None or segment.id in clicked or (own in there and not category.isthing):
            continue
        there.add(own)
        proposed.append(PointTarget(fresh + len(proposed), own, (innermost(ids == segment.id),)))
    return proposed


def innermost(mask: NDArray[np.bool_]) -> Point:
    """The middle (x, y) of the pixel of a mask ``[H, W]`` that is furthest from its outside."""
    from scipy.ndimage import distance_transform_edt

    distance = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), mask.shape)
    return float(x) + 0.5, float(y) + 0.5
