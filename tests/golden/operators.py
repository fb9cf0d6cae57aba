"""What every operator returns, and its gradients, on a few inputs."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from golden.inputs import digest, integers, smooth, unit

from point2mask import engine, ops

DTYPES = {"float32": torch.float32, "float64": torch.float64}
Case = Callable[[torch.dtype], list[torch.Tensor]]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    CASES[function.__name__] = function
    return function


def digests() -> dict[str, str]:
    """Of every case and dtype, and of the functions for NumPy arrays alone."""
    found = {
        f"{name} {dtype}": digest(run(DTYPES[dtype]))
        for name, run in CASES.items()
        for dtype in DTYPES
    }
    return found | {
        "histogram_gradient": _histogram_gradient(),
        "merge_regions": _merge_regions(),
        "watershed": _watershed(),
    }


def with_gradients(
    outputs: Sequence[torch.Tensor] | torch.Tensor, inputs: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """The outputs and the gradients of the inputs, for made gradients of the outputs."""
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    smooth_outputs = [output for output in outputs if output.requires_grad]
    weights = [
        unit(90 + i, *output.shape, dtype=output.dtype) - 0.25
        for i, output in enumerate(smooth_outputs)
    ]
    return [*outputs, *torch.autograd.grad(smooth_outputs, inputs, weights)]


def leaf(value: torch.Tensor) -> torch.Tensor:
    return value.clone().requires_grad_()


@case
def neighbor_difference(dtype: torch.dtype) -> list[torch.Tensor]:
    found = []
    for norm in ("l1", "l2", "squared_l2"):
        feature = leaf(smooth(1, 2, 5, 13, 37, dtype=dtype))
        for directions in (2, 4, 8):
            found += with_gradients(ops.neighbor_difference(feature, directions, norm), [feature])
    return found


@case
def lab_affinity_loss(dtype: torch.dtype) -> list[torch.Tensor]:
    lab = 60 * smooth(3, 2, 3, 21, 35, dtype=dtype)
    valid = unit(4, 2, 21, 35) > 0.125
    mild = leaf(8 * unit(2, 2, 6, 21, 35, dtype=dtype) - 4)
    found = with_gradients(ops.lab_affinity_loss(mild, lab), [mild])
    # Extreme logits go through the C library's functions, whose last bit of a double depends on
    # the processor.
    extreme = leaf(40 * unit(2, 2, 6, 21, 35, dtype=dtype) - 20)
    loss = ops.lab_affinity_loss(extreme, lab, 5, 1, 3.0, 0.2, valid)
    return found + [value.float() for value in with_gradients(loss, [extreme])]


@case
def boundary_loss(dtype: torch.dtype) -> list[torch.Tensor]:
    boundary = leaf(unit(5, 2, 19, 33, dtype=dtype))
    instance = (smooth(6, 2, 19, 33) * 5).int() - 1
    semantic = (smooth(7, 2, 19, 33) * 4).int() - 1
    found = with_gradients(ops.boundary_loss(boundary, instance, semantic), [boundary])
    return found + with_gradients(ops.boundary_loss(boundary, instance, semantic, 5, 2), [boundary])


@case
def mask_statistics(dtype: torch.dtype) -> list[torch.Tensor]:
    return list(ops.mask_statistics((smooth(8, 3, 45, 71) * 9).int() - 1, 9))


@case
def deformable_attention(dtype: torch.dtype) -> list[torch.Tensor]:
    shapes = torch.tensor([[9, 14], [5, 7]])
    value = leaf(unit(9, 2, 161, 3, 4, dtype=dtype) - 0.5)
    where = leaf(1.5 * unit(10, 2, 11, 3, 2, 4, 2, dtype=dtype) - 0.25)
    weight = leaf(unit(11, 2, 11, 3, 2, 4, dtype=dtype))
    output = ops.deformable_attention(value, where, weight, shapes)
    return with_gradients(output, [value, where, weight])


def _seeds(targets: int, pixels: int) -> torch.Tensor:
    seeds = torch.from_numpy(integers(12, 2, targets, 2, below=pixels)).int()
    seeds[:, ::2, 1] = -1
    return seeds


@case
def geodesic_distance(dtype: torch.dtype) -> list[torch.Tensor]:
    found = []
    for height, width, targets in ((23, 41, 3), (30, 64, 17)):
        cost = smooth(13, 2, 8, height, width, dtype=dtype) + unit(
            14, 2, 8, height, width, dtype=dtype
        )
        cost = leaf(torch.where(cost > 1.75, torch.inf, cost))
        seeds = _seeds(targets, height * width)
        distance = ops.geodesic_distance(cost, seeds)
        found += with_gradients(distance, [cost])
    return found


@case
def spanning_tree(dtype: torch.dtype) -> list[torch.Tensor]:
    found = []
    for directions in (2, 4):
        weight = leaf(unit(15, 2, directions, 33, 47, dtype=dtype) - 0.5)
        found += with_gradients(ops.spanning_tree(weight), [weight])
        guide = leaf(smooth(16, 2, 3, 21, 52, dtype=dtype))
        tree = ops.minimum_spanning_tree(guide, (4, 8)[directions == 4])
        found += with_gradients(tree, [guide])
    return found


def _tree(dtype: torch.dtype) -> ops.SpanningTree:
    return ops.minimum_spanning_tree(smooth(17, 2, 3, 24, 35, dtype=dtype), 8)


@case
def tree_filter(dtype: torch.dtype) -> list[torch.Tensor]:
    order, parent = _tree(dtype)[:2]
    feature = leaf(unit(18, 2, 5, 840, dtype=dtype))
    similarity = leaf(unit(19, 2, 840, dtype=dtype))
    found = []
    for normalize in (True, False):
        output = ops.tree_filter(feature, order, parent, similarity, normalize)
        found += with_gradients(output, [feature, similarity])
    return found


def _problem(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    cost = leaf(2 * unit(20, 3, 7, 300, dtype=dtype))
    supply = (unit(21, 3, 7, dtype=dtype) + 0.25) * torch.tensor([[1], [4], [0.5]], dtype=dtype)
    demand = unit(22, 3, 300, dtype=dtype) + 0.125
    supply = supply * (demand.sum(1, keepdim=True) / supply.sum(1, keepdim=True))
    return cost, leaf(supply), leaf(demand)


@case
def sinkhorn(dtype: torch.dtype) -> list[torch.Tensor]:
    cost, supply, demand = _problem(dtype)
    found = []
    for epsilon, iterations in ((1e-3, 80), (0.05, 40)):
        solved = ops.sinkhorn(cost, supply, demand, epsilon, iterations)
        # Where it has not converged the gradient is asked for all the same: of the last potential.
        found += with_gradients(solved, [cost, supply, demand])
    relaxed = ops.sinkhorn(
        cost, supply, demand, 0.05, 60, 1e-3, supply_relaxation=0.5, demand_relaxation=2.0
    )
    found += with_gradients(relaxed, [cost, supply, demand])
    start = -unit(23, 3, 7, dtype=dtype)
    return found + list(ops.sinkhorn(cost, supply, demand, 0.01, 10, initial_potential=start))


@case
def sinkhorn_newton(dtype: torch.dtype) -> list[torch.Tensor]:
    cost, supply, demand = _problem(dtype)
    solved = ops.sinkhorn(cost, supply, demand, 0.02, 50, 1e-4, method="newton")
    return with_gradients(solved, [cost, supply, demand])


@case
def transport_plan(dtype: torch.dtype) -> list[torch.Tensor]:
    cost, _, demand = _problem(dtype)
    potential = leaf(unit(24, 3, 7, dtype=dtype) - 0.5)
    found = []
    for relaxation in (float("inf"), 0.75):
        plan = ops.transport_plan(cost, potential, demand, 0.05, relaxation)
        found += with_gradients(plan, [cost, potential, demand])
    return [*found, ops.transport_labels(cost, potential, demand)]


def _watershed() -> str:
    markers = np.full((40, 57), -1, np.int32)
    markers[3::9, 4::11] = np.arange(25).reshape(5, 5)
    return digest([engine.watershed(smooth(29, 40, 57).numpy(), markers)])


def _histogram_gradient() -> str:
    return digest([engine.histogram_gradient(smooth(25, 3, 40, 57).numpy(), 8, 3, 4)])


def _merge_regions() -> str:
    """Squares of 4 pixels with edges, two kinds of histograms and three targets."""
    rows, columns = np.indices((32, 48), dtype=np.int32) // 4
    seeds = np.array([[100, -1], [790, 795], [1400, -1]], np.int32)
    bins = np.stack([(smooth(26 + f, 32, 48).numpy() * 8).astype(np.int32) for f in range(2)])
    merged = engine.merge_regions(
        rows * 12 + columns,
        96,
        smooth(28, 32, 48).numpy(),
        bins,
        np.full(2, 8, np.int32),
        np.array([1.0, 0.5]),
        seeds,
        np.array([np.inf, 20.0, 12.0]),
    )
    return digest([merged])
