"""Region merging and histogram gradients, written to be read."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

LANES = 8  # partial sums of a chi-square distance: fixes the rounding, so that ties stay ties


def histogram_gradient(
    channels: ArrayLike, bins: int = 8, radius: int = 3, distance: int = 4
) -> NDArray[np.float64]:
    """Edge strength ``[H, W]`` of channels ``[C, H, W]`` in [0, 1], pixel by pixel.

    The square root of the largest, over four orientations, of the chi-square distances (summed over
    channels) between the histograms of two windows; centres are moved into the image.
    """
    values = np.asarray(channels, np.float64)
    count, height, width = values.shape
    diagonal = math.floor(distance / math.sqrt(2) + 0.5)
    steps = ((0, distance), (distance, 0), (diagonal, diagonal), (diagonal, -diagonal))
    share = np.maximum(0, 1 - np.abs(values[..., None] * (bins - 1) - np.arange(bins)))

    def histogram(y: int, x: int) -> NDArray[np.float64]:
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        rows = slice(max(0, y - radius), y + radius + 1)
        columns = slice(max(0, x - radius), x + radius + 1)
        mean: NDArray[np.float64] = share[:, rows, columns].mean((1, 2))  # [C, bins]
        return mean

    strength = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            for dy, dx in steps:
                p, q = histogram(y + dy, x + dx), histogram(y - dy, x - dx)
                square = float(((p - q) ** 2 / (p + q + 1e-6)).sum()) if count else 0.0
                strength[y, x] = max(strength[y, x], math.sqrt(square))
    return strength


def merge_regions(
    regions: ArrayLike,
    region_count: int,
    edge: ArrayLike,
    bins: ArrayLike,
    bin_counts: ArrayLike,
    weights: ArrayLike,
    seeds: ArrayLike,
    reach: ArrayLike,
    size_exponent: float = 0.05,
) -> NDArray[np.int32]:
    """Merges the cheapest pair of neighbours, anew after every merge, until all carry a seed.

    Nothing is kept between merges but the map of regions. See ``regions.hpp`` for the cost.
    """
    region = np.array(regions, np.int64)
    edge, bins, seeds = np.asarray(edge, np.float64), np.asarray(bins), np.asarray(seeds)
    owner = _join_seeded(region, seeds)

    def cost(a: int, b: int, strengths: list[float]) -> float:
        first, second = region == a, region == b
        n, m = float(first.sum()), float(second.sum())
        total = sum(strengths) / len(strengths)
        for feature, count, weight in zip(
            bins, np.asarray(bin_counts), np.asarray(weights, np.float64), strict=True
        ):
            p = np.bincount(feature[first], minlength=count) * (1 / n)
            q = np.bincount(feature[second], minlength=count) * (1 / m)
            total += float(weight) * 0.5 * _chi_square(p, q)
        total *= (n * m / (n + m) / region.size) ** size_exponent
        target = max(owner.get(a, -1), owner.get(b, -1))
        if target >= 0 and math.isfinite(far := float(np.asarray(reach)[target])):
            total *= _remoteness(second if a in owner else first, seeds[target], far)
        return float(total)

    while pairs := _mergeable_pairs(region, edge, owner):
        _, a, b = min((cost(*pair, strengths), *pair) for pair, strengths in pairs.items())
        region[region == b] = a
        if b in owner:
            owner[a] = owner.pop(b)
    return np.array([owner.get(int(r), -1) for r in region.flat], np.int32).reshape(region.shape)


def _join_seeded(region: NDArray[np.int64], seeds: NDArray[np.integer]) -> dict[int, int]:
    """Makes the regions of each target's seeds one, in place; returns the target of each."""
    owner: dict[int, int] = {}
    for target, pixels in enumerate(seeds):
        mine = sorted({int(region.flat[pixel]) for pixel in pixels if pixel >= 0})
        if any(owner.get(number, target) != target for number in mine):
            raise ValueError("merge_regions: seeds of two targets lie in the same region")
        for number in mine:
            region[region == number] = mine[0]
            owner[mine[0]] = target
    return owner


def _mergeable_pairs(
    region: NDArray[np.int64], edge: NDArray[np.float64], owner: dict[int, int]
) -> dict[tuple[int, int], list[float]]:
    """The edge strengths along the border of neighbours, unless both carry a seed."""
    pairs: dict[tuple[int, int], list[float]] = {}
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        mean = 0.5 * (edge[here] + edge[there])
        sides = zip(region[here].flat, region[there].flat, mean.flat, strict=True)
        for p, q, strength in sides:
            pair = int(min(p, q)), int(max(p, q))
            if p != q and not (pair[0] in owner and pair[1] in owner):
                pairs.setdefault(pair, []).append(float(strength))
    return pairs


def _remoteness(free: NDArray[np.bool_], seeds: NDArray[np.integer], far: float) -> float:
    """The factor by which a region's distance from the nearest seed makes joining it dearer."""
    y, x = np.nonzero(free)
    rows, columns = np.divmod(seeds[seeds >= 0].astype(np.int64), free.shape[1])
    dy, dx = y.sum() / len(y) - rows, x.sum() / len(x) - columns
    return 1 + float((dy * dy + dx * dx).min()) / (far * far)


def _chi_square(p: NDArray[np.floating], q: NDArray[np.floating]) -> float:
    padding = (0, -len(p) % LANES)
    p, q = np.pad(p, padding).reshape(-1, LANES), np.pad(q, padding).reshape(-1, LANES)
    lanes = np.zeros(LANES)
    for terms in (p - q) * (p - q) / (p + q + 1e-300):
        lanes += terms
    total = 0.0
    for lane in lanes:
        total += float(lane)
    return total
