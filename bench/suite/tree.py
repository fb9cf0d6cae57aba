"""Spanning trees and the tree filter: nanoseconds a pixel (and channel)."""

from collections.abc import Iterator

import numpy as np
import torch
from published import LevelFilter
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from torch import Tensor

from point2mask import ops
from suite import native
from suite.harness import OURS, Case, Run
from suite.inputs import NOISE, PHOTOGRAPHS, edge_weights, picture
from suite.peers import installed, load

# What four passes of rows move at least: to rows, up, down, back.
STREAMS = "four copies"
filter_backward = torch.ops.point2mask.tree_filter_backward.default


def cases(quick: bool) -> Iterator[Case]:
    for size in (128,) if quick else (128, 256, 512, 1024):
        for connectivity in (4,) if quick else (4, 8):
            for name in (PHOTOGRAPHS[0],) if quick else (*PHOTOGRAPHS, NOISE):
                yield spanning_tree(size, connectivity, name)
    if not quick:
        yield spanning_tree(2048, 4, PHOTOGRAPHS[0], alone=True)
    for size in (128,) if quick else (128, 256, 512):
        for channels in (1, 20) if quick else (1, 20, 150):
            yield tree_filter(size, channels)
    for size in () if quick else (1024, 2048):
        yield tree_filter(size, 20, alone=True)


def grid_ends(directions: int, height: int, width: int) -> Iterator[tuple[tuple, tuple]]:
    """The slices of both ends of every undirected edge, a direction at a time."""
    for dy, dx in ops.GRID_OFFSETS[:directions]:
        here = (slice(0, height - dy), slice(max(0, -dx), width - max(0, dx)))
        yield here, (slice(dy, height), slice(max(0, dx), width + min(0, dx)))


def edge_list(edge_weight: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both ends and the weights of the edges of image 0."""
    _, directions, height, width = edge_weight.shape
    pixel = np.arange(height * width).reshape(height, width)
    starts, ends, weights = [], [], []
    for d, (here, there) in enumerate(grid_ends(directions, height, width)):
        starts.append(pixel[here].ravel())
        ends.append(pixel[there].ravel())
        weights.append(edge_weight[0, d].numpy()[here].ravel())
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(weights)


def spanning_tree(size: int, connectivity: int, name: str, alone: bool = False) -> Case:
    edge_weight = edge_weights(picture(name, size)[None], connectivity)
    runs = {OURS: Run(lambda: ops.spanning_tree(edge_weight))}
    check = None
    if not alone:
        a, b, weights = edge_list(edge_weight)
        # SciPy drops zeros, so its weights are shifted.
        shifted = weights.astype(np.float64) + 1
        graph = csr_array((shifted, (a, b)), (size**2,) * 2)
        # The set of edges alone; the second also has what the operator gives: an order from a root.
        runs["SciPy"] = Run(lambda: minimum_spanning_tree(graph))
        runs["SciPy, rooted"] = Run(
            lambda: breadth_first_order(minimum_spanning_tree(graph), 0, directed=False)
        )
        if installed("higra"):
            higra = load("higra")
            other = higra.UndirectedGraph(size**2)
            other.add_edges(a, b)
            runs["higra"] = Run(lambda: higra.bpt_canonical(other, weights))

        def check() -> None:
            mine = ops.spanning_tree(edge_weight).weight[0].double().sum()
            theirs = minimum_spanning_tree(graph).sum() - (size**2 - 1)
            torch.testing.assert_close(float(mine), float(theirs), rtol=1e-6, atol=1e-6)

    return Case(
        "spanning_tree",
        {"pixels": size**2, "neighbours": connectivity, "image": name},
        float(size**2),
        "pixel",
        runs,
        check,
    )


def tree_filter(size: int, channels: int, alone: bool = False) -> Case:
    pixels = size**2
    order, parent, _, weight = ops.spanning_tree(edge_weights(picture(PHOTOGRAPHS[0], size)[None]))
    tree = order, parent, torch.exp(-weight / 0.02)
    feature = torch.rand(1, channels, pixels)
    output = ops.tree_filter(feature, *tree)
    scratch = torch.zeros_like(output)
    first = feature[0], order[0], parent[0], tree[2][0]
    runs = {
        OURS: Run(lambda: ops.tree_filter(feature, *tree)),
        "gradient by feature": Run(
            lambda: filter_backward(feature, None, None, *tree, True),
        ),
        "both gradients": Run(lambda: filter_backward(feature, feature, output, *tree, True)),
        "read of 8 bytes": Run(lambda: native.read(feature, output)),
        STREAMS: Run(lambda: native.copies(feature, scratch, 4)),
    }
    check = None
    if not alone:
        levels = LevelFilter(order[0], parent[0], tree[2][0])
        runs["published"] = Run(lambda: levels(feature[0]))
        runs["scalar loop"] = Run(lambda: native.scalar_tree_filter(*first))

        def check() -> None:
            for other in (levels(feature[0]), native.scalar_tree_filter(*first)):
                torch.testing.assert_close(other, output[0], rtol=0, atol=1e-4)

    return Case(
        "tree_filter",
        {"pixels": pixels, "channels": channels},
        float(pixels * channels),
        "pixel and channel",
        runs,
        check,
    )
