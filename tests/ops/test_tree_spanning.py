"""spanning_tree: the tree, its order and its gradient, exactly and on every backend."""

import numpy as np
import pytest
import torch
from backends import values_are_checked
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from trees import distinct_weights, edge_weights

from point2mask import ops
from point2mask.ops import reference
from point2mask.ops.reference.tree import grid_edges

# Few different values: nearly every comparison is a tie. -0 must equal +0.
TIES = st.sampled_from([-1.0, -0.0, 0.0, 2.0])
REALS = st.floats(-(2.0**99), 2.0**99, width=32)


def assert_same_tree(got, expected):
    for name, a, b in zip(("order", "parent", "edge", "weight"), got, expected, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


@given(edge_weight=edge_weights(TIES) | edge_weights(REALS) | edge_weights(REALS, np.float32))
def test_equals_the_reference(backend, edge_weight):
    assert_same_tree(backend.spanning_tree(edge_weight), reference.spanning_tree(edge_weight))


@pytest.mark.parametrize("directions", [2, 4])
@pytest.mark.parametrize("shape", [(9, 14), (31, 24), (2, 40)])
def test_equals_scipy_for_distinct_weights(backend, shape, directions):
    sparse = pytest.importorskip("scipy.sparse")
    csgraph = pytest.importorskip("scipy.sparse.csgraph")
    pixels = shape[0] * shape[1]
    edge_weight = distinct_weights(3, (1, directions, *shape))
    edges = grid_edges(edge_weight[0])
    weight, identity, a, b = (np.array(part) for part in zip(*edges, strict=True))
    # SciPy takes a weight of zero for no edge: shift them all above it.
    tree = csgraph.minimum_spanning_tree(
        sparse.coo_matrix((weight - weight.min() + 1, (a, b)), shape=(pixels, pixels))
    ).tocoo()
    id_of = dict(zip(zip(a, b, strict=True), identity, strict=True))
    expected = sorted(int(id_of[pair]) for pair in zip(tree.row, tree.col, strict=True))
    _, _, edge, _ = backend.spanning_tree(edge_weight)
    assert sorted(edge[0, 1:].tolist()) == expected


@pytest.mark.parametrize("values", [2, 3, 256, 10**6])
@pytest.mark.parametrize("directions", [2, 4])
def test_every_other_edge_is_the_largest_on_its_cycle(values, directions):
    shape = (37, 29)
    weights = np.random.default_rng(values).integers(0, values, (1, directions, *shape))
    edge_weight = weights.astype(np.float32)
    tree = ops.spanning_tree(torch.from_numpy(edge_weight))
    order, parent, edge, weight = (part[0].numpy() for part in tree)
    rank_of = np.argsort(order)
    tree = set(edge[1:].tolist())
    assert len(tree) == order.size - 1
    for cost, identity, a, b in grid_edges(edge_weight[0]):
        i, j = rank_of[a], rank_of[b]
        while i != j and identity not in tree:  # climb from the deeper rank to the common ancestor
            i, j = max(i, j), min(i, j)
            assert (weight[i], edge[i]) < (cost, identity)
            i = parent[i]


@given(edge_weight=edge_weights(TIES, longest=9))
def test_order_is_a_heavy_first_preorder(backend, edge_weight):
    for order, parent, edge, _ in zip(*backend.spanning_tree(edge_weight), strict=True):
        pixels = order.size
        assert sorted(order.tolist()) == list(range(pixels))
        assert (order[0], parent[0], edge[0]) == (0, 0, -1)
        assert (parent[1:] < np.arange(1, pixels)).all()
        size = np.ones(pixels, int)
        for i in range(pixels - 1, 0, -1):
            size[parent[i]] += size[i]
        for i in range(pixels):
            children = np.flatnonzero(parent[1:] == i) + 1
            # Each child's subtree follows that of the child before it, without a gap.
            begin = np.cumsum([i + 1, *size[children]])
            np.testing.assert_array_equal(children, begin[:-1])
            if children.size:
                largest = children[size[children] == size[children].max()]
                assert edge[children[0]] == edge[largest].min()
                assert (np.diff(edge[children[1:]]) > 0).all()


@pytest.mark.parametrize("directions", [2, 4])
def test_transposing_the_image_keeps_the_tree(backend, directions):
    height, width = 12, 17
    edge_weight = distinct_weights(5, (1, directions, height, width))
    swapped = edge_weight.transpose(0, 1, 3, 2)[:, [1, 0, *range(2, directions)]]
    if directions == 4:  # the step (1, -1) becomes (-1, 1): stored at its other end
        swapped[:, 3, :, 1:] = swapped[:, 3, :, :-1].copy()
        swapped[:, 3] = np.roll(swapped[:, 3], -1, axis=1)
    weight, other = backend.spanning_tree(edge_weight)[3], backend.spanning_tree(swapped)[3]
    np.testing.assert_array_equal(np.sort(weight), np.sort(other))  # a weight names an edge


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 4, 0, 3), (2, 2, 3, 0)])
def test_empty(backend, shape):
    for part in backend.spanning_tree(np.zeros(shape, np.float32)):
        assert part.shape == (shape[0], shape[2] * shape[3])


@pytest.mark.parametrize("directions", [2, 4])
def test_one_pixel(backend, directions):
    tree = backend.spanning_tree(np.full((1, directions, 1, 1), np.nan, np.float32))
    assert_same_tree(tree, ([[0]], [[0]], [[-1]], [[0]]))


@pytest.mark.parametrize("shape", [(1, 300_000), (300_000, 1)])
def test_a_line_is_as_deep_as_it_is_long(shape):
    order, parent, _, _ = ops.spanning_tree(torch.zeros(1, 4, *shape))
    np.testing.assert_array_equal(order[0], np.arange(300_000))
    np.testing.assert_array_equal(parent[0, 1:], np.arange(299_999))


def test_entries_that_leave_the_image_are_ignored(backend):
    edge_weight = distinct_weights(7, (2, 4, 5, 6))
    expected = backend.spanning_tree(edge_weight)
    outside = edge_weight.copy()
    outside[:, [0, 2, 3], -1] = np.nan
    outside[:, [1, 2], :, -1] = -np.inf
    outside[:, 3, :, 0] = np.inf
    assert_same_tree(backend.spanning_tree(outside), expected)


@given(edge_weight=edge_weights(REALS, np.float32))
def test_float32_and_float64_give_the_same_tree(backend, edge_weight):
    assert_same_tree(
        backend.spanning_tree(edge_weight), backend.spanning_tree(edge_weight.astype(np.float64))
    )


@values_are_checked
@examples(30)
@given(bad=st.sampled_from([np.nan, np.inf, -np.inf]), place=st.integers(0, 3 * 4 - 1))
def test_rejects_weights_that_are_not_finite(backend, bad, place):
    edge_weight = np.zeros((2, 2, 4, 5), np.float32)
    edge_weight[1, place % 2, place // 4, place % 4] = bad
    with pytest.raises(ValueError, match=r"edge_weight must be finite.* image 1"):
        backend.spanning_tree(edge_weight)


def test_rejects_three_directions(backend):
    with pytest.raises(ValueError, match="must have 2 or 4 directions, got 3"):
        backend.spanning_tree(np.zeros((1, 3, 4, 4), np.float32))


@pytest.mark.parametrize(
    ("edge_weight", "message"),
    [
        (torch.zeros(2, 3, 3), r"edge_weight must have shape \[B, D, H, W\], got \[2, 3, 3\]"),
        (torch.zeros(1, 2, 3, 3).int(), "edge_weight must be float32 or float64, got int32"),
    ],
)
def test_rejects_bad_tensors(edge_weight, message):
    with pytest.raises(ValueError, match=message):
        ops.spanning_tree(edge_weight)


@pytest.mark.parametrize("directions", [2, 4])
def test_gradcheck(directions):
    edge_weight = torch.from_numpy(distinct_weights(1, (2, directions, 3, 4), np.float64))
    edge_weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: ops.spanning_tree(w).weight, edge_weight)
    assert torch.autograd.gradgradcheck(lambda w: ops.spanning_tree(w).weight ** 2, edge_weight)


def test_the_root_sends_no_gradient_and_indices_need_none():
    edge_weight = torch.zeros(1, 2, 4, 4, requires_grad=True)
    tree = ops.spanning_tree(edge_weight)
    assert [part.requires_grad for part in tree] == [False, False, False, True]
    tree.weight.backward(torch.arange(1.0, 17.0)[None])
    expected = torch.zeros(32)
    expected[tree.edge[0, 1:].long()] = torch.arange(2.0, 17.0)
    assert torch.equal(edge_weight.grad.flatten(), expected)


def test_opcheck():
    torch.library.opcheck(torch.ops.point2mask.spanning_tree.default, (torch.rand(2, 4, 5, 6),))


def test_opcheck_with_gradient():
    # The fourth check adds float outputs to the integer ones in place and so fails in itself: the
    # compiled gradient is compared below instead.
    torch.library.opcheck(
        torch.ops.point2mask.spanning_tree.default,
        (torch.rand(2, 4, 5, 6, requires_grad=True),),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_compiles_without_graph_breaks():
    compiled = torch.compile(ops.spanning_tree, fullgraph=True, backend="aot_eager")
    results = []
    for function in (compiled, ops.spanning_tree):
        edge_weight = torch.rand(2, 2, 5, 6, generator=torch.Generator().manual_seed(0))
        tree = function(edge_weight.requires_grad_())
        tree.weight.square().sum().backward()
        results.append((*tree, edge_weight.grad))
    for got, expected in zip(*results, strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_minimum_spanning_tree_of_an_image(connectivity):
    guide = torch.randn(2, 3, 8, 9, dtype=torch.float64, requires_grad=True)
    tree = ops.minimum_spanning_tree(guide, connectivity, offset=1.0)
    difference = reference.neighbor_difference(
        guide.detach().numpy(), connectivity // 2, "squared_l2"
    )
    expected = reference.spanning_tree(difference + 1.0)
    for got, part in zip(tree[:3], expected[:3], strict=True):
        np.testing.assert_array_equal(got, part)
    # Three squares are added in another order.
    np.testing.assert_allclose(tree.weight.detach(), expected[3], rtol=1e-15)
    tree.weight.sum().backward()
    assert guide.grad.abs().sum() > 0


def test_minimum_spanning_tree_rejects_other_connectivities():
    with pytest.raises(ValueError, match="connectivity must be 4 or 8, got 6"):
        ops.minimum_spanning_tree(torch.zeros(1, 3, 4, 4), 6)


def test_takes_any_memory_layout():
    edge_weight = torch.rand(2, 5, 6, 4)
    strided = edge_weight.permute(0, 3, 1, 2)
    assert_same_tree(ops.spanning_tree(strided), ops.spanning_tree(strided.contiguous()))


def test_autocast_computes_in_float32():
    edge_weight = torch.rand(1, 2, 5, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        tree = ops.spanning_tree(edge_weight)
    assert tree.weight.dtype == torch.float32
    assert_same_tree(tree, ops.spanning_tree(edge_weight.float()))


def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts):
    edge_weight = torch.randint(0, 9, (5, 4, 23, 31)).float()
    check_parts(lambda part: ops.spanning_tree(edge_weight[part]), len(edge_weight))
