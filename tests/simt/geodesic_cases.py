"""Inputs for the geodesic kernels at sizes around tiles and warps. NumPy only."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Case = tuple[str, tuple[Any, ...]]  # operator, arguments

# One pixel, a row, a column, a full tile, one more each way, many tiles and several warps.
MAPS = ((1, 1), (1, 33), (31, 1), (6, 30), (7, 31), (19, 65))
OFFSETS = ((1, 0), (0, 1), (1, 1), (1, -1), (-1, 0), (0, -1), (-1, -1), (-1, 1))


def costs(rng: np.random.Generator, shape: tuple[int, ...]) -> Iterator[NDArray[np.float64]]:
    """Paths that wander, paths of equal length, and cycles of no length among walls."""
    yield rng.random(shape)
    yield rng.integers(1, 4, shape).astype(np.float64)
    cost = np.where(rng.random(shape) < 0.6, 0, rng.random(shape))
    yield np.where(rng.random(shape) < 0.35, np.inf, cost)


def distances(edge_cost: NDArray[Any], seeds: NDArray[np.int32]) -> NDArray[Any]:
    """Lowers all pixels by all steps until nothing changes; in the dtype of the costs."""
    images, _, height, width = edge_cost.shape
    distance = np.full((images, seeds.shape[1], height, width), np.inf, edge_cost.dtype)
    for image, target, point in np.argwhere(seeds >= 0):
        distance[image, target].flat[seeds[image, target, point]] = 0
    before = None
    while before is None or not np.array_equal(before, distance):
        before = distance.copy()
        for d, (dy, dx) in enumerate(OFFSETS):
            here = slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx))
            there = slice(max(0, dy), height - max(0, -dy)), slice(max(0, dx), width - max(0, -dx))
            through = distance[:, :, *here] + edge_cost[:, None, d, *here]
            distance[:, :, *there] = np.minimum(distance[:, :, *there], through)
    return distance


def cases(rng: np.random.Generator, dtype: type[np.floating]) -> Iterator[Case]:
    for height, width in MAPS:
        for edge_cost in costs(rng, (2, 8, height, width)):
            edge_cost = edge_cost.astype(dtype)
            seeds = rng.integers(-1, height * width, (2, 3, 2)).astype(np.int32)
            seeds[1, 2] = -1  # a target without seeds
            yield "geodesic_distance", (edge_cost, seeds)
            distance = distances(edge_cost, seeds)
            grad = rng.normal(size=distance.shape).astype(dtype)
            yield "geodesic_distance_backward", (grad, edge_cost, distance, seeds)
