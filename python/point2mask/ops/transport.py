"""Entropic optimal transport of pixels to targets.

Pixel i offers the mass ``demand`` a_i, target k asks for ``supply`` b_k, and the plan P solves

    min_P <c, P> + epsilon KL(P | a b^T) + rho1 KL(P 1 | a) + rho2 KL(P^T 1 | b)

with rho1 = ``demand_relaxation`` and rho2 = ``supply_relaxation``; infinity makes a marginal a
constraint. All of the solution lies in one number per target, its potential u (units of cost):

    P_ik = a_i exp((1 - lambda1) L_i) softmax_k((u_k - c_ik) / epsilon),
    L_i = logsumexp_k((u_k - c_ik) / epsilon),  lambda = rho / (rho + epsilon).

u includes epsilon log b_k, so a pixel's main target is ``argmin(cost - potential)``. Targets
without supply, pixels without demand, and whatever they leave without a partner of finite cost take
no part: ragged batches are padded with zero masses.

Costs may be stored in 16 bits, half the bytes of what takes the time: ``cost`` is float16 or
bfloat16, everything else float32. Each cost is read without rounding and computed with in
float32, so that results have the bits of those for ``cost.float()``. What is lost is lost when
costs are stored: float16 keeps 11 bits (an error of 2^-11 of a cost; the largest is 65504, beyond
which it is +inf and the pair forbidden), bfloat16 8 bits (2^-8). It matters as far as it is not
small beside ``epsilon``. Gradients work on a float32 copy and come out in the cost's dtype. Under
autocast costs are made float32 first, which changes no value.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from point2mask.ops._library import (
    check_rank,
    differentiable,
    register_fake,
    run_in_float32,
    takes_tensors,
)


class Transport(NamedTuple):
    """What :func:`sinkhorn` returns."""

    potential: Tensor  # [B, K], units of cost, -inf for targets that take no part
    iterations: Tensor  # int32 [B]
    marginal_error: Tensor  # [B], share of the total supply that the last iteration moved


@takes_tensors
def sinkhorn(
    cost: Tensor,
    supply: Tensor,
    demand: Tensor,
    epsilon: float = 1e-3,
    max_iterations: int = 80,
    tolerance: float = 0.0,
    supply_relaxation: float = math.inf,
    demand_relaxation: float = math.inf,
    initial_potential: Tensor | None = None,
    method: Literal["sinkhorn", "newton"] = "sinkhorn",
) -> Transport:
    """Target potentials of entropic optimal transport (Point2Mask, supplement Eq. 1-3).

    Each iteration updates the pixels' potentials, then the targets'. The defaults are the published
    ones. The trajectory is that of the log-domain iteration, at any epsilon and any costs.

    ``method="newton"`` is for both marginals fixed and a solution rather than a trajectory: Newton
    steps on the K potentials along the curve of solutions of a decreasing epsilon, from an eighth
    of the largest difference of a pixel's costs down to ``epsilon`` (predictor and corrector:
    Allgower and Georg, Numerical Continuation Methods, 1990). An iteration is one read of the cost
    and of order K^2 N + K^3 operations, in float64 inside; a dozen do where Sinkhorn's need
    hundreds. It needs a ``tolerance`` to stop at: without one it reads the cost ``max_iterations``
    times.

    Args:
        cost: float32, float64, float16 or bfloat16 ``[B, K, N]``; +inf forbids a pair. All else has
            its dtype, or float32 where costs have 16 bits.
        supply: ``[B, K]``, mass of each target.
        demand: ``[B, N]``, mass of each pixel.
        epsilon: weight of the entropy, units of cost.
        max_iterations: the number of iterations if ``tolerance`` is 0.
        tolerance: an image stops after the iteration that brings its marginal error to this.
        supply_relaxation: rho2, units of cost; infinity: targets get exactly their supply.
        demand_relaxation: rho1, units of cost; infinity: pixels give exactly their demand.
        initial_potential: ``[B, K]`` start, zeros if None; no gradient flows into it. Newton's
            method uses it where it lies near the solution at ``epsilon``.
        method: "sinkhorn", or "newton" where both relaxations are infinite.

    Returns:
        Potentials, iterations done, and marginal errors: ``sum_k |m_k (exp(du_k / epsilon) - 1)|``
        over the total supply, m the mass the targets had and du the last update; if ``supply`` is a
        constraint this is the violation before that update. It is infinite before any iteration.
        With both marginals fixed the potential is free up to a constant and has mean zero over the
        targets that take part. An image without mass: potentials -inf, 0 iterations, error 0.
        Newton's error is that of the potential returned, before it is rounded to the dtype, with
        the supply that takes part scaled to the mass that reaches it; infinite where
        ``max_iterations`` ended the path above ``epsilon``, or no path leads there, as forbidden
        pairs leave no solution.

    The gradient is that of the converged solution (implicit differentiation), whatever the number
    of iterations; zero for what takes no part. With both marginals fixed, targets that share less
    than 1e-12 of their mass with the others count as a problem of their own, with a free constant
    of its own.

    Raises:
        ValueError: wrong shape or dtype; NaN or -inf in ``cost``; a negative or non-finite mass;
            a parameter out of range; an unknown method, or Newton's with a relaxation; with both
            marginals fixed, totals of supply and demand that
            differ by more than 1e-4 of the larger (unless K or N is 0).

    Four pixels between two targets, of which the second is to get three:

    >>> cost = torch.tensor([[[0.0, 1, 2, 3], [3, 2, 1, 0]]])
    >>> solution = sinkhorn(cost, torch.tensor([[1.0, 3]]), torch.ones(1, 4), epsilon=0.1)
    >>> transport_labels(cost, solution.potential, torch.ones(1, 4))
    tensor([[0, 1, 1, 1]], dtype=torch.int32)
    """
    if method == "newton":
        if not supply_relaxation == demand_relaxation == math.inf:
            raise ValueError(
                "sinkhorn: supply_relaxation and demand_relaxation must be infinite with method "
                "'newton'"
            )
        return Transport(
            *torch.ops.point2mask.sinkhorn_newton.default(
                cost, supply, demand, epsilon, max_iterations, tolerance, initial_potential
            )
        )
    if method != "sinkhorn":
        raise ValueError(f"sinkhorn: method must be 'sinkhorn' or 'newton', got {method!r}")
    return Transport(
        *torch.ops.point2mask.sinkhorn.default(
            cost,
            supply,
            demand,
            epsilon,
            max_iterations,
            tolerance,
            supply_relaxation,
            demand_relaxation,
            initial_potential,
        )
    )


@takes_tensors
def transport_plan(
    cost: Tensor,
    potential: Tensor,
    demand: Tensor,
    epsilon: float,
    demand_relaxation: float = math.inf,
) -> Tensor:
    """The plan of a potential: mass that each pixel sends to each target.

    Args:
        cost: float32, float64, float16 or bfloat16 ``[B, K, N]``; +inf forbids a pair.
        potential: ``[B, K]`` from :func:`sinkhorn`, -inf for targets that take no part; of the
            cost's dtype, or float32 where costs have 16 bits, as all that follows.
        demand: ``[B, N]``.
        epsilon: as given to :func:`sinkhorn`.
        demand_relaxation: as given to :func:`sinkhorn`.

    Returns:
        ``[B, K, N]``, of the potential's dtype, differentiable in cost, potential and demand.
        Entries below 1e-30 (float32) of a pixel's largest are 0. Values are not checked: the
        entries of a pixel with NaN among its costs or as demand mean nothing; on the CPU some of
        them are NaN.

    Raises:
        ValueError: wrong shape or dtype, ``epsilon`` or ``demand_relaxation`` not positive, or an
            ``epsilon`` too extreme for the dtype.
    """
    plan: Tensor = torch.ops.point2mask.transport_plan.default(
        cost, potential, demand, epsilon, demand_relaxation
    )
    return plan


@takes_tensors
def transport_labels(cost: Tensor, potential: Tensor, demand: Tensor) -> Tensor:
    """The target that gets most of each pixel's mass, without forming the plan.

    Args:
        cost: float32, float64, float16 or bfloat16 ``[B, K, N]``.
        potential: ``[B, K]``, -inf for targets that take no part; of the cost's dtype, or float32
            where costs have 16 bits, as ``demand``.
        demand: ``[B, N]``.

    Returns:
        int32 ``[B, N]``, ``argmin_k(cost - potential)``, the lowest k of equals; -1 for pixels with
        zero demand or without a finite ``cost - potential``. Values are not checked: where
        ``cost - potential`` is NaN the target is never chosen. Not differentiable.

    Raises:
        ValueError: wrong shape or dtype.
    """
    labels: Tensor = torch.ops.point2mask.transport_labels.default(cost, potential, demand)
    return labels


for _name in ("sinkhorn", "sinkhorn_newton"):

    @register_fake(_name)
    def _(cost: Tensor, supply: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
        check_rank("cost", cost, "B, K, N")
        images, targets, _ = cost.shape
        return (
            supply.new_empty((images, targets)),
            supply.new_empty((images,), dtype=torch.int32),
            supply.new_empty((images,)),
        )


@register_fake("transport_plan")
def _(cost: Tensor, potential: Tensor, *others: Any) -> Tensor:
    check_rank("cost", cost, "B, K, N")
    return potential.new_empty(cost.shape)


@register_fake("transport_labels")
def _(cost: Tensor, potential: Tensor, demand: Tensor) -> Tensor:
    check_rank("cost", cost, "B, K, N")
    images, _, pixels = cost.shape
    return cost.new_empty((images, pixels), dtype=torch.int32)


def _save_sinkhorn(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    cost, supply, demand, ctx.epsilon, _, _, ctx.supply_relaxation, ctx.demand_relaxation, _ = (
        inputs
    )
    potential, iterations, marginal_error = output
    ctx.mark_non_differentiable(iterations, marginal_error)
    ctx.save_for_backward(cost, supply, demand, potential)


def _sinkhorn_backward(
    ctx: Any, grad_potential: Tensor, _iterations: Tensor, _marginal_error: Tensor
) -> tuple[Tensor | None, ...]:
    cost, supply, demand, potential = ctx.saved_tensors
    arguments = (grad_potential, cost.to(supply.dtype), supply, demand, potential)
    parameters = (ctx.epsilon, ctx.supply_relaxation, ctx.demand_relaxation)
    grad_cost, *grads = torch.ops.point2mask.sinkhorn_backward.default(*arguments, *parameters)
    return grad_cost.to(cost.dtype), *grads, None, None, None, None, None, None


def _save_newton(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *before, initial_potential = inputs
    _save_sinkhorn(ctx, (*before, math.inf, math.inf, initial_potential), output)


def _newton_backward(
    ctx: Any, grad_potential: Tensor, iterations: Tensor, marginal_error: Tensor
) -> tuple[Tensor | None, ...]:
    return _sinkhorn_backward(ctx, grad_potential, iterations, marginal_error)[:7]


def _save_plan(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    cost, potential, demand, ctx.epsilon, ctx.demand_relaxation = inputs
    ctx.save_for_backward(cost, potential, demand)


def _plan_backward(ctx: Any, grad_plan: Tensor) -> tuple[Tensor | None, ...]:
    cost, potential, demand = ctx.saved_tensors
    grad_cost, *grads = torch.ops.point2mask.transport_plan_backward.default(
        *(grad_plan, cost.to(potential.dtype), potential, demand),
        *(ctx.epsilon, ctx.demand_relaxation),
    )
    return grad_cost.to(cost.dtype), *grads, None, None


differentiable("sinkhorn", _sinkhorn_backward, _save_sinkhorn, like=(1, 2, 3))
differentiable("transport_plan", _plan_backward, _save_plan, like=(1, 2, 3))
torch.library.register_autograd(
    "point2mask::sinkhorn_newton", _newton_backward, setup_context=_save_newton
)
for _name in ("sinkhorn", "sinkhorn_newton", "transport_plan", "transport_labels"):
    run_in_float32(_name)
