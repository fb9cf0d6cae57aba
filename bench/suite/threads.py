"""Two threads against one, two images: wall time."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from point2mask import ops
from suite.harness import OURS, Case, Run
from suite.inputs import edge_costs, edge_weights, pictures, seeds, transport_problem

IMAGES, TARGETS, CHANNELS = 2, 20, 20
ONE = "one thread"
# Of images of next to nothing, of 8 x 8 pixels: what is between them is the start of a thread.
STARTED, NOTHING = "two threads, 8 x 8", "one thread, 8 x 8"
# What reads and writes memory and does little else gains no more than a copy of its argument does.
COPIED, COPIED_ALONE = "two threads, a copy", "one thread, a copy"


def cases(quick: bool) -> Iterator[Case]:
    side = 128 if quick else 512
    nothing = calls(8)["mask_statistics"]
    cost = torch.rand(IMAGES, TARGETS, side**2)
    for operator, call in calls(side).items():
        runs = {OURS: Run(call, threads=2), ONE: Run(call)}
        if operator == "mask_statistics":
            runs |= {STARTED: Run(nothing, threads=2), NOTHING: Run(nothing)}
        if operator == "transport_plan":
            runs |= {COPIED: Run(cost.clone, threads=2), COPIED_ALONE: Run(cost.clone)}
        yield Case(
            f"threads: {operator}",
            {"images": IMAGES, "pixels": side**2},
            float(IMAGES * side**2),
            "pixel",
            runs,
        )


def calls(side: int) -> dict[str, Callable[[], Any]]:
    """Every operator of the engine on two images; the pair losses at a quarter of the side."""
    pixels, low = side**2, side // 4
    images = pictures(IMAGES, side)
    weights, costs = edge_weights(images), edge_costs(images)
    points = seeds(IMAGES, pixels, TARGETS)
    order, parent, _, weight = ops.spanning_tree(weights)
    similarity, feature = torch.exp(-weight / 0.02), torch.rand(IMAGES, CHANNELS, pixels)
    cost, supply, demand = transport_problem(IMAGES, pixels, TARGETS, "random")
    potential = ops.sinkhorn(cost, supply, demand, 0.1, 20).potential
    logits, lab = torch.rand(IMAGES, CHANNELS, low, low), 40 * torch.rand(IMAGES, 3, low, low)
    boundary = torch.rand(IMAGES, side, side)
    labels = torch.arange(pixels).view(1, side, side).repeat(IMAGES, 1, 1).int() // (side * 32)
    cells = (side // 8) ** 2
    value = torch.rand(IMAGES, cells, 8, 32)
    where = torch.rand(IMAGES, cells, 8, 1, 4, 2)
    attention, shapes = torch.rand(IMAGES, cells, 8, 1, 4), torch.tensor([[side // 8] * 2])
    return {
        "sinkhorn": lambda: ops.sinkhorn(cost, supply, demand, 0.1),
        "sinkhorn_newton": lambda: ops.sinkhorn(cost, supply, demand, 0.1, 5, method="newton"),
        "transport_plan": lambda: ops.transport_plan(cost, potential, demand, 0.1),
        "transport_labels": lambda: ops.transport_labels(cost, potential, demand),
        "spanning_tree": lambda: ops.spanning_tree(weights),
        "tree_filter": lambda: ops.tree_filter(feature, order, parent, similarity),
        "geodesic_distance": lambda: ops.geodesic_distance(costs, points),
        "neighbor_difference": lambda: ops.neighbor_difference(feature.view(2, -1, side, side)),
        "lab_affinity_loss": lambda: ops.lab_affinity_loss(logits, lab, 5, 2),
        "boundary_loss": lambda: ops.boundary_loss(boundary, labels, labels),
        "mask_statistics": lambda: ops.mask_statistics(labels, side),
        "deformable_attention": lambda: ops.deformable_attention(value, where, attention, shapes),
    }
