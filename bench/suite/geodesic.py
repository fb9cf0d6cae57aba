"""geodesic_distance: nanoseconds a pixel and target."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from point2mask import ops
from suite import native
from suite.harness import OURS, Case, Run
from suite.inputs import NOISE, edge_costs, picture, seeds
from suite.peers import installed, load

# Every fifth target goes to the peers, whose time does not depend on the other targets.
TARGETS, EVERY = 20, 5
backward = torch.ops.point2mask.geodesic_distance_backward.default


def cases(quick: bool) -> Iterator[Case]:
    if quick:
        yield case("astronaut", 64)
        yield case(NOISE, 64)
        return
    for size in (128, 256, 512):
        for name in ("astronaut", "coffee", NOISE):
            yield case(name, size)
    for size in (1024, 2048):
        yield case("astronaut", size, alone=True)


def sparse(edge_cost: Tensor) -> csr_array:
    """SciPy's graph of one image's steps ``[8, H, W]``."""
    height, width = edge_cost.shape[1:]
    index = np.arange(height * width).reshape(height, width)
    y, x = np.mgrid[:height, :width]
    origin, end, cost = [], [], []
    for d, (dy, dx) in enumerate(ops.GRID_OFFSETS):
        inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        origin.append(index[inside])
        end.append(index[inside] + dy * width + dx)
        cost.append(edge_cost[d].numpy()[inside].astype(np.float64))
    edges = np.concatenate(cost), (np.concatenate(origin), np.concatenate(end))
    return csr_array(edges, shape=(height * width,) * 2)


def approximate_peers(image: Tensor, points: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Peers that solve a neighbouring problem: the cost of a pixel, not of a step, or a raster
    scan that is not carried to its end. No distances of theirs are compared with ours."""
    size = image.shape[1]
    gray = image.mean(0).numpy().astype(np.float64)
    node_cost = 0.1 + 9 * np.hypot(*np.gradient(gray))
    starts = [divmod(int(p), size) for p in points]
    calls: dict[str, Callable[[], Any]] = {}
    if installed("dijkstra3d"):
        field = load("dijkstra3d").distance_field
        narrow = node_cost.astype(np.float32)
        calls["dijkstra3d"] = lambda: [field(narrow, start) for start in starts]
    if installed("scikit-image"):
        paths = load("scikit-image", "graph").MCP_Geometric(node_cost)
        calls["scikit-image"] = lambda: [paths.find_costs([start]) for start in starts]
    if installed("FastGeodis"):
        scan = load("FastGeodis").generalised_geodesic2d
        masks = torch.ones(len(points), 1, 1, size, size)
        for mask, (y, x) in zip(masks, starts, strict=True):
            mask[0, 0, y, x] = 0
        calls["FastGeodis"] = lambda: [scan(image[None], mask, 1e10, 0.9, 2) for mask in masks]
    return calls


def case(name: str, size: int, alone: bool = False) -> Case:
    image = picture(name, size)
    edge_cost = edge_costs(image[None])
    points = seeds(1, size**2, TARGETS)
    distance = ops.geodesic_distance(edge_cost, points)
    some = points[0, ::EVERY, 0].contiguous()
    share = len(some) / TARGETS
    wide = edge_cost.double()
    runs = {
        OURS: Run(partial(ops.geodesic_distance, edge_cost, points)),
        "float64": Run(partial(ops.geodesic_distance, wide, points)),
        "gradient": Run(lambda: backward(distance, edge_cost, distance, points)),
        "read of 4 bytes": Run(partial(native.read, distance)),
    }
    check = None
    if not alone:
        graph = sparse(edge_cost[0])
        scipy = partial(dijkstra, graph, indices=some.numpy())
        heap = partial(native.heap_paths, edge_cost[0], some)
        runs["published"] = Run(heap, share)  # Dijkstra with a heap for every seed
        runs["SciPy"] = Run(scipy, share)
        approximate = approximate_peers(image, some.numpy())
        runs |= {peer: Run(call, share) for peer, call in approximate.items()}

        def check() -> None:
            assert torch.equal(heap(), distance[0, ::EVERY]), "Dijkstra finds other distances"
            exact = torch.from_numpy(scipy()).view(-1, size, size)
            torch.testing.assert_close(distance[0, ::EVERY].double(), exact, rtol=1e-4, atol=1e-6)

    return Case(
        "geodesic_distance",
        {"pixels": size**2, "targets": TARGETS, "image": name},
        float(size**2 * TARGETS),
        "pixel and target",
        runs,
        check,
    )
