"""Reference of :mod:`point2mask.ops.transport`: both potentials, in the log domain throughout."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TOTALS_TOLERANCE = 1e-4


def logsumexp(x: Array, axis: int) -> Array:
    """log sum exp, -inf where all entries are."""
    largest = x.max(axis, keepdims=True, initial=-np.inf)
    finite = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.exp(x - finite).sum(axis)) + finite.squeeze(axis))


def damping(relaxation: float, epsilon: float) -> float:
    """lambda = rho / (rho + epsilon)."""
    return 1.0 if math.isinf(relaxation) else relaxation / (relaxation + epsilon)


def check(op: str, **positive: float) -> None:
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{op}: {name} must be positive, got {value}")


def taking_part(
    cost: Array, supply: Array, demand: Array
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The targets [K] and the pixels [N] that have mass and someone to exchange it with."""
    possible = np.isfinite(cost) & (supply > 0)[:, None] & (demand > 0)
    return np.asarray(possible.any(1)), np.asarray(possible.any(0))


def sinkhorn_image(
    cost: Array,
    supply: Array,
    demand: Array,
    epsilon: float,
    max_iterations: int,
    tolerance: float,
    supply_relaxation: float,
    demand_relaxation: float,
    start: Array,
) -> tuple[Array, int, float]:
    """One image: ``cost`` [K, N]."""
    balanced = math.isinf(supply_relaxation) and math.isinf(demand_relaxation)
    potential = np.full(supply.shape, -np.inf)
    k, i = taking_part(cost, supply, demand)
    if not k.any():
        return potential, 0, 0.0
    c, log_supply, log_demand = cost[np.ix_(k, i)], np.log(supply[k]), np.log(demand[i])
    lambda_pixels = damping(demand_relaxation, epsilon)
    lambda_targets = damping(supply_relaxation, epsilon)
    if not np.isfinite(start[k]).all():
        raise ValueError("sinkhorn: initial_potential must be finite for targets that take part")
    # g is the dual of the target's marginal; the potential adds the logarithm of the supply.
    g = start[k] - epsilon * log_supply
    error, done = math.inf, 0
    while done < max_iterations:
        u = g + epsilon * log_supply
        f = -lambda_pixels * epsilon * logsumexp((u[:, None] - c) / epsilon, axis=0)
        log_mass = logsumexp((u[:, None] + f - c) / epsilon + log_demand, axis=1)
        g = -lambda_targets * epsilon * logsumexp((f - c) / epsilon + log_demand, axis=1)
        step = (g + epsilon * log_supply - u) / epsilon
        error = float(np.abs(np.exp(log_mass + step) - np.exp(log_mass)).sum() / supply.sum())
        done += 1
        if tolerance > 0 and error <= tolerance:
            break
    u = g + epsilon * log_supply
    potential[k] = u - u.mean() if balanced else u
    return potential, done, error


def solve_laplacian(weights: Array, right: Array) -> Array:
    """The potentials of a graph's vertices for given flows, the first potential being 0.

    Elimination without subtraction: conductances keep their relative precision however small they
    are, so vertices that hardly anything connects get their potentials too. Vertices that nothing
    connects with those before them get 0.

    Args:
        weights: conductances ``[K, K]``, symmetric; the diagonal plays no part.
        right: flows ``[K]``, of sum 0.
    """
    w, r = weights.copy(), right.copy()
    total = np.zeros(len(r))
    for n in range(len(r) - 1, 0, -1):
        total[n] = w[n, :n].sum()
        if total[n] > 0:
            part = w[:n, n] / total[n]
            w[:n, :n] += np.outer(part, w[n, :n])
            r[:n] += part * r[n]
    x = np.zeros(len(r))
    for n in range(1, len(r)):
        if total[n] > 0:
            x[n] = (r[n] + w[n, :n] @ x[:n]) / total[n]
    return x


def newton_image(
    cost: Array,
    supply: Array,
    demand: Array,
    epsilon: float,
    max_iterations: int,
    tolerance: float,
) -> tuple[Array, int, float]:
    """One image by Newton's method: epsilon is halved after every step that is small enough.

    Its iterations are its own: the engine predicts along the curve of solutions and needs fewer.
    """
    potential = np.full(supply.shape, -np.inf)
    k, i = taking_part(cost, supply, demand)
    if not k.any():
        return potential, 0, 0.0
    c, a, b = cost[np.ix_(k, i)], demand[i], supply[k] * (demand[i].sum() / supply[k].sum())
    highest = np.where(np.isfinite(c), c, -np.inf).max(0)
    blur = max(epsilon, float((highest - c.min(0)).max()) / 4)
    u = blur * np.log(b / b.sum())
    error, done = math.inf, 0
    while done < max_iterations:
        done += 1
        scores = (u[:, None] - c) / blur
        share = np.exp(scores - logsumexp(scores, axis=0))
        mass = share @ a
        if blur == epsilon:
            error = float(np.abs(mass - b).sum() / b.sum())
            if done == max_iterations or (tolerance > 0 and error <= tolerance):
                break
        # Newton's step on log mass = log b: near the solution that on mass = b, tame far away.
        change = np.log(b / mass)
        change -= mass @ change / mass.sum()
        # The derivative of the masses is the Laplacian of a graph: what targets share of pixels.
        step = solve_laplacian((share * a) @ share.T, mass * change)
        step -= step.mean()
        size = np.ptp(step)
        u = u + blur * step * (1 if size < 1 else math.log1p(size) / size)
        if size < 1:
            blur = max(epsilon, blur / 2)
    potential[k] = u - u.mean()
    return potential, done, error


def sinkhorn(
    cost: Array,
    supply: Array,
    demand: Array,
    epsilon: float = 1e-3,
    max_iterations: int = 80,
    tolerance: float = 0.0,
    supply_relaxation: float = math.inf,
    demand_relaxation: float = math.inf,
    initial_potential: Array | None = None,
    method: Literal["sinkhorn", "newton"] = "sinkhorn",
) -> tuple[Array, NDArray[np.int32], Array]:
    """Potentials [B, K], iterations [B] and marginal errors [B]."""
    cost, supply, demand = (np.asarray(x, np.float64) for x in (cost, supply, demand))
    start = np.zeros_like(supply)
    if initial_potential is not None:
        start = np.asarray(initial_potential, np.float64)
    check(
        "sinkhorn",
        epsilon=epsilon,
        supply_relaxation=supply_relaxation,
        demand_relaxation=demand_relaxation,
    )
    if method not in ("sinkhorn", "newton"):
        raise ValueError(f"sinkhorn: method must be 'sinkhorn' or 'newton', got {method!r}")
    if method == "newton" and not supply_relaxation == demand_relaxation == math.inf:
        raise ValueError(
            "sinkhorn: supply_relaxation and demand_relaxation must be infinite with method "
            "'newton'"
        )
    if max_iterations < 0:
        raise ValueError(f"sinkhorn: max_iterations must lie in [0, 2^31), got {max_iterations}")
    if not tolerance >= 0:
        raise ValueError(f"sinkhorn: tolerance must not be negative, got {tolerance}")
    potential = np.empty_like(supply)
    iterations = np.empty(len(cost), np.int32)
    error = np.empty(len(cost))
    for b in range(len(cost)):
        for name, mass in (("supply", supply[b]), ("demand", demand[b])):
            for value in mass[~(np.isfinite(mass) & (mass >= 0))]:
                raise ValueError(
                    f"sinkhorn: {name} must be finite and not negative, got {value} in image {b}"
                )
        for value in cost[b][~(cost[b] > -np.inf)]:
            raise ValueError(f"sinkhorn: cost must be finite or +inf, got {value} in image {b}")
        totals = supply[b].sum(), demand[b].sum()
        if math.isinf(supply_relaxation) and math.isinf(demand_relaxation) and cost[b].size:
            if abs(totals[0] - totals[1]) > TOTALS_TOLERANCE * max(totals):
                raise ValueError(
                    f"sinkhorn: supply and demand must have equal totals, "
                    f"got {totals[0]:g} and {totals[1]:g} in image {b}"
                )
        if method == "newton":
            potential[b], iterations[b], error[b] = newton_image(
                cost[b], supply[b], demand[b], epsilon, max_iterations, tolerance
            )
            continue
        potential[b], iterations[b], error[b] = sinkhorn_image(
            cost[b],
            supply[b],
            demand[b],
            epsilon,
            max_iterations,
            tolerance,
            supply_relaxation,
            demand_relaxation,
            start[b],
        )
    return potential, iterations, error


def transport_plan(
    cost: Array,
    potential: Array,
    demand: Array,
    epsilon: float,
    demand_relaxation: float = math.inf,
) -> Array:
    """P_ik = a_i exp(f_i / epsilon) exp((u_k - c_ik) / epsilon), [B, K, N]."""
    check("transport_plan", epsilon=epsilon, demand_relaxation=demand_relaxation)
    cost, potential, demand = (np.asarray(x, np.float64) for x in (cost, potential, demand))
    scores = (potential[:, :, None] - cost) / epsilon
    log_sums = logsumexp(scores, axis=1)
    f = -damping(demand_relaxation, epsilon) * np.where(np.isfinite(log_sums), log_sums, 0.0)
    return np.asarray(demand[:, None] * np.exp(scores + f[:, None]))


def transport_labels(cost: Array, potential: Array, demand: Array) -> NDArray[np.int32]:
    """argmin_k(cost - potential) [B, N], -1 without demand or finite difference."""
    difference = np.asarray(cost) - np.asarray(potential)[:, :, None]
    smallest = difference.min(1, keepdims=True, initial=np.inf)
    labels = np.full(np.shape(demand), -1, np.int32)
    for k in reversed(range(difference.shape[1])):
        labels[(difference == smallest)[:, k]] = k
    labels[~np.isfinite(smallest[:, 0]) | (np.asarray(demand) <= 0)] = -1
    return labels
