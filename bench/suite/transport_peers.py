"""Sinkhorn iterations of other libraries, all from zero potentials: the potentials ``[B, K]``.

The costs are ``[B, K, N]`` planes, the layout in which torch's logsumexp is fastest.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from published import sinkhorn as published_sinkhorn
from torch import Tensor

from suite.peers import installed, load

Call = Callable[[], Any]


def step(
    u: Tensor, cost: Tensor, log_supply: Tensor, log_demand: Tensor, epsilon: float | Tensor
) -> Tensor:
    """One iteration in PyTorch."""
    v = epsilon * (log_demand - ((u[:, :, None] - cost) / epsilon).logsumexp(1))
    return epsilon * (log_supply - ((v[:, None] - cost) / epsilon).logsumexp(2))


@cache
def compiled_step() -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(step, dynamic=False)
    return compiled


def in_torch(
    one: Callable[..., Tensor],
    cost: Tensor,
    supply: Tensor,
    demand: Tensor,
    epsilon: float | Tensor,
    iterations: int,
) -> Tensor:
    u, log_supply, log_demand = torch.zeros_like(supply), supply.log(), demand.log()
    for _ in range(iterations):
        u = one(u, cost, log_supply, log_demand, epsilon)
    return u


def published(
    cost: Tensor, supply: Tensor, demand: Tensor, epsilon: float, iterations: int
) -> None:
    """Image by image, up to the plan that the published labels are read from."""
    for c, b, a in zip(cost, supply, demand, strict=True):
        published_sinkhorn(c, b, a, iterations, epsilon)


def pot(cost: Tensor, supply: Tensor, demand: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Updates rows first, which are pixels then: the same planes, seen transposed."""
    result = load("POT", "batch").solve_batch(
        cost.transpose(1, 2),
        epsilon,
        demand,
        supply,
        max_iter=iterations,
        tol=0.0,
        method="log_sinkhorn",
        grad="detach",
    )
    return epsilon * result.potentials[1]


def geomloss(
    cost: Tensor, supply: Tensor, demand: Tensor, epsilon: float, iterations: int
) -> Tensor:
    """Lowers epsilon step by step and averages the updates: another trajectory."""
    result = load("GeomLoss", "ot").solve_batch(
        cost, reg=epsilon, a=supply, b=demand, max_iter=iterations
    )
    return result.potential_a


def ott(
    cost: Tensor, supply: Tensor, demand: Tensor, epsilon: float, iterations: int
) -> Callable[[], Tensor]:
    """The jitted solver, over a batch by vmap."""
    import jax  # comes with OTT-JAX

    geometry = load("OTT-JAX", "geometry.geometry")
    problem = load("OTT-JAX", "problems.linear.linear_problem")
    solver = load("OTT-JAX", "solvers.linear.sinkhorn").Sinkhorn(
        threshold=-1.0,
        min_iterations=iterations,
        max_iterations=iterations,
        inner_iterations=iterations,
        implicit_diff=None,
    )

    def one(c: Any, b: Any, a: Any) -> Any:
        costs = geometry.Geometry(cost_matrix=c, epsilon=epsilon)
        return solver(problem.LinearProblem(costs, b, a)).f

    solve = jax.jit(jax.vmap(one))
    arguments = [jax.numpy.asarray(t.numpy()) for t in (cost, supply, demand)]
    return lambda: torch.from_numpy(np.array(solve(*arguments).block_until_ready()))


def peers(
    cost: Tensor,
    supply: Tensor,
    demand: Tensor,
    epsilon: float,
    iterations: int,
    compiled: bool,
) -> dict[str, Call]:
    """The calls of those that are installed, by name."""
    arguments = cost, supply, demand, epsilon, iterations
    calls: dict[str, Call] = {
        "published": partial(published, *arguments),
        "PyTorch": partial(in_torch, step, *arguments),
    }
    if compiled:
        # A number would be compiled in; a tensor is not.
        parameters = cost, supply, demand, torch.tensor(epsilon), iterations
        calls["torch.compile"] = lambda: in_torch(compiled_step(), *parameters)
    if installed("POT"):
        calls["POT"] = partial(pot, *arguments)
    if installed("GeomLoss"):
        calls["GeomLoss"] = partial(geomloss, *arguments)
    if installed("OTT-JAX"):
        calls["OTT-JAX"] = ott(*arguments)
    return calls
