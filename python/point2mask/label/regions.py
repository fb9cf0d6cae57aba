"""Assigners that grow regions: seeded region merging and the watershed."""

import numpy as np
from numpy.typing import NDArray

from point2mask import engine
from point2mask.label.edges import appearance_bins
from point2mask.label.mask_costs import shared_with_masks
from point2mask.label.picture import Picture
from point2mask.label.scene import Scene

EDGE_FLOOR = 0.01  # so that size and distance still count where a picture is flat
COLOR_WEIGHT, TEXTURE_WEIGHT = 0.5, 0.3  # of chi-square distances against edge strength
SIZE_EXPONENT = 0.05
REACH = 3.5  # spacings of clicks: a thing's region this far away costs twice as much
# The same where a target's area is known, in sides of a square of that area: of a thing, of stuff.
SIZED_REACH = 2.0, 5.0
MOST_CORRECTION = 2.0  # times, of a reach by the area that came of it
PLATEAU_CELL = 16  # pixels: flat areas become regions of at most this side


@shared_with_masks
def merge(scene: Scene) -> NDArray[np.int32]:
    """Seeded region merging: neighbours that look alike and have no edge between them join first.

    See ``merge_regions`` in ``cpp/include/point2mask/regions.hpp`` for the cost of a merge. Things
    prefer what is near: their reach is a multiple of the typical distance to the next click.
    Targets of a given area have one that follows it, and is corrected by what they came to.
    """
    regions = superpixels(scene)
    # Pixels, at least one; NaN where nobody knows.
    side = np.maximum(np.sqrt(scene.area * regions.size), 1.0)
    known = np.isfinite(side)
    reach = np.where(scene.is_thing, REACH * scene.spacing(), np.inf)
    reach[known] = (np.where(scene.is_thing, *SIZED_REACH) * side)[known]
    labels = _merged(scene, regions, reach)
    if not known.any():
        return labels
    came_to = np.sqrt(np.bincount(labels.ravel(), minlength=len(side)))
    missed = side[known] / np.maximum(came_to[known], 1)
    reach[known] *= np.clip(missed, 1 / MOST_CORRECTION, MOST_CORRECTION)
    return _merged(scene, regions, reach)


def _merged(
    scene: Scene, regions: NDArray[np.int32], reach: NDArray[np.float64]
) -> NDArray[np.int32]:
    """The target of every pixel, given how far each target reaches."""
    bins, bin_counts = scene.picture.once(_appearance)
    return engine.merge_regions(
        regions,
        int(regions.max()) + 1,
        scene.edge + np.float32(EDGE_FLOOR),
        bins,
        bin_counts,
        (COLOR_WEIGHT, TEXTURE_WEIGHT),
        scene.seeds,
        reach,
        SIZE_EXPONENT,
    )


@shared_with_masks
def watershed(scene: Scene) -> NDArray[np.int32]:
    """Flooding from the clicks: a pixel goes to the target that it reaches over the lowest edge."""
    return engine.watershed(scene.edge, scene.markers())


def superpixels(scene: Scene) -> NDArray[np.int32]:
    """Regions ``int32 [h, w]`` from 0: basins of the edge strength, each marker one of its own."""
    markers = scene.markers().ravel()
    basins, sizes = scene.picture.once(_basins)
    marked = np.flatnonzero(markers >= 0)
    owner = markers[marked]
    # Numbers without gaps: of the targets that have a pixel, then of the basins that keep one.
    targets = len(scene.seeds)
    kept = sizes - np.bincount(basins.ravel()[marked], minlength=len(sizes))
    present = np.concatenate((np.bincount(owner, minlength=targets), kept[1:])) > 0
    number = np.cumsum(present, dtype=np.int32) - 1
    start = np.concatenate(([-1], number[targets:]), dtype=np.int32)[basins]
    start.ravel()[marked] = number[owner]
    return engine.watershed(scene.edge, start)


def _appearance(picture: Picture) -> tuple[NDArray[np.int32], tuple[int, int]]:
    return appearance_bins(picture.lab)


def _basins(picture: Picture) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """``int32 [h, w]``: numbers from 1 of the bottoms of basins, 0 on their slopes; their sizes."""
    from scipy.ndimage import gaussian_filter, label, minimum_filter

    smooth = gaussian_filter(picture.edge, max(0.7, 1.4 * picture.unit))
    window = max(5, 2 * round(4.5 * picture.unit) + 1)
    basins, _ = label(smooth == minimum_filter(smooth, window))
    rows, columns = (np.arange(side) // PLATEAU_CELL for side in picture.shape)
    cells = rows[:, None] * (columns[-1] + 1) + columns
    numbers = np.where(basins > 0, (basins - 1) * (cells[-1, -1] + 1) + cells + 1, 0)
    values, compact = np.unique(numbers, return_inverse=True)
    bottoms = np.asarray(compact.reshape(picture.shape) + int(values[0] > 0), np.int32)
    return bottoms, np.bincount(bottoms.ravel())
