"""Ways to give every foreground pixel to a target: one function each, chosen by name."""

from collections.abc import Callable

import torch
from torch import Tensor

from point2mask import ops
from point2mask.pseudo_masks.options import Assigner, TransportOptions
from point2mask.pseudo_masks.problem import Problem
from point2mask.pseudo_masks.supplies import label_areas, supplies


def assign_nearest(problem: Problem, options: TransportOptions) -> Tensor:
    """The target of least cost.

    What the published first phase amounts to: there supplies are the nearest targets' own counts,
    so the nearest assignment is feasible and optimal, and transport changes next to nothing.
    """
    return problem.cheapest(problem.cost)


def assign_first_phase(problem: Problem, options: TransportOptions) -> Tensor:
    """The published first phase to the letter: a transport of all pixels, stuff too, whose supplies
    are the counts of the nearest targets. It moves pixels whose two best costs are nearly equal.
    """
    cost = problem.cost.flatten(2)
    pixels = problem.is_image & problem.is_target.any(1)[:, None, None]  # else nobody has them
    supply = label_areas(problem, problem.nearest(problem.cost, pixels))
    demand = pixels.flatten(1).to(cost.dtype)
    solution = ops.sinkhorn(cost, supply, demand, options.epsilon, options.iterations)
    labels = ops.transport_labels(cost, solution.potential, problem.demand)
    return labels.view(problem.foreground.shape)


def assign_shortest_path(problem: Problem, options: TransportOptions) -> Tensor:
    """PSPS: closeness times class likelihood, the largest wins (Fan et al., ECCV 2022)."""
    return problem.most_likely(problem.distance)


def assign_transport(problem: Problem, options: TransportOptions) -> Tensor:
    """Point2Mask: the plan of an entropic optimal transport between targets and pixels."""
    supply = supplies(problem, options.supplies)
    cost = problem.cost.flatten(2)
    demand = problem.demand
    solution = ops.sinkhorn(
        cost,
        supply,
        demand,
        options.epsilon,
        options.iterations,
        options.tolerance,
        options.supply_relaxation,
        options.demand_relaxation,
    )
    return ops.transport_labels(cost, solution.potential, demand).view(problem.foreground.shape)


def assign_learned(problem: Problem, options: TransportOptions) -> Tensor:
    """The target that the click branch finds likeliest."""
    assert problem.partition is not None  # pseudo_masks() sees to it
    return problem.cheapest(-problem.partition)


MAP_ASSIGNERS: dict[Assigner, Callable[[Problem, TransportOptions], Tensor]] = {
    "transport": assign_transport,
    "shortest_path": assign_shortest_path,
    "nearest": assign_nearest,
    "first_phase": assign_first_phase,
    "learned": assign_learned,
}


def assign(problem: Problem, assigner: Assigner, options: TransportOptions) -> Tensor:
    """Int32 labels ``[B, H, W]`` by the assigner of that name, -1 outside the foreground."""
    with torch.no_grad():
        return MAP_ASSIGNERS[assigner](problem, options)
