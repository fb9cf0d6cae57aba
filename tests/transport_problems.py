"""Problems of entropic transport, and how far rounding may take their solutions."""

import math

import numpy as np
from hypothesis import strategies as st

DTYPES = (np.float32, np.float64)
INF = math.inf
# (supply_relaxation, demand_relaxation)
RELAXATIONS = [(INF, INF), (1.0, INF), (INF, 0.1), (0.05, 0.05), (10.0, 1.0)]


def problem(seed, images, targets, pixels, dtype, largest_cost=1.0):
    """Random costs and positive masses of equal totals."""
    rng = np.random.default_rng(seed)
    cost = rng.random((images, targets, pixels)) * largest_cost
    demand = rng.random((images, pixels)) + 0.1
    supply = rng.random((images, targets)) + 0.1
    supply *= demand.sum(1, keepdims=True) / supply.sum(1, keepdims=True)
    return cost.astype(dtype), supply.astype(dtype), demand.astype(dtype)


def accumulated_rounding(cost, potential, epsilon, iterations, dtype):
    """Bound on the rounding of a trajectory, in units of the potential.

    An iteration does not expand errors of u in the maximum norm and adds at most twice what it
    rounds: an ulp of the largest u - c that was formed, and epsilon times the relative error of
    sums over pixels and of the exponential, 16 ulp here. The mean doubles it.
    """
    finite = [np.abs(x[np.isfinite(x)]).max(initial=0.0) for x in (cost, potential)]
    ulp = np.finfo(dtype).eps
    return 4 * (iterations + 1) * ulp * (sum(finite) + 16 * epsilon)


@st.composite
def problems(draw, dtypes=DTYPES):
    dtype = draw(st.sampled_from(dtypes))
    images, targets = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    pixels = draw(st.integers(1, 100))
    seed, largest = draw(st.integers(0, 2**31)), draw(st.sampled_from([1.0, 10.0]))
    cost, supply, demand = problem(seed, images, targets, pixels, dtype, largest)
    rng = np.random.default_rng(seed)
    if draw(st.booleans()):  # forbidden pairs; some targets and pixels may lose all of theirs
        cost[rng.random(cost.shape) < 0.3] = np.inf
    if draw(st.booleans()):  # padding
        supply[rng.random(supply.shape) < 0.3] = 0
        demand[rng.random(demand.shape) < 0.3] = 0
        total = supply.sum(1, keepdims=True)
        supply *= np.divide(demand.sum(1, keepdims=True), total, where=total > 0, out=total * 0)
        demand *= supply.any(1, keepdims=True)
        supply *= demand.any(1, keepdims=True)
    return cost, supply, demand
