"""The published pseudo-label step, transcribed literally: one image at a time, SciPy and NumPy.

This is what the operators replace: a Dijkstra per point, a log-sum-exp Sinkhorn over the whole
plan. The tests hold ``point2mask.pseudo_masks`` to it, the benchmarks time it as the peer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

Array = NDArray[np.float64]
OFFSETS = [(1, 0), (0, 1), (1, 1), (1, -1), (-1, 0), (0, -1), (-1, -1), (-1, 1)]
STRIDE = 16
EMPTY_TARGET_COST = 10.0
# SciPy takes an explicit zero for a missing edge; this changes no path by more than 1e-9.
SMALLEST_EDGE = 1e-12


@dataclass
class Image:
    """One image's maps and thing/stuff clicks: ``targets[k] = (class, [(x, y), ...])``."""

    semantic: Array  # [C, H, W] class probabilities
    boundary: Array | None  # [h, w] logits
    feature: Array | None  # [D, h, w]
    targets: Sequence[tuple[int, Sequence[tuple[float, float]]]]


def resize(map_: Array, height: int, width: int) -> Array:
    tensor = torch.from_numpy(np.ascontiguousarray(map_))[None]
    return F.interpolate(tensor, (height, width), mode="bilinear", align_corners=False)[0].numpy()


def likelihood(image: Image) -> Array:
    """P = max(softmax * presence, T) with T = 17 x 17 squares around the clicks (b.1, b.3)."""
    presence = np.zeros(len(image.semantic))
    squares = np.zeros_like(image.semantic)
    for category, points in image.targets:
        for x, y in points:
            presence[category] = 1
            top, left = max(int(y) - 8, 0), max(int(x) - 8, 0)
            squares[category, top : int(y) + 9, left : int(x) + 9] = 1
    return np.maximum(image.semantic * presence[:, None, None], squares)


def graph(image: Image, p: Array) -> coo_matrix:
    """Directed 8-neighbour edge costs at stride 16 (b.4)."""
    rows, columns = p.shape[1] // STRIDE, p.shape[2] // STRIDE
    p = resize(p, rows, columns)
    b = None
    if image.boundary is not None:
        b = 1 / (1 + np.exp(-resize(image.boundary[None], rows, columns)[0]))
    f = None if image.feature is None else resize(image.feature, rows, columns)
    source, target, cost = [], [], []
    for y in range(rows):
        for x in range(columns):
            for dy, dx in OFFSETS:
                v, u = y + dy, x + dx
                if not (0 <= v < rows and 0 <= u < columns):
                    continue
                e = np.abs(p[:, y, x] - p[:, v, u]).sum()
                if b is not None:
                    e += 0.1 * max(b[y, x], b[v, u])
                if f is not None:
                    e += 0.1 * max(0.0, 1 - f[:, y, x] @ f[:, v, u])
                source.append(y * columns + x)
                target.append(v * columns + u)
                cost.append(max(e, SMALLEST_EDGE))
    cells = rows * columns
    return coo_matrix((cost, (source, target)), shape=(cells, cells)).tocsr()


def distances(
    edges: coo_matrix, seeds: Sequence[Sequence[tuple[float, float]]], rows: int, columns: int
) -> Array:
    """[n, h, w]: the nearest point of each instance, a Dijkstra per point."""
    result = np.full((len(seeds), rows, columns), EMPTY_TARGET_COST)
    for j, points in enumerate(seeds):
        cells = [
            min(int(y / STRIDE), rows - 1) * columns + min(int(x / STRIDE), columns - 1)
            for x, y in points
        ]
        if cells:
            result[j] = dijkstra(edges, indices=cells).min(0).reshape(rows, columns)
    return result


def sinkhorn(cost: torch.Tensor, supply: torch.Tensor, demand: torch.Tensor, iterations: int,
             epsilon: float = 1e-3) -> torch.Tensor:  # fmt: skip
    """The plan [n, N] by the published log-domain loop (b.6)."""
    u, v = torch.ones_like(supply), torch.ones_like(demand)
    log_supply, log_demand = (supply + 1e-8).log(), (demand + 1e-8).log()
    for _ in range(iterations):
        exponent = (-cost + u[:, None] + v[None]) / epsilon
        v = epsilon * (log_demand - torch.logsumexp(exponent, 0)) + v
        exponent = (-cost + u[:, None] + v[None]) / epsilon
        u = epsilon * (log_supply - torch.logsumexp(exponent, 1)) + u
    return ((-cost + u[:, None] + v[None]) / epsilon).exp()


class LevelFilter:
    """The published tree filter: all pixels of a level of the tree at a time, leaves first."""

    def __init__(self, order: torch.Tensor, parent: torch.Tensor, similarity: torch.Tensor) -> None:
        depth = np.zeros(parent.shape[0], np.int64)
        for i, p in enumerate(parent.tolist()[1:], 1):
            depth[i] = depth[p] + 1
        by_level = np.argsort(depth, kind="stable")
        place = torch.from_numpy(np.argsort(by_level)).to(parent.device)
        bounds = np.searchsorted(depth[by_level], np.arange(depth.max() + 2)).tolist()
        self.levels = [slice(*pair) for pair in pairwise(bounds[1:])]
        self.order = order.long()[by_level]
        self.parent = place[parent.long()[by_level]]
        self.similarity = similarity[by_level, None]

    def __call__(self, feature: torch.Tensor) -> torch.Tensor:
        rows = torch.cat([feature.T[self.order], feature.new_ones(feature.shape[1], 1)], 1)
        for level in reversed(self.levels):
            rows.index_add_(0, self.parent[level], rows[level] * self.similarity[level])
        for level in self.levels:
            own, s = rows[level], self.similarity[level]
            rows[level] = own + s * (rows[self.parent[level]] - s * own)
        return torch.empty_like(feature.T).index_copy_(0, self.order, rows[:, :-1] / rows[:, -1:]).T


def pseudo_masks(
    image: Image,
    is_thing: NDArray[np.bool_],
    iterations: int = 80,
    dtype: torch.dtype = torch.float64,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Instance labels (-1 = stuff) and semantic labels (-1 = not confident) of one image."""
    p = likelihood(image)
    height, width = p.shape[1:]
    rows, columns = height // STRIDE, width // STRIDE
    things = [(c, points) for c, points in image.targets if is_thing[c]]
    edges = graph(image, p)
    raw = distances(edges, [points for _, points in things], rows, columns)
    background = ~is_thing[p.argmax(0)]
    q = p[[c for c, _ in things]] + p[~is_thing].sum(0)

    def likely(d: Array) -> NDArray[np.int64]:
        label = (resize(1 - d / (d.max() + 1e-5), height, width) * q).argmax(0)
        return np.where(background, -1, label)

    first = likely(raw)
    centres = []
    for j, (_, points) in enumerate(things):
        # The points come from an image, by rows; they are known by their cells from here on.
        y, x = min((int(y), int(x)) for x, y in points)
        y, x = min(y // STRIDE, rows - 1) * STRIDE, min(x // STRIDE, columns - 1) * STRIDE
        mask = first == j
        if mask.any():
            cy, cx = (int(value.mean()) for value in np.nonzero(mask))
            if mask[cy, cx] and mask[y, x]:
                x, y = cx, cy
        centres.append([(x, y)])
    second = likely(distances(edges, centres, rows, columns))
    supply = np.array([(second == j).sum() for j in range(len(things))], float)
    cost = resize(raw, height, width).reshape(len(things), -1)
    plan = sinkhorn(
        torch.from_numpy(cost).to(dtype),
        torch.from_numpy(supply).to(dtype),
        torch.from_numpy((second >= 0).astype(float).ravel()).to(dtype),
        iterations,
    )
    label = plan.argmax(0).reshape(height, width).numpy()
    semantic = np.where(p.max(0) >= 0.5, p.argmax(0), -1)
    return np.where(background, -1, label), semantic
