"""The watershed from markers, written to be read."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEIGHBOURS = ((-1, 0), (0, -1), (0, 1), (1, 0))

Item = tuple[float, int, int, int]  # level, time of entry, y, x


def watershed(edge: ArrayLike, markers: ArrayLike) -> NDArray[np.int32]:
    """Labels ``[H, W]`` of the markers ``[H, W]`` (-1: none) that pixels are flooded from.

    The pixel of lowest level is taken next, the earliest of equals, and its free neighbours enter
    at their own edge, or at its level if that is higher. Markers are all there at the start: which
    of those at one level is taken first is how the heap happens to hold them.
    """
    edge = np.asarray(edge, np.float64)
    labels = np.array(markers, np.int32)
    heap: list[Item] = []
    for y, x in np.argwhere(labels >= 0).tolist():
        _push(heap, (float(edge[y, x]), 0, y, x))
    time = 0
    while heap:
        level, _, y, x = _pop(heap)
        for below, beside in NEIGHBOURS:
            v, u = y + below, x + beside
            inside = 0 <= v < edge.shape[0] and 0 <= u < edge.shape[1]
            if inside and labels[v, u] < 0:
                time += 1
                labels[v, u] = labels[y, x]
                _push(heap, (max(float(edge[v, u]), level), time, v, u))
    return labels


def _push(heap: list[Item], item: Item) -> None:
    heap.append(item)
    child = len(heap) - 1
    while child and heap[child][:2] < heap[(child - 1) // 2][:2]:
        parent = (child - 1) // 2
        heap[child], heap[parent] = heap[parent], heap[child]
        child = parent


def _pop(heap: list[Item]) -> Item:
    heap[0], heap[-1] = heap[-1], heap[0]
    first = heap.pop()
    parent = 0
    while True:
        family = [n for n in (parent, 2 * parent + 1, 2 * parent + 2) if n < len(heap)]
        smallest = min(family, key=lambda n: heap[n][:2], default=parent)
        if smallest == parent:
            return first
        heap[parent], heap[smallest] = heap[smallest], heap[parent]
        parent = smallest
