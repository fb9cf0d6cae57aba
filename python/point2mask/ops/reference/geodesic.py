"""Reference of :mod:`point2mask.ops.geodesic`, which rounds in the dtype of the edge costs.

Distances are compared bit for bit, so that float32 costs are added in float32 here too.
"""

import heapq
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from point2mask.grid import OFFSETS

Floats = NDArray[np.floating]
Pixel = tuple[int, int]


def _steps(pixel: Pixel, shape: Any) -> Iterator[tuple[int, Pixel]]:
    """Directions of the steps that stay inside the image, and where they lead."""
    for d, (dy, dx) in enumerate(OFFSETS):
        y, x = pixel[0] + dy, pixel[1] + dx
        if 0 <= y < shape[0] and 0 <= x < shape[1]:
            yield d, (y, x)


def _check(edge_cost: Floats, seeds: NDArray[np.int32]) -> None:
    height, width = edge_cost.shape[2:]
    for pixel in np.ndindex(height, width):
        for d, _ in _steps(pixel, (height, width)):
            if not np.all(edge_cost[:, d, *pixel] >= 0):
                raise ValueError("geodesic_distance: edge_cost must not be negative or NaN")
    if seeds.size and (seeds.min() < -1 or seeds.max() >= height * width):
        raise ValueError(f"geodesic_distance: seeds must lie in [-1, {height * width})")


def _dijkstra(edge_cost: Floats, sources: list[Pixel]) -> Floats:
    """Distances of one target; edge_cost is [8, H, W]."""
    distance = np.full(edge_cost.shape[1:], np.inf, edge_cost.dtype)
    for pixel in sources:
        distance[pixel] = 0
    queue: list[tuple[Any, Pixel]] = [(distance[pixel], pixel) for pixel in sources]
    heapq.heapify(queue)
    while queue:
        d_pixel, pixel = heapq.heappop(queue)
        if d_pixel > distance[pixel]:
            continue
        for d, to in _steps(pixel, distance.shape):
            with np.errstate(over="ignore"):  # to +inf: out of reach
                through = d_pixel + edge_cost[d, *pixel]  # two scalars of one dtype: rounded in it
            if through < distance[to]:
                distance[to] = through
                heapq.heappush(queue, (through, to))
    return distance


def _sources(seeds: NDArray[np.int32], width: int) -> list[Pixel]:
    return [divmod(int(seed), width) for seed in seeds if seed >= 0]


def geodesic_distance(edge_cost: Floats, seeds: NDArray[np.int32]) -> Floats:
    """Dijkstra's algorithm with a binary heap, for one target after the other."""
    _check(edge_cost, seeds)
    images, _, height, width = edge_cost.shape
    distance = np.empty((images, seeds.shape[1], height, width), edge_cost.dtype)
    for image, target in np.ndindex(images, seeds.shape[1]):
        distance[image, target] = _dijkstra(edge_cost[image], _sources(seeds[image, target], width))
    return distance


def _forest(
    edge_cost: Floats, distance: Floats, sources: list[Pixel]
) -> tuple[list[Pixel], dict[Pixel, tuple[int, Pixel]]]:
    """Pixels by level and index, and the step (direction, from) that enters each but the seeds."""
    level = sorted(set(sources))
    order: list[Pixel] = []
    entry: dict[Pixel, tuple[int, Pixel]] = {}
    reached = set(level)
    while level:
        order += level
        candidates: dict[Pixel, list[tuple[int, Pixel]]] = {}
        for pixel in level:
            for d, to in _steps(pixel, distance.shape):
                tight = distance[pixel] + edge_cost[d, *pixel] == distance[to] < np.inf
                if tight and to not in reached:
                    candidates.setdefault(to, []).append((d, pixel))
        entry |= {to: min(steps) for to, steps in candidates.items()}
        level = sorted(candidates)
        reached |= candidates.keys()
    return order, entry


def geodesic_distance_backward(
    grad_distance: Floats, edge_cost: Floats, distance: Floats, seeds: NDArray[np.int32]
) -> Floats:
    """Gradient with respect to the edge costs, summed in float64."""
    total = np.zeros(edge_cost.shape)
    for image, target in np.ndindex(distance.shape[:2]):
        order, entry = _forest(
            edge_cost[image],
            distance[image, target],
            _sources(seeds[image, target], distance.shape[3]),
        )
        flow = grad_distance[image, target].astype(np.float64)
        for pixel in reversed(order):
            if pixel in entry:
                d, origin = entry[pixel]
                flow[origin] += flow[pixel]
                total[image, d, *origin] += flow[pixel]
    return total.astype(edge_cost.dtype)
