"""Assigners that follow shortest paths: nearest click, and optimal transport to given areas."""

import math
from collections.abc import Iterable, Iterator

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
TOGETHER = 32  # targets whose distances are computed at once
SAMPLING = 2  # transport is solved on every so-many-th row and column


@shared_with_masks
def shortest_path(scene: Scene) -> NDArray[np.int32]:
    """The target from whose clicks the path over the lowest edges is shortest."""
    small = scene.reduced(path_side(scene.picture.size, len(scene.seeds), SOME_CELLS))
    labels = _lowest(_distances(small, small.seeds), small.shape)
    return _refined(scene, labels, np.zeros(len(scene.seeds), np.float32))


def transport(scene: Scene) -> NDArray[np.int32]:
    """Optimal transport of the pixels to the targets, each of which receives its area.

    Targets without a given area get that of their cell about the centroids of shortest-path cells
    (Point2Mask's supplies), scaled to what the given areas leave. Where a promptable network adds
    its costs, the cell is that of the lowest cost.
    """
    small = scene.reduced(path_side(scene.picture.size, len(scene.seeds), MOST_CELLS))
    return _refined(scene, *_transported(small))


def _transported(scene: Scene) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Labels, and the potential ``[K]`` of every target."""
    cost = np.empty((len(scene.seeds), *scene.shape), np.float32)
    cells = _Lowest(scene.shape)
    for target, distance in enumerate(_distances(scene, scene.seeds)):
        cells.add(target, distance)
        cost[target] = _logarithm(distance)
    if scene.mask_cost is not None:
        cost += scene.mask_cost
    share = _supplies(scene, cells.labels, cost)
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
    reduced = (one - own for one, own in zip(cost, potential[0], strict=True))
    return _lowest(reduced, scene.shape), potential[0]


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
    found_again = _Lowest(small.shape)
    steps = _step_cost(small.edge)
    for target, window in _windows(small, found):
        low, high = np.array([(side.start, side.stop) for side in window]).T
        seeds = np.ravel_multi_index((small.clicks(target) - low).T, high - low).astype(np.int32)
        distance = engine.geodesic_distance(steps[:, :, *window], seeds[None, None])[0, 0]
        found_again.add(target, _logarithm(distance) - potential[target], window)
    return enlarged(found_again.labels, scene.shape)


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
    scene: Scene, cells: NDArray[np.int32], cost: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The share of the pixels ``[K]`` that each target shall get; they add up to 1.

    Args:
        scene: K targets.
        cells: ``[h, w]``, the target that is nearest.
        cost: ``[K, h, w]``.
    """
    known = np.isfinite(scene.area)
    share = np.where(known, scene.area, 0.0)
    if not known.all():
        if scene.mask_cost is None:
            cells = _centroid_cells(scene, cells)
        else:
            cells = _lowest(cost, scene.shape)
        # A target whose centroid shares its pixel with another's still gets something.
        counts = np.maximum(np.bincount(cells.ravel(), minlength=len(cost)), 1)
        guess = (counts / counts.sum())[~known]
        # What is left for the others, even if the given areas leave nothing.
        share[~known] = guess * max(1 - share.sum(), guess.sum() / 2) / guess.sum()
    share[(scene.seeds < 0).all(1)] = 0  # nothing reaches a target whose clicks were dropped
    share[...] = share if share.any() else (scene.seeds >= 0).any(1)
    return np.asarray(share / share.sum())


def _centroid_cells(scene: Scene, labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Cells about centroids of cells; one counts if it and the clicks lie in its cell."""
    _, centroids, _ = engine.mask_statistics(labels[None], len(scene.seeds))
    seeds = scene.seeds.copy()
    for k, (y, x) in enumerate(centroids[0].astype(np.int64)):
        clicks = seeds[k][seeds[k] >= 0]
        if labels[y, x] == k and (labels.flat[clicks] == k).all():
            seeds[k] = -1
            seeds[k, 0] = y * labels.shape[1] + x
    return _lowest(_distances(scene, seeds), scene.shape)


class _Lowest:
    """At every pixel the target whose cost is lowest, of equals the one that was added first."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.labels = np.zeros(shape, np.int32)
        self._least = np.full(shape, np.inf, np.float32)

    def add(self, target: int, cost: NDArray[np.float32], window: tuple[slice, ...] = ()) -> None:
        """The costs of a target within a window."""
        least = self._least[window]
        self.labels[window][cost < least] = target
        np.minimum(cost, least, out=least)


def _lowest(costs: Iterable[NDArray[np.float32]], shape: tuple[int, int]) -> NDArray[np.int32]:
    """At every pixel the first of the lowest costs."""
    lowest = _Lowest(shape)
    for target, cost in enumerate(costs):
        lowest.add(target, cost)
    return lowest.labels


def _distances(scene: Scene, seeds: NDArray[np.int32]) -> Iterator[NDArray[np.float32]]:
    """``float32 [h, w]`` of each target: cost of the cheapest path from its seeds."""
    return scene.picture.once(_Paths).distances(seeds)


class _Paths:
    """Cheapest paths on one picture. Those of a target do not depend on others, and are kept."""

    def __init__(self, picture: Picture) -> None:
        self._cost = _step_cost(picture.edge)
        self._kept: dict[bytes, NDArray[np.float32]] = {}  # by seeds, the last used at the end

    def distances(self, seeds: NDArray[np.int32]) -> Iterator[NDArray[np.float32]]:
        """``float32 [h, w]`` from each of seeds ``[K, P]``: computed where they are new."""
        keys = [one[one >= 0].tobytes() for one in seeds]
        known = self._kept.copy()
        for first in range(0, len(keys), TOGETHER):
            part = range(first, min(first + TOGETHER, len(keys)))
            fresh = [k for k in part if keys[k] not in known]
            found = engine.geodesic_distance(self._cost, seeds[None, fresh])[0] if fresh else ()
            computed = iter(found)
            for k in part:
                distance = known[keys[k]] if keys[k] in known else next(computed)
                if k >= len(keys) - KEPT:
                    self._keep(keys[k], distance)
                yield distance

    def _keep(self, key: bytes, distance: NDArray[np.float32]) -> None:
        kept = self._kept.pop(key, None)
        self._kept[key] = distance.copy() if kept is None else kept
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]


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
