"""Random grids and trees for the tests of the tree operators."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


def edge_weights(elements, dtype=np.float64, longest=6):
    """Weights [B, D, H, W] of small grids, 4- and 8-connected."""
    shape = st.tuples(
        st.integers(1, 2), st.sampled_from([2, 4]), st.integers(1, longest), st.integers(1, longest)
    )
    return hnp.arrays(dtype, shape, elements=elements)


def distinct_weights(seed, shape, dtype=np.float32):
    """A shuffled grid of distinct weights, exact in either dtype."""
    size = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(size) / 8 - 3).astype(dtype).reshape(shape)


def random_tree(seed, images, pixels):
    """order and parent [B, N] of arbitrary trees: the operators ask for no grid and no preorder."""
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(pixels, dtype=np.int32), (images, 1)), axis=1)
    parent = np.zeros((images, pixels), np.int32)
    for i in range(1, pixels):
        parent[:, i] = rng.integers(max(0, i - 4), i, images)
    return order, parent


def rerooted(order, parent, edge_value, root):
    """The same tree of one image from another root: order, parent and the edges' values."""
    pixels = len(order)
    neighbors = [[] for _ in range(pixels)]
    for i in range(1, pixels):
        neighbors[i].append((int(parent[i]), edge_value[i]))
        neighbors[parent[i]].append((i, edge_value[i]))
    visited, above, value = [root], {root: 0}, [0.0]
    for rank, old in enumerate(visited):
        for other, edge in neighbors[old]:
            if other not in above:
                above[other] = rank
                visited.append(other)
                value.append(edge)
    parents = np.array([above[old] for old in visited], np.int32)
    return order[visited], parents, np.array(value, edge_value.dtype)
