"""Reference of :mod:`point2mask.ops.tree`: Kruskal and dense path products."""

import numpy as np
from numpy.typing import NDArray

from point2mask.grid import OFFSETS

Floats = NDArray[np.float64]
Indices = NDArray[np.int32]
Edge = tuple[float, int, int, int]  # weight, edge id, the two pixels: sorts by (weight, edge id)


def spanning_tree(edge_weight: Floats) -> tuple[Indices, Indices, Indices, Floats]:
    """Order, parent, edge and weight of every image's minimum spanning tree."""
    images, directions, height, width = edge_weight.shape
    if directions not in (2, 4):
        raise ValueError(
            f"spanning_tree: edge_weight must have 2 or 4 directions, got {directions}"
        )
    order, parent, edge = (np.zeros((images, height * width), np.int32) for _ in range(3))
    weight = np.zeros((images, height * width))
    for image in range(images):
        edges = grid_edges(edge_weight[image])
        if not all(np.isfinite(e[0]) for e in edges):
            raise ValueError(f"spanning_tree: edge_weight must be finite in image {image}")
        if height * width:
            rows = _preorder(_kruskal(edges, height * width), height * width)
            order[image], parent[image], edge[image], weight[image] = zip(*rows, strict=True)
    return order, parent, edge, weight


def grid_edges(edge_weight: Floats) -> list[Edge]:
    """The edges of a grid with weights ``[D, H, W]``."""
    directions, height, width = edge_weight.shape
    edges = []
    for d, y, x in np.ndindex(directions, height, width):
        to_y, to_x = y + OFFSETS[d][0], x + OFFSETS[d][1]
        if 0 <= to_y < height and 0 <= to_x < width:
            edge_id = (d * height + y) * width + x
            edges.append((float(edge_weight[d, y, x]), edge_id, y * width + x, to_y * width + to_x))
    return edges


def _kruskal(edges: list[Edge], pixels: int) -> list[Edge]:
    """Takes edges in ascending order unless both ends are connected already."""
    component = list(range(pixels))

    def find(pixel: int) -> int:
        while component[pixel] != pixel:
            pixel = component[pixel]
        return pixel

    tree = []
    for candidate in sorted(edges):
        a, b = find(candidate[2]), find(candidate[3])
        if a != b:
            component[a] = b
            tree.append(candidate)
    return tree


def _preorder(tree: list[Edge], pixels: int) -> list[tuple[int, int, int, float]]:
    """Pixel, rank of the parent, edge id and weight at every rank."""
    neighbors: list[list[tuple[int, float, int]]] = [[] for _ in range(pixels)]
    for weight, edge_id, a, b in sorted(tree, key=lambda e: e[1]):
        neighbors[a].append((edge_id, weight, b))
        neighbors[b].append((edge_id, weight, a))
    children: list[list[tuple[int, float, int]]] = [[] for _ in range(pixels)]
    visited, above = [0], {0: 0}
    for pixel in visited:
        children[pixel] = [step for step in neighbors[pixel] if step[2] not in above]
        above.update((step[2], pixel) for step in children[pixel])
        visited += [step[2] for step in children[pixel]]
    size = [1] * pixels
    for pixel in reversed(visited[1:]):
        size[above[pixel]] += size[pixel]

    rows: list[tuple[int, int, int, float]] = []
    stack = [(0, 0, -1, 0.0)]
    while stack:
        rows.append(stack.pop())
        pixel, rank = rows[-1][0], len(rows) - 1
        # max() takes the first of equals, which has the smallest edge id.
        heavy = max(children[pixel], key=lambda step: size[step[2]], default=None)
        light = [step for step in children[pixel] if step is not heavy]
        for edge_id, weight, child in reversed([heavy, *light] if heavy else []):
            stack.append((child, rank, edge_id, weight))
    return rows


def _check_tree(name: str, order: Indices, parent: Indices) -> None:
    ranks = np.arange(order.shape[1])
    if (np.sort(order, 1) != ranks).any():
        raise ValueError(f"{name}: order must hold every pixel once")
    if (parent < 0).any() or (parent > np.maximum(ranks - 1, 0)).any():
        raise ValueError(f"{name}: parent must be a rank below its child's")


def path_products(order: Indices, parent: Indices, similarity: Floats) -> Floats:
    """S ``[N, N]`` of one image, in pixel order: a rank's row is its parent's times one edge."""
    pixels = len(order)
    product = np.eye(pixels)
    for i in range(1, pixels):
        product[i, :i] = product[:i, i] = similarity[i] * product[parent[i], :i]
    by_pixel = np.empty_like(product)
    by_pixel[np.ix_(order, order)] = product
    return by_pixel


def tree_filter(
    feature: Floats, order: Indices, parent: Indices, similarity: Floats, normalize: bool = True
) -> Floats:
    """The product with the dense matrix of path products, over its row sums."""
    _check_tree("tree_filter", order, parent)
    if not ((similarity[:, 1:] >= 0) & (similarity[:, 1:] <= 1)).all():
        raise ValueError("tree_filter: similarity must lie in [0, 1]")
    output = np.zeros(feature.shape)
    for image in range(len(feature)):
        product = path_products(order[image], parent[image], similarity[image].astype(np.float64))
        output[image] = feature[image] @ product
        if normalize:
            output[image] /= product.sum(1)
    return output
