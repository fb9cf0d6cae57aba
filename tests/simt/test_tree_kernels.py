"""The tree kernels against the CPU engine, bit by bit, and on what no valid call contains."""

import numpy as np
import pytest
from simt import build, kernels, tree_cases, tree_kernels
from simt.expected import engine

from point2mask.ops import tree

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
        given = (feature, order, parent[None], similarity)
        want, _ = engine("tree_filter", given)
        np.testing.assert_allclose(machine.tree_filter(*given), want, rtol=0, atol=1e-13)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shape_functions_know_what_a_filter_keeps(dtype, normalize):
    machine = kernels.Kernels("plain")
    for images, pixels in ((1, 1), (3, 35)):
        known = tree.kept_words((images, 2, pixels), np.dtype(dtype).itemsize, normalize)
        assert machine.kept_words(images, pixels, normalize, dtype) == known


def on_device(machine, shared_bytes):
    machine.schedule = {"shared_bytes": shared_bytes}
    machine._launch_tree = lambda name, _, __, *arguments: machine._launch(name, *arguments)
    return machine


def test_a_path_has_the_same_bits_whoever_scans_it():
    """One path of all ranks, by blocks of 1024 and of 128 threads."""
    rng = np.random.default_rng(0)
    pixels = 1500
    order = np.arange(pixels, dtype=np.int32)[None]
    line = order, np.maximum(order - 1, 0), rng.random((1, pixels), np.float32)
    feature = rng.normal(size=(1, 1, pixels)).astype(np.float32)
    outputs = [
        on_device(kernels.Kernels("plain"), shared_bytes).tree_filter(feature, *line)
        for shared_bytes in (1 << 20, 0)
    ]
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("both", [True, False])
def test_bits_do_not_depend_on_how_many_rows_fit(both, dtype):
    """All rows in shared memory, all but the last one, and half of them."""
    rng = np.random.default_rng(0)
    pixels, channels = 600, 3
    order, parent = tree_cases.random_tree(rng, 2, pixels, 0.9)
    feature, grad = rng.normal(size=(2, 2, channels, pixels)).astype(dtype)
    similarity = rng.random((2, pixels)).astype(dtype)
    results = []
    for rows in (pixels, pixels - 1, pixels // 2):
        machine = on_device(
            kernels.Kernels("plain"),
            tree_kernels.shared_bytes(rows, 1 + both, feature.itemsize),
        )
        output, kept = machine.tree_filter_and_kept(feature, order, parent, similarity)
        maps = (feature, output) if both else (None, None)
        gradients = machine.tree_filter_backward(grad, *maps, order, parent, similarity, True, kept)
        results.append((output, *gradients))
    for got in results[1:]:
        for a, b in zip(got, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


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
