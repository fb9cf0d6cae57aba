"""Assigners that follow shortest paths: nearest click, and optimal transport to given areas."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from point2mask import engine
from point2mask.grid import OFFSETS
from point2mask.label.mask_costs import shared_with_masks
from point2mask.label.picture import Picture
from point2mask.label.scene import Scene, enlarged
from point2mask.label.size import WorkingSize

MAX_SIDE = 320  # pixels of an ordinary picture: paths need less detail than borders of regions
MOST_CELLS = 128e6  # distances of all targets, of 4 bytes, that transport has in memory
SOME_CELLS = 16e6  # the same of shortest paths, which need to know about where a target lies
MOST_WORK = 64e6  # distances of all targets when they are compared again: half a minute on a photo
LEAST_SHARE = 16  # pixels a target, below which transport knows little of areas
EDGE_LIMIT = 1.5  # of edge strength
EDGE_POWER = 4  # high: a path is about as long as the highest edge that it crosses
STEP_COST = 3e-5  # of a step without edge
EPSILON = 0.03  # of transport, whose cost is the logarithm of the distance
TOLERANCE, MAX_ITERATIONS = 1e-3, 1000
KEPT = 64  # targets whose distances stay with a picture: 0.3 MB each
SAMPLING = 2  # transport is solved on every so-many-th row and column


@shared_with_masks
def shortest_path(scene: Scene) -> NDArray[np.int32]:
    """The target from whose clicks the path over the lowest edges is shortest."""
    small = scene.reduced(path_side(scene.picture.size, len(scene.seeds), SOME_CELLS))
    labels = _distance(small, small.seeds).argmin(0).astype(np.int32)
    return _refined(scene, labels, np.zeros(len(scene.seeds), np.float32))


def transport(scene: Scene) -> NDArray[np.int32]:
    """Optimal transport of the pixels to the targets, each of which receives its area.

    Targets without a given area get that of their cell about the centroids of shortest-path cells
    (Point2Mask's supplies), scaled to what the given areas leave. Where a promptable network adds
    its costs, the cell is that of the lowest cost.
    """
    small = scene.reduced(path_side(scene.picture.size, len(scene.seeds), MOST_CELLS))
    distance = _distance(small, small.seeds)
    cost = _logarithm(distance)
    if small.mask_cost is not None:
        cost += small.mask_cost
    share = _supplies(small, distance, cost)
    coarse = cost[None, :, ::SAMPLING, ::SAMPLING].reshape(1, len(cost), -1)
    pixels = coarse.shape[2]
    potential, _, _ = engine.sinkhorn(
        coarse,
        (share * pixels)[None].astype(np.float32),
        np.ones((1, pixels), np.float32),
        epsilon=EPSILON,
        max_iterations=MAX_ITERATIONS,
        tolerance=TOLERANCE,
    )
    labels = (cost - potential[0][:, None, None]).argmin(0)
    return _refined(scene, labels.astype(np.int32), potential[0])


def path_side(size: WorkingSize, targets: int, most: float) -> int:
    """Pixels of the longer side that the paths of all targets are found at, all over a picture.

    So that they have at most so many distances together.
    """
    wanted = MAX_SIDE * size.growth
    cells = max(1, targets) * math.prod(size.shape) * (wanted / max(size.shape)) ** 2
    return max(1, int(wanted * min(1.0, (most / cells) ** 0.5)))


def few_pixels(size: WorkingSize, targets: int) -> bool:
    """Whether there are too many targets for transport to know their areas."""
    side = path_side(size, targets, MOST_CELLS)
    share = math.prod(size.shape) * (side / max(size.shape)) ** 2 / targets
    return share < LEAST_SHARE and side < int(MAX_SIDE * size.growth)


def _refined(
    scene: Scene, found: NDArray[np.int32], potential: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Labels at the size of the scene.

    So many targets that paths were found on fewer pixels than for a few are compared again, on all
    pixels if that is not too much work, but each thing only near where it was found.

    Args:
        scene: h x w pixels.
        found: labels at a smaller size.
        potential: ``[K]``, what is subtracted from the logarithms of a target's distances.
    """
    few = max(found.shape) >= min(int(MAX_SIDE * scene.picture.size.growth), max(scene.shape))
    if few or scene.mask_cost is not None:
        return enlarged(found, scene.shape)
    cells = sum(
        math.prod(side.stop - side.start for side in window) for _, window in _windows(scene, found)
    )
    small = scene.reduced(max(1, int(max(scene.shape) * min(1.0, (MOST_WORK / cells) ** 0.5))))
    if max(small.shape) <= max(found.shape):
        return enlarged(found, scene.shape)
    labels = np.zeros(small.shape, np.int32)
    least = np.full(small.shape, np.inf, np.float32)
    for target, window in _windows(small, found):
        low, high = np.array([(side.start, side.stop) for side in window]).T
        seeds = np.ravel_multi_index((small.clicks(target) - low).T, high - low).astype(np.int32)
        costs = _step_cost(small.edge[window])
        cost = _logarithm(engine.geodesic_distance(costs, seeds[None, None])[0, 0])
        cost -= potential[target]
        closer = cost < least[window]  # of equals the first
        labels[window][closer] = target
        least[window][closer] = cost[closer]
    return enlarged(labels, scene.shape)


def _windows(scene: Scene, found: NDArray[np.int32]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Targets that have clicks, and where the pixels of each can lie.

    That is near where it was found; stuff may lie anywhere.
    """
    from scipy.ndimage import find_objects

    scale = np.divide(scene.shape, found.shape)
    for target, box in enumerate(find_objects(found + 1, len(scene.seeds))):
        clicks = scene.clicks(target)
        if not len(clicks):
            continue
        low, high = np.zeros(2, np.int64), np.array(scene.shape)
        if scene.is_thing[target]:
            low, high = clicks.min(0), clicks.max(0) + 1
            if box is not None:
                start, stop = np.array([(side.start, side.stop) for side in box]).T * scale
                low = np.minimum(low, start.astype(np.int64))
                high = np.maximum(high, np.ceil(stop).astype(np.int64))
            margin = (high - low).max() + math.ceil(2 * scale.max())
            low, high = np.maximum(low - margin, 0), np.minimum(high + margin, scene.shape)
        yield target, tuple(map(slice, low.tolist(), high.tolist()))


def _logarithm(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """A target's potential then multiplies its distances. Half a step at the clicks."""
    return np.asarray(np.log(distance + np.float32(STEP_COST / 2)))


def _supplies(
    scene: Scene, distance: NDArray[np.float32], cost: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The share of the pixels ``[K]`` that each target shall get; they add up to 1."""
    known = np.isfinite(scene.area)
    share = np.where(known, scene.area, 0.0)
    if not known.all():
        if scene.mask_cost is None:
            guess = _centroid_shares(scene, distance)[~known]
        else:
            guess = _shares(cost)[~known]
        # What is left for the others, even if the given areas leave nothing.
        share[~known] = guess * max(1 - share.sum(), guess.sum() / 2) / guess.sum()
    share[(scene.seeds < 0).all(1)] = 0  # nothing reaches a target whose clicks were dropped
    share[...] = share if share.any() else (scene.seeds >= 0).any(1)
    return np.asarray(share / share.sum())


def _centroid_shares(scene: Scene, distance: NDArray[np.float32]) -> NDArray[np.float64]:
    """Shares of cells about centroids; a centroid counts if it and the clicks lie in its mask."""
    labels = distance.argmin(0).astype(np.int32)
    targets = len(distance)
    _, centroids, _ = engine.mask_statistics(labels[None], targets)
    seeds = scene.seeds.copy()
    for k, (y, x) in enumerate(centroids[0].astype(np.int64)):
        clicks = seeds[k][seeds[k] >= 0]
        if labels[y, x] == k and (labels.flat[clicks] == k).all():
            seeds[k] = -1
            seeds[k, 0] = y * labels.shape[1] + x
    return _shares(_distance(scene, seeds))


def _shares(cost: NDArray[np.float32]) -> NDArray[np.float64]:
    """Shares ``[K]`` of the pixels of a cost ``[K, h, w]`` that are cheapest for every target."""
    # A target whose centroid shares its pixel with another's still gets something.
    counts = np.maximum(np.bincount(cost.argmin(0).ravel(), minlength=len(cost)), 1)
    return np.asarray(counts / counts.sum())


def _distance(scene: Scene, seeds: NDArray[np.int32]) -> NDArray[np.float32]:
    """``float32 [K, h, w]``: cost of the cheapest path from every target's seeds."""
    return scene.picture.once(_Paths).distance(seeds)


class _Paths:
    """Cheapest paths on one picture. Those of a target do not depend on others, and are kept."""

    def __init__(self, picture: Picture) -> None:
        self._cost = _step_cost(picture.edge)
        self._kept: dict[bytes, NDArray[np.float32]] = {}  # by seeds, the last used at the end

    def distance(self, seeds: NDArray[np.int32]) -> NDArray[np.float32]:
        """``float32 [K, h, w]`` from seeds ``[K, P]``: computed where the seeds are new."""
        keys = [one[one >= 0].tobytes() for one in seeds]
        fresh = [k for k, key in enumerate(keys) if key not in self._kept]
        distance = np.empty((len(keys), *self._cost.shape[2:]), np.float32)
        if fresh:
            distance[fresh] = engine.geodesic_distance(self._cost, seeds[None, fresh])[0]
        for one, key in zip(distance, keys, strict=True):
            if key in self._kept:
                one[...] = self._kept[key]
        for one, key in zip(distance[-KEPT:], keys[-KEPT:], strict=True):
            kept = self._kept.pop(key, None)
            self._kept[key] = one.copy() if kept is None else kept
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return distance


def _step_cost(edge: NDArray[np.float32]) -> NDArray[np.float32]:
    """``float32 [1, 8, h, w]``: cost of the step from every pixel to its neighbours."""
    height, width = edge.shape
    edge = np.minimum(edge, EDGE_LIMIT)
    around = np.pad(edge, 1, mode="edge")
    cost = np.empty((1, len(OFFSETS), height, width), np.float32)
    for step, (dy, dx) in enumerate(OFFSETS):
        there = around[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        cost[0, step] = ((edge + there) / 2) ** EDGE_POWER + STEP_COST
    return cost
