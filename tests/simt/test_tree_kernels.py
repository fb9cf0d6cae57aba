"""The tree kernels against the CPU engine, bit by bit, and on what no valid call contains."""

import numpy as np
import pytest
from simt import build, kernels, tree_cases
from simt.expected import engine

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no host C++ compiler")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_trees_have_the_same_bits_as_on_the_cpu(dtype):
    machine = kernels.Kernels("plain")
    for _, arguments in tree_cases.spanning_cases(np.random.default_rng(1), dtype):
        got, want = machine.spanning_tree(*arguments), engine("spanning_tree", arguments)
        for a, b in zip(got, want, strict=True):
            assert (a.dtype, a.tobytes()) == (b.dtype, b.tobytes())


def test_a_star_and_a_line():
    machine = kernels.Kernels("plain")
    pixels = 200
    order = np.arange(pixels, dtype=np.int32)[None]
    similarity = np.full((1, pixels), 0.5)
    feature = np.random.default_rng(0).normal(size=(1, 1, pixels))
    for parent in (np.zeros(pixels, np.int32), np.maximum(order[0] - 1, 0)):
        tree = (order, parent[None], similarity)
        want, _ = engine("tree_filter", (feature, *tree))
        np.testing.assert_allclose(machine.tree_filter(feature, *tree), want, rtol=0, atol=1e-13)


def test_what_is_no_tree_stays_inside_the_arrays():
    """In the asan build an access outside would end the process; here it would be a wild read."""
    machine = kernels.Kernels("plain")
    order = np.array([[7, -1, 2**31 - 1, 3]], np.int32)
    parent = np.array([[3, 5, -2, 2**31 - 1]], np.int32)
    similarity = np.ones((1, 4))
    assert machine.tree_filter(np.ones((1, 2, 4)), order, parent, similarity).shape == (1, 2, 4)


def test_weights_that_are_not_finite_give_a_spanning_tree_all_the_same():
    weight = np.random.default_rng(0).choice([np.nan, -np.nan, np.inf, -np.inf, 1.0], (1, 4, 9, 7))
    for dtype in (np.float32, np.float64):
        order, parent, edge, _ = kernels.Kernels("plain").spanning_tree(weight.astype(dtype))
        assert sorted(order[0]) == list(range(63))
        assert (parent[0, 1:] < np.arange(1, 63)).all()
        assert len(set(edge[0])) == 63
