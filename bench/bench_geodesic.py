"""geodesic_distance beside scipy.sparse.csgraph.dijkstra, one thread, CPU time.

    python bench/bench_geodesic.py

SciPy computes in float64 on a sparse matrix whose assembly is not counted; one of every five
targets is given to it and its time scaled, since its cost does not depend on the other targets.
"""

import os
import statistics
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from skimage import data, transform

from point2mask import ops
from point2mask.ops.reference._grid import OFFSETS

TARGETS, REPEATS = 20, 5


def image(name, size):
    if name == "noise":
        return np.random.default_rng(0).random((size, size, 3)).astype(np.float32)
    return transform.resize(getattr(data, name)(), (size, size), anti_aliasing=True, order=1)


def edge_costs(colors):
    """A tenth of the step's length plus nine tenths of the L1 difference of the colours."""
    feature = torch.from_numpy(colors.astype(np.float32)).permute(2, 0, 1)[None].contiguous()
    length = torch.tensor([np.hypot(*offset) for offset in OFFSETS], dtype=torch.float32)
    return 0.1 * length[:, None, None] + 0.9 * ops.neighbor_difference(feature)


def sparse(edge_cost):
    height, width = edge_cost.shape[2:]
    index = np.arange(height * width).reshape(height, width)
    y, x = np.mgrid[:height, :width]
    origin, end, cost = [], [], []
    for d, (dy, dx) in enumerate(OFFSETS):
        inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        origin.append(index[inside])
        end.append(index[inside] + dy * width + dx)
        cost.append(edge_cost[0, d].numpy()[inside].astype(np.float64))
    edges = np.concatenate(cost), (np.concatenate(origin), np.concatenate(end))
    return csr_array(edges, shape=(height * width,) * 2)


def compare(name, size):
    edge_cost = edge_costs(image(name, size))
    pixels = size * size
    seeds = np.random.default_rng(1).choice(pixels, TARGETS, replace=False).astype(np.int32)
    graph, some = sparse(edge_cost), seeds[::5]
    tensor = torch.from_numpy(seeds)[None, :, None]
    distance = ops.geodesic_distance(edge_cost, tensor)
    exact = dijkstra(graph, indices=some).reshape(-1, size, size)
    worst = float((np.abs(distance[0, ::5].numpy() - exact) / np.maximum(exact, 1e-6)).max())
    backward = torch.ops.point2mask.geodesic_distance_backward.default
    runs = {
        "float32": (TARGETS, lambda: ops.geodesic_distance(edge_cost, tensor)),
        "float64": (TARGETS, lambda: ops.geodesic_distance(edge_cost.double(), tensor)),
        "backward": (TARGETS, lambda: backward(distance, edge_cost, distance, tensor)),
        "scipy": (len(some), lambda: dijkstra(graph, indices=some)),
    }
    times = {key: [] for key in runs}
    for _ in range(REPEATS):
        for key, (targets, run) in runs.items():
            start = time.process_time()
            run()
            times[key].append((time.process_time() - start) / pixels / targets * 1e9)
    median = {key: statistics.median(values) for key, values in times.items()}
    ratio = median["scipy"] / median["float32"]
    columns = "".join(f"{median[key]:10.1f}" for key in runs)
    print(f"{name:10}{size:5}{columns}{ratio:9.1f}x{worst:12.1e}", flush=True)


def main():
    torch.set_num_threads(1)
    print(f"ns per pixel and target, {TARGETS} targets, median CPU time of {REPEATS}")
    print(
        f"{'image':10}{'size':>5}{'float32':>10}{'float64':>10}{'backward':>10}{'scipy':>10}"
        f"{'ratio':>10}{'error':>12}"
    )
    for size in (128, 256, 512):
        compare("astronaut", size)
    compare("coffee", 256)
    compare("noise", 256)


if __name__ == "__main__":
    main()
