"""Inputs for sinkhorn and the gradients of the transport family. NumPy only."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = tuple[NDArray[Any], ...]
BALANCED, RELAXED = (math.inf, math.inf), (0.5, 0.2)


def problem(
    rng: np.random.Generator, dtype: type[np.floating], images: int, targets: int, pixels: int
) -> Arrays:
    """Cost, supply and demand with equal totals; where there is room, some of all take no part."""
    cost = rng.random((images, targets, pixels))
    demand = rng.random((images, pixels)) + 0.1
    supply = rng.random((images, targets)) + 0.1
    if pixels > 7:
        demand[:, 3::7] = 0
    if targets > 2:
        supply[-1, 1] = 0  # padding
        cost[-1, 0, ::2] = math.inf  # forbidden pairs
    supply *= demand.sum(1, keepdims=True) / supply.sum(1, keepdims=True)
    return cost.astype(dtype), supply.astype(dtype), demand.astype(dtype)


def sinkhorn_cases(
    rng: np.random.Generator, dtype: type[np.floating]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    # Below and beyond a warp, a tile, a chunk of 256 pixels, and the blocks that run at once.
    for targets, pixels in ((1, 1), (2, 33), (5, 97), (3, 257)):
        for relaxations in (BALANCED, RELAXED):
            arrays = problem(rng, dtype, 2, targets, pixels)
            yield "sinkhorn", (*arrays, 0.1, 3, 0.0, *relaxations, None, "resident")
    for variant in ("resident", "streaming", "logarithmic"):
        for relaxations in (BALANCED, RELAXED):
            arrays = problem(rng, dtype, 2, 5, 1300)
            yield "sinkhorn", (*arrays, 0.1, 2, 0.0, *relaxations, None, variant)
    for variant in ("resident", "streaming"):
        cost, supply, demand = problem(rng, dtype, 1, 4, 257)
        cost[0, 2] += 12  # its mass underflows at first
        yield "sinkhorn", (cost, supply, demand, 0.1, 3, 0.0, *BALANCED, None, variant)
        cost[0, 3] = math.inf  # a target that no pixel may serve
        yield "sinkhorn", (cost, supply, demand, 0.1, 2, 0.0, *RELAXED, None, variant)
    cost, supply, demand = problem(rng, dtype, 3, 4, 97)
    demand[1] = supply[1] = 0  # an image without mass
    start = rng.random(supply.shape).astype(dtype)
    yield "sinkhorn", (cost, supply, demand, 0.1, 40, 1e-3, *BALANCED, start, "resident")
    yield "sinkhorn", (cost, supply, demand, 0.1, 0, 0.0, *RELAXED, start, "resident")
    if dtype is np.float32:  # more targets than threads
        yield (
            "sinkhorn",
            (*problem(rng, dtype, 1, 530, 40), 0.1, 1, 0.0, *BALANCED, None, "resident"),
        )
        for variant in ("resident", "streaming"):  # the blocks divide the sums over chunks
            arrays = problem(rng, dtype, 1, 41, 600)
            yield "sinkhorn", (*arrays, 0.1, 2, 0.0, *BALANCED, None, variant)


def newton_cases(
    rng: np.random.Generator, dtype: type[np.floating]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for targets, pixels in ((1, 1), (3, 33), (5, 600), (35, 97)):
        arrays = problem(rng, dtype, 2, targets, pixels)
        yield "sinkhorn_newton", (*arrays, 0.1, 20, 1e-6, None)
    cost, supply, demand = problem(rng, dtype, 3, 4, 97)
    demand[1] = supply[1] = 0  # an image without mass
    yield "sinkhorn_newton", (cost, supply, demand, 0.05, 3, 0.0, None)  # ends on its way
    start = (0.1 * rng.random(supply.shape)).astype(dtype)  # near the solution, or not
    yield "sinkhorn_newton", (cost, supply, demand, 1.0, 20, 1e-6, start)
    yield "sinkhorn_newton", (cost, supply, demand, 0.01, 30, 1e-6, start)
    # More targets than one block solves alone.
    yield "sinkhorn_newton", (*problem(rng, dtype, 1, 100, 70), 0.05, 2, 0.0, None)


def gradient_cases(
    rng: np.random.Generator, dtype: type[np.floating]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for targets, pixels in ((1, 1), (3, 33), (5, 257), (35, 600)):
        cost, supply, demand = problem(rng, dtype, 2, targets, pixels)
        potential = rng.random((2, targets)).astype(dtype)
        grad_potential = rng.normal(size=(2, targets)).astype(dtype)
        grad_plan = rng.normal(size=cost.shape).astype(dtype)
        if targets > 2:
            potential[-1, 1] = -math.inf
            grad_potential[-1, 1] = math.nan  # ignored
            cost[0, :, pixels // 2] = math.inf
        if targets == 5:  # two problems that do not touch
            cost[0, :2, ::2] = cost[0, 2:, 1::2] = math.inf
        for relaxations in (BALANCED, RELAXED):
            arrays = grad_potential, cost, supply, demand, potential
            yield "sinkhorn_backward", (*arrays, 0.1, *relaxations)
            yield (
                "transport_plan_backward",
                (grad_plan, cost, potential, demand, 0.1, relaxations[1]),
            )
    # More targets than one block solves alone.
    cost, supply, demand = problem(rng, dtype, 1, 100, 200)
    grad_potential, potential = rng.normal(size=(1, 100)), rng.random((1, 100))
    arrays = grad_potential.astype(dtype), cost, supply, demand, potential.astype(dtype)
    yield "sinkhorn_backward", (*arrays, 0.1, *BALANCED)
