"""tree_filter: every backend against dense path products, its algebra and its gradients."""

import numpy as np
import pytest
import torch
from backends import values_are_checked
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from trees import random_tree, rerooted

from point2mask import ops
from point2mask.ops import reference
from point2mask.ops.reference.tree import path_products

FILTER = torch.ops.point2mask.tree_filter.default  # with what is kept for the gradient on a GPU
BACKWARD = torch.ops.point2mask.tree_filter_backward.default


@st.composite
def cases(draw, dtype=np.float64):
    """Feature, order, parent and similarity; 0 and 1 are frequent among the similarities."""
    images, channels, pixels = draw(
        st.tuples(st.integers(1, 2), st.sampled_from([1, 3, 15, 17]), st.integers(1, 40))
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    feature = rng.uniform(-1, 1, (images, channels, pixels)).astype(dtype)
    values = st.sampled_from([0.0, 1.0, 1e-30]) | st.floats(0, 1, width=32)
    similarity = draw(hnp.arrays(dtype, (images, pixels), elements=values))
    return feature, *random_tree(rng, images, pixels), similarity


def rounding(feature, similarity, normalize):
    """Bound on the error: N additions of rounded products, relative to the largest sum.

    A pixel passes up and down, each step rounds a product, a difference and a sum.
    """
    pixels = feature.shape[-1]
    largest = np.abs(feature).max(initial=0) * (1 if normalize else pixels)
    return 6 * pixels * np.finfo(similarity.dtype).eps * largest


@pytest.mark.parametrize("normalize", [True, False])
@given(case=cases() | cases(np.float32))
def test_equals_dense_path_products(backend, case, normalize):
    got = backend.tree_filter(*case, normalize)
    expected = reference.tree_filter(*case, normalize)
    np.testing.assert_allclose(got, expected, rtol=0, atol=rounding(case[0], case[3], normalize))


@given(case=cases(np.float32))
def test_ones_stay_ones(backend, case):
    feature, *tree = case
    output = backend.tree_filter(np.ones_like(feature), *tree)
    np.testing.assert_allclose(output, 1, rtol=0, atol=0 if backend.name != "reference" else 1e-14)


@given(case=cases())
def test_a_constant_stays_and_bounds_are_kept(backend, case):
    feature, *tree = case
    atol = rounding(feature, tree[2], True)
    constant = backend.tree_filter(np.full_like(feature, 0.3), *tree)
    np.testing.assert_allclose(constant, 0.3, rtol=0, atol=atol)
    output = backend.tree_filter(feature, *tree)
    assert (output.max(2) <= feature.max(2) + atol).all()
    assert (output.min(2) >= feature.min(2) - atol).all()


@given(case=cases())
def test_similarity_one_gives_the_mean_and_zero_the_identity(backend, case):
    feature, order, parent, similarity = case
    mean = backend.tree_filter(feature, order, parent, np.ones_like(similarity))
    expected = np.broadcast_to(feature.mean(2, keepdims=True), feature.shape)
    np.testing.assert_allclose(mean, expected, rtol=0, atol=rounding(feature, similarity, True))
    same = backend.tree_filter(feature, order, parent, np.zeros_like(similarity))
    np.testing.assert_array_equal(same, feature)


@pytest.mark.parametrize("normalize", [True, False])
@given(case=cases(), where=st.floats(0, 1, exclude_max=True))
def test_the_root_does_not_matter(backend, case, where, normalize):
    feature, order, parent, similarity = (part[:1] for part in case)
    root = int(where * order.size)
    other = (p[None] for p in rerooted(order[0], parent[0], similarity[0], root))
    np.testing.assert_allclose(
        backend.tree_filter(feature, *other, normalize),
        backend.tree_filter(feature, order, parent, similarity, normalize),
        rtol=0,
        atol=2 * rounding(feature, similarity, normalize),
    )


@given(case=cases())
def test_is_linear_and_self_adjoint(backend, case):
    x, *tree = case
    y = np.roll(x, 1, axis=2) ** 2
    atol = rounding(x, tree[2], False)
    filtered_x, filtered_y, filtered_sum = (
        backend.tree_filter(f, *tree, False) for f in (x, y, 2 * x - y)
    )
    np.testing.assert_allclose(filtered_sum, 2 * filtered_x - filtered_y, rtol=0, atol=6 * atol)
    np.testing.assert_allclose(
        (filtered_x * y).sum(2), (x * filtered_y).sum(2), rtol=0, atol=2 * x.shape[2] * atol
    )


@pytest.mark.parametrize("channels", [16, 19])
@pytest.mark.parametrize("pixels", [50, 40_000, 70_000])  # each cuts channels into other blocks
def test_a_channel_does_not_depend_on_those_beside_it(pixels, channels):
    order, parent = map(torch.from_numpy, random_tree(0, 1, pixels))
    tree = order, parent, torch.rand(1, pixels)
    feature = torch.rand(1, channels, pixels) - 0.5
    for together, alone in (
        (FILTER(feature, *tree)[0], [FILTER(x[:, None], *tree)[0] for x in feature.unbind(1)]),
        (
            BACKWARD(feature, None, None, *tree, True)[0],
            [BACKWARD(g[:, None], None, None, *tree, True)[0] for g in feature.unbind(1)],
        ),
    ):
        assert torch.equal(together, torch.cat(alone, 1))


def dense_filter(feature, order, parent, similarity, normalize):
    """Differentiable in torch: each product of similarities is written out along its path."""
    outputs = []
    for image in range(feature.shape[0]):
        rows = [[torch.ones((), dtype=feature.dtype)]]
        for i in range(1, feature.shape[2]):
            row = [
                similarity[image, i] * rows[max(p, j)][min(p, j)]
                for p in [int(parent[image, i])]
                for j in range(i)
            ]
            rows.append([*row, torch.ones((), dtype=feature.dtype)])
        size = range(feature.shape[2])
        product = torch.stack(
            [torch.stack([rows[max(i, j)][min(i, j)] for j in size]) for i in size]
        )
        x = feature[image][:, order[image].long()]
        y = x @ product
        y = y / product.sum(1) if normalize else y
        outputs.append(torch.empty_like(y).index_copy(1, order[image].long(), y))
    return torch.stack(outputs)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("channels", "pixels"), [(1, 1), (1, 9), (3, 14), (17, 12)])
def test_gradients_equal_those_of_dense_path_products(channels, pixels, normalize):
    rng = np.random.default_rng(pixels)
    order, parent = map(torch.from_numpy, random_tree(rng, 2, pixels))
    feature = torch.from_numpy(rng.standard_normal((2, channels, pixels))).requires_grad_()
    # Finite differences would leave [0, 1] at its ends, so those are compared here.
    similarity = torch.from_numpy(rng.random((2, pixels)))
    similarity[:, 1::4], similarity[:, 2::4], similarity[1, 3::8] = 0.0, 1.0, 1e-30
    similarity.requires_grad_()
    weight = torch.from_numpy(rng.standard_normal((2, channels, pixels)))
    got, expected = (
        torch.autograd.grad(
            (function(feature, order, parent, similarity, normalize) * weight).sum(),
            (feature, similarity),
            materialize_grads=True,
        )
        for function in (ops.tree_filter, dense_filter)
    )
    # A gradient sums at most C·N² rounded products of numbers of order one.
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    assert not got[1][:, 0].any()


@pytest.mark.parametrize("normalize", [True, False])
def test_gradcheck(normalize):
    order, parent = map(torch.from_numpy, random_tree(1, 2, 11))
    feature = torch.randn(2, 3, 11, dtype=torch.float64, requires_grad=True)
    similarity = torch.empty(2, 11, dtype=torch.float64).uniform_(0.1, 0.9).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, s: ops.tree_filter(x, order, parent, s, normalize), (feature, similarity)
    )


@pytest.mark.parametrize("normalize", [True, False])
def test_float32_gradients_equal_float64(normalize):
    feature, order, parent, similarity = random_inputs(1, 20, 200)
    results = []
    for dtype in (torch.float32, torch.float64):
        x, s = (t.to(dtype, copy=True).requires_grad_() for t in (feature, similarity))
        ops.tree_filter(x, order, parent, s, normalize).square().sum().backward()
        results.append((x.grad.double(), s.grad.double()))
    # 200 additions of 20 channels each, relative to the largest gradient.
    for got, expected in zip(*results, strict=True):
        assert (got - expected).abs().max() < 4000 * 2**-24 * expected.abs().max()


def random_inputs(images, channels, pixels, dtype=torch.float32):
    order, parent = map(torch.from_numpy, random_tree(channels, images, pixels))
    generator = torch.Generator().manual_seed(channels)
    feature = torch.rand(images, channels, pixels, generator=generator, dtype=dtype)
    return feature, order, parent, torch.rand(images, pixels, generator=generator, dtype=dtype)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_of_one_channel_are_those_beside_a_channel_of_zeros(dtype, normalize):
    feature, *tree = random_inputs(2, 1, 3000, dtype)
    gradient = feature.flip(2) - 0.5
    output = ops.tree_filter(feature, *tree, normalize)
    both = [torch.cat((x, torch.zeros_like(x)), 1) for x in (gradient, feature, output)]
    alone = BACKWARD(gradient, feature, output, *tree, normalize)
    beside = BACKWARD(*both, *tree, normalize)
    assert torch.equal(alone[0], beside[0][:, :1])
    assert torch.equal(alone[1], beside[1])


@pytest.mark.parametrize("normalize", [True, False])
def test_the_similarity_gradient_is_computed_only_where_asked_for(normalize):
    feature, order, parent, similarity = random_inputs(2, 19, 70)
    output = ops.tree_filter(feature, order, parent, similarity, normalize)
    tree = (order, parent, similarity, normalize)
    both = BACKWARD(feature, feature, output, *tree)
    alone = BACKWARD(feature, None, None, *tree)
    assert torch.equal(alone[0], both[0])
    assert alone[1].numel() == 0
    feature.requires_grad_()
    kept = ops.tree_filter(feature, *tree)  # before torch 2.13 its grad_fn forgets once it is gone
    assert sum(t.dim() == 3 for t in kept.grad_fn.saved_tensors) == 0
    kept = ops.tree_filter(feature, order, parent, similarity.requires_grad_(), normalize)
    assert sum(t.dim() == 3 for t in kept.grad_fn.saved_tensors) == 2


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (1, 2, 1)])
@pytest.mark.parametrize("normalize", [True, False])
def test_empty_and_single(backend, shape, normalize):
    feature = np.full(shape, 0.7, np.float32)
    order, parent = random_tree(0, shape[0], shape[2])
    similarity = np.zeros((shape[0], shape[2]), np.float32)
    output = backend.tree_filter(feature, order, parent, similarity, normalize)
    np.testing.assert_array_equal(output, feature)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_gradients_of_nothing_are_zero(shape):
    order, parent = map(torch.from_numpy, random_tree(0, shape[0], shape[2]))
    feature = torch.zeros(shape, requires_grad=True)
    similarity = torch.zeros(shape[0], shape[2], requires_grad=True)
    ops.tree_filter(feature, order, parent, similarity).sum().backward()
    assert feature.grad.shape == shape
    assert not similarity.grad.any()


@values_are_checked
@pytest.mark.parametrize("bad", [-1e-6, 1.0 + 1e-6, np.nan])
def test_rejects_similarities_outside_0_1(backend, bad):
    feature, order, parent, similarity = (t.numpy() for t in random_inputs(2, 1, 5))
    similarity[:, 0] = np.nan  # the root's is not read
    backend.tree_filter(feature, order, parent, similarity)
    similarity[1, 4] = bad
    with pytest.raises(ValueError, match=r"similarity must lie in \[0, 1\]"):
        backend.tree_filter(feature, order, parent, similarity)


@values_are_checked
@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("order", -1, "order must hold every pixel once"),
        ("order", 5, "order must hold every pixel once"),
        ("parent", -1, "parent must be a rank below its child's"),
        ("parent", 3, "parent must be a rank below its child's"),
        ("parent", 2**30, "parent must be a rank below its child's"),
    ],
)
def test_rejects_what_is_no_tree(backend, argument, value, message):
    feature, order, parent, similarity = (t.numpy() for t in random_inputs(2, 1, 5))
    {"order": order, "parent": parent}[argument][1, 3] = value
    with pytest.raises(ValueError, match=message):
        backend.tree_filter(feature, order, parent, similarity)
    if backend.name == "cpu":
        tree = (torch.from_numpy(part) for part in (order, parent, similarity))
        with pytest.raises(ValueError, match=message):
            BACKWARD(torch.from_numpy(feature), None, None, *tree, True)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, torch.zeros(2, 5), r"feature must have shape \[B, C, N\], got \[2, 5\]"),
        (
            0,
            torch.zeros(2, 3, 5).int(),
            "feature must be float32 or float64|similarity must be int32",
        ),
        (1, torch.zeros(2, 4).int(), r"order must have shape \[B=2, N=5\], got \[2, 4\]"),
        (2, torch.zeros(2, 5).long(), "parent must be int32, got int64"),
        (3, torch.zeros(2, 5).double(), "similarity must be float32, got float64"),
    ],
)
def test_rejects_bad_tensors(place, value, message):
    arguments = list(random_inputs(2, 3, 5))
    arguments[place] = value
    with pytest.raises(ValueError, match=message):
        ops.tree_filter(*arguments)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's own copies of the inputs
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(requires_grad, normalize):
    feature, order, parent, similarity = random_inputs(2, 3, 12)
    feature.requires_grad_(requires_grad)
    similarity.mul_(0.8).add_(0.1).requires_grad_(requires_grad)
    torch.library.opcheck(FILTER, (feature, order, parent, similarity, normalize))


def test_opcheck_of_the_gradient():
    feature, order, parent, similarity = random_inputs(2, 3, 12)
    tree = (order, parent, similarity, True)
    torch.library.opcheck(BACKWARD, (feature, feature, feature, *tree))
    torch.library.opcheck(BACKWARD, (feature, None, None, *tree))


def test_compiles_without_graph_breaks():
    inputs = random_inputs(2, 3, 12)
    compiled = torch.compile(ops.tree_filter, fullgraph=True, backend="aot_eager")
    results = []
    for function in (compiled, ops.tree_filter):
        x, s = (t.clone().requires_grad_() for t in (inputs[0], inputs[3]))
        output = function(x, inputs[1], inputs[2], s)
        output.square().sum().backward()
        results.append((output, x.grad, s.grad))
    for got, expected in zip(*results, strict=True):
        assert torch.equal(got, expected)


def test_takes_any_memory_layout():
    inputs = random_inputs(3, 5, 40)
    expected = ops.tree_filter(*inputs)
    strided = [t.movedim(0, -1).contiguous().movedim(-1, 0) for t in inputs]
    assert not any(t.is_contiguous() for t in strided)
    assert torch.equal(ops.tree_filter(*strided), expected)


def test_autocast_computes_in_float32():
    feature, order, parent, similarity = random_inputs(1, 3, 40)
    feature = feature.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        output = ops.tree_filter(feature, order, parent, similarity)
    assert output.dtype == torch.float32
    assert torch.equal(output, ops.tree_filter(feature.float(), order, parent, similarity))


def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts):
    inputs = random_inputs(4, 40, 333)

    def run(feature, order, parent, similarity):
        x, s = feature.clone().requires_grad_(), similarity.clone().requires_grad_()
        output = ops.tree_filter(x, order, parent, s)
        output.square().sum().backward()
        return output, x.grad, s.grad

    check_parts(lambda part: run(*(t[part] for t in inputs)), 4)


def test_path_products_are_those_of_a_hand_made_tree():
    order = np.array([2, 0, 1, 3], np.int32)  # 2 - 0 - 1 and 2 - 3
    product = path_products(order, np.array([0, 0, 1, 0]), np.array([0, 0.5, 0.25, 0.1]))
    np.testing.assert_allclose(product[1], [0.25, 1, 0.125, 0.0125], rtol=1e-15)
