"""Speed of the tree operators on one thread: CPU time, median of interleaved repeats.

Peers: SciPy's minimum spanning tree (it gives no rooted order) and the tree filter written in
torch, one indexed addition a tree level. usage: python bench/bench_tree.py [--sizes 128 256]
"""

import argparse
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree
from skimage import data, transform
from timing import interleaved
from torch import Tensor

from point2mask import ops
from point2mask.ops.reference._grid import OFFSETS

REPEATS = 7
filter_backward = torch.ops.point2mask.tree_filter_backward.default
bottleneck_backward = torch.ops.point2mask.bottleneck_distance_backward.default


def cpu_times(peers: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median CPU seconds; the repeats of all peers alternate, so that they share the noise."""
    return {name: taken["cpu"] for name, taken in interleaved(peers, REPEATS).items()}


def edge_weights(kind: str, size: int, connectivity: int) -> Tensor:
    if kind == "random":
        return torch.rand(1, connectivity // 2, size, size)
    image = transform.resize(getattr(data, kind)(), (size, size), anti_aliasing=True, order=1)
    guide = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None].contiguous()
    return ops.neighbor_difference(guide, connectivity // 2, "squared_l2")


def as_graph(edge_weight: Tensor) -> csr_array:
    """SciPy's view of the grid; the weights are shifted because it drops zeros."""
    _, directions, height, width = edge_weight.shape
    pixel = np.arange(height * width).reshape(height, width)
    ends, weights = [], []
    for direction in range(directions):
        dy, dx = OFFSETS[direction]
        here = (slice(0, height - dy), slice(max(0, -dx), width - max(0, dx)))
        there = (slice(dy, height), slice(max(0, dx), width + min(0, dx)))
        ends.append((pixel[here].ravel(), pixel[there].ravel()))
        weights.append(edge_weight[0, direction].numpy()[here].ravel())
    a, b = np.concatenate(ends, axis=1)
    return csr_array((np.concatenate(weights).astype(np.float64) + 1, (a, b)), (pixel.size,) * 2)


def bench_spanning_tree(sizes: list[int]) -> None:
    print("spanning_tree: grid, neighbours, weights | ms | ns a pixel | SciPy's time over ours")
    for size in sizes:
        for connectivity in (4, 8):
            for kind in ("astronaut", "chelsea", "random"):
                edge_weight = edge_weights(kind, size, connectivity)
                graph = as_graph(edge_weight)
                taken = cpu_times(
                    {
                        "ours": lambda w=edge_weight: ops.spanning_tree(w),
                        "scipy": lambda g=graph: minimum_spanning_tree(g),
                    }
                )
                print(
                    f"{size:4d}^2 {connectivity} {kind:9s} | {taken['ours'] * 1e3:6.2f} | "
                    f"{taken['ours'] / size**2 * 1e9:5.1f} | {taken['scipy'] / taken['ours']:5.1f}x"
                )


class LevelFilter:
    """The tree filter in plain torch: gathers and index_add_ level by level."""

    def __init__(self, order: Tensor, parent: Tensor, similarity: Tensor) -> None:
        depth = np.zeros(parent.shape[0], np.int64)
        for i, p in enumerate(parent.tolist()[1:], 1):
            depth[i] = depth[p] + 1
        by_level = np.argsort(depth, kind="stable")
        rank = torch.from_numpy(by_level).to(parent.device)
        place = rank.argsort()
        bounds = np.searchsorted(depth[by_level], np.arange(depth.max() + 2)).tolist()
        self.levels = [slice(*pair) for pair in pairwise(bounds[1:])]
        self.order = order.long()[rank]
        self.parent = place[parent.long()[rank]]
        self.similarity = similarity[rank, None]

    def __call__(self, feature: Tensor) -> Tensor:
        rows = torch.cat([feature.T[self.order], feature.new_ones(feature.shape[1], 1)], 1)
        for level in reversed(self.levels):
            rows.index_add_(0, self.parent[level], rows[level] * self.similarity[level])
        for level in self.levels:
            own, s = rows[level], self.similarity[level]
            rows[level] = own + s * (rows[self.parent[level]] - s * own)
        return torch.empty_like(feature.T).index_copy_(0, self.order, rows[:, :-1] / rows[:, -1:]).T


def bench_tree_filter(sizes: list[int]) -> None:
    print(
        "tree_filter: grid, channels | ns a pixel and channel: forward | gradient by feature | "
        "and by similarity | torch level by level | its time over ours"
    )
    for size in sizes:
        edge_weight = edge_weights("astronaut", size, 4)
        order, parent, _, weight = ops.spanning_tree(edge_weight)
        similarity = torch.exp(-weight / 0.02)
        levels = LevelFilter(order[0], parent[0], similarity[0])
        for channels in (1, 20, 150):
            feature = torch.rand(1, channels, size * size)
            tree = (order, parent, similarity)
            output = ops.tree_filter(feature, *tree)
            torch.testing.assert_close(levels(feature[0]), output[0], rtol=0, atol=1e-4)
            taken = cpu_times(
                {
                    "forward": lambda x=feature, t=tree: ops.tree_filter(x, *t),
                    "feature": lambda x=feature, t=tree: filter_backward(x, None, None, *t, True),
                    "both": lambda x=feature, y=output, t=tree: filter_backward(x, x, y, *t, True),
                    "torch": lambda x=feature[0], f=levels: f(x),
                }
            )
            per_entry = {name: t / size**2 / channels * 1e9 for name, t in taken.items()}
            print(
                f"{size:4d}^2 {channels:4d} | {per_entry['forward']:5.2f} | "
                f"{per_entry['feature']:5.2f} | {per_entry['both']:5.2f} | "
                f"{per_entry['torch']:7.1f} | {taken['torch'] / taken['forward']:5.0f}x"
            )


def bench_bottleneck(sizes: list[int]) -> None:
    print("bottleneck_distance, 20 targets: grid | ns a pixel and target: forward | gradient")
    for size in sizes:
        order, parent, _, weight = ops.spanning_tree(edge_weights("astronaut", size, 4))
        seeds = torch.randint(0, size * size, (1, 20, 1), dtype=torch.int32)
        distance = ops.bottleneck_distance(order, parent, weight, seeds)
        problem = (order, parent, weight, seeds)
        taken = cpu_times(
            {
                "forward": lambda p=problem: ops.bottleneck_distance(*p),
                "gradient": lambda g=distance, p=problem: bottleneck_backward(g, *p),
            }
        )
        per_entry = {name: t / size**2 / 20 * 1e9 for name, t in taken.items()}
        print(f"{size:4d}^2 | {per_entry['forward']:5.2f} | {per_entry['gradient']:5.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    sizes = parser.parse_args().sizes
    torch.set_num_threads(1)
    torch.manual_seed(0)
    bench_spanning_tree(sizes)
    bench_tree_filter(sizes)
    bench_bottleneck(sizes)


if __name__ == "__main__":
    main()
