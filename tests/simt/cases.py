"""Inputs for every kernel at sizes around warps, tiles and blocks. NumPy only."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from simt import deformable_cases, geodesic_cases, pairs_cases, tree_cases
from simt import transport_cases as transport

# One lane, a warp and its neighbours, primes, more than the blocks that run at once can cover.
PIXELS = (1, 31, 32, 33, 97, 257, 1009)
MAPS = ((1, 1), (1, 33), (31, 1), (7, 32), (17, 97), (5, 263))

Case = tuple[str, tuple[Any, ...]]  # operator, arguments


def transport_cases(rng: np.random.Generator, dtype: type[np.floating]) -> Iterator[Case]:
    for pixels in PIXELS:
        for targets in (0, 1, 5):
            cost = rng.random((2, targets, pixels)).astype(dtype)
            potential = rng.random((2, targets)).astype(dtype)
            demand = rng.random((2, pixels)).astype(dtype)
            demand[:, ::7] = 0  # pixels that take no part
            if targets > 1:
                potential[0, 1] = -math.inf  # a target that takes no part
                cost[1, :, pixels // 2] = math.inf  # a pixel that no target can serve
                cost[:, 3] = cost[:, 2]  # ties
                potential[:, 3] = potential[:, 2]
            yield "transport_labels", (cost, potential, demand)
            for relaxation in (math.inf, 0.25):
                yield "transport_plan", (cost, potential, demand, 0.05, relaxation)


def difference_cases(rng: np.random.Generator, dtype: type[np.floating]) -> Iterator[Case]:
    for height, width in MAPS:
        feature = rng.normal(size=(2, 3, height, width)).astype(dtype)
        for directions, norm in ((2, "squared_l2"), (4, "l2"), (8, "l1")):
            yield "neighbor_difference", (feature, directions, norm)


def mask_cases(rng: np.random.Generator) -> Iterator[Case]:
    for height, width in MAPS:
        labels = rng.integers(-1, 6, (2, height, width)).astype(np.int32)
        yield "mask_statistics", (np.sort(labels, 2), 6)  # runs, as masks have them
        yield "mask_statistics", (labels, 6)
    yield "mask_statistics", (rng.integers(-1, 1100, (1, 9, 70)).astype(np.int32), 1100)


FAMILIES = (
    transport_cases,
    difference_cases,
    transport.sinkhorn_cases,
    transport.gradient_cases,
    geodesic_cases.cases,
    tree_cases.tree_cases,
    pairs_cases.pair_cases,
    deformable_cases.cases,
    transport.newton_cases,
)


def all_cases(seed: int = 0) -> Iterator[Case]:
    """A generator a family: a case more in one leaves those of the others as they are."""
    for size, dtype in enumerate((np.float32, np.float64)):
        for number, family in enumerate(FAMILIES):
            yield from family(np.random.default_rng((seed, size, number)), dtype)
    yield from mask_cases(np.random.default_rng(seed))
