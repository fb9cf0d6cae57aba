"""neighbor_difference: every backend against the reference, and its gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from point2mask import ops
from point2mask.grid import OFFSETS
from point2mask.ops import reference

NORMS = ("l1", "l2", "squared_l2")
DIRECTIONS = (2, 4, 8)


def feature_maps(dtype):
    shape = st.tuples(
        st.integers(1, 2), st.integers(0, 4), st.integers(1, 6), st.sampled_from([1, 2, 3, 8, 37])
    )
    # Multiples of 1/8: sums and squares are exact in float32, so that only sqrt rounds.
    return shape.flatmap(
        lambda s: hnp.arrays(np.int32, s, elements=st.integers(-64, 64)).map(
            lambda a: (a / 8).astype(dtype)
        )
    )


@given(
    feature=st.sampled_from([np.float32, np.float64]).flatmap(feature_maps),
    directions=st.sampled_from(DIRECTIONS),
    norm=st.sampled_from(NORMS),
)
def test_equals_the_reference(backend, feature, directions, norm):
    got = backend.neighbor_difference(feature, directions, norm)
    expected = reference.neighbor_difference(feature, directions, norm)
    assert got.dtype == (np.float64 if backend.name == "reference" else feature.dtype)
    np.testing.assert_allclose(got, expected, rtol=1e-7 if norm == "l2" else 0)  # one sqrt


@pytest.mark.parametrize("norm", NORMS)
def test_reverse_steps_see_the_same_pair(backend, norm):
    feature = np.random.default_rng(0).normal(size=(2, 5, 7, 9)).astype(np.float32)
    difference = backend.neighbor_difference(feature, 8, norm)
    for d, (dy, dx) in enumerate(OFFSETS[:4]):
        moved = np.roll(difference[:, d + 4], (-dy, -dx), (1, 2))
        np.testing.assert_array_equal(difference[:, d], moved)


@pytest.mark.parametrize("norm", NORMS)
def test_mirrored_images_swap_steps(backend, norm):
    feature = np.random.default_rng(1).normal(size=(1, 3, 6, 8)).astype(np.float32)
    mirrored = backend.neighbor_difference(feature[..., ::-1].copy(), 8, norm)
    swap = [OFFSETS.index((dy, -dx)) for dy, dx in OFFSETS]
    expected = backend.neighbor_difference(feature, 8, norm)[:, swap, :, ::-1]
    np.testing.assert_array_equal(mirrored, expected)


def test_literal_case(backend):
    feature = np.array([[[[0.0, 3.0]], [[0.0, 4.0]]]], np.float32)  # (0, 0) beside (3, 4)
    for norm, value in (("l1", 7.0), ("l2", 5.0), ("squared_l2", 25.0)):
        difference = backend.neighbor_difference(feature, 8, norm)
        expected = np.zeros((1, 8, 1, 2))
        expected[0, 1, 0, 0] = expected[0, 5, 0, 1] = value
        np.testing.assert_array_equal(difference, expected)


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0), (1, 0, 3, 4)])
def test_empty_maps(backend, shape):
    difference = backend.neighbor_difference(np.zeros(shape, np.float32))
    assert difference.shape == (shape[0], 8, *shape[2:])
    assert not difference.any()


def test_nan_reaches_the_pairs_of_its_pixel_only(backend):
    feature = np.zeros((1, 2, 5, 5), np.float32)
    feature[0, 1, 2, 2] = np.nan
    difference = backend.neighbor_difference(feature, 8, "l1")[0]
    for d, (dy, dx) in enumerate(OFFSETS):
        bad = np.zeros((5, 5), bool)
        bad[2, 2] = bad[2 - dy, 2 - dx] = True
        np.testing.assert_array_equal(np.isnan(difference[d]), bad)


def test_rejects_values(backend):
    feature = np.zeros((1, 2, 3, 3), np.float32)
    with pytest.raises(ValueError, match="directions must be 2, 4 or 8, got 3"):
        backend.neighbor_difference(feature, 3)
    with pytest.raises(ValueError, match="norm must be l1, l2 or squared_l2, got"):
        backend.neighbor_difference(feature, 8, "l3")


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (torch.zeros(2, 3, 4), r"feature must have shape \[B, C, H, W\], got \[2, 3, 4\]"),
        (
            torch.zeros(1, 2, 3, 4, dtype=torch.half),
            "feature must be float32 or float64, got float16",
        ),
    ],
)
def test_rejects_bad_tensors(feature, message):
    with pytest.raises(ValueError, match=message):
        ops.neighbor_difference(feature)


@pytest.mark.parametrize("directions", DIRECTIONS)
@pytest.mark.parametrize("norm", NORMS)
def test_gradcheck(norm, directions):
    generator = torch.Generator().manual_seed(3)
    feature = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.double, requires_grad=True)
    # The noise keeps every difference far from zero compared with the step of 1e-6.
    assert torch.autograd.gradcheck(
        lambda f: ops.neighbor_difference(f, directions, norm), (feature,), fast_mode=False
    )


@pytest.mark.parametrize("norm", NORMS)
def test_gradient_equals_autograd_in_float32(norm):
    feature = torch.randn(2, 9, 11, 35, requires_grad=True)
    upstream = torch.randn(2, 8, 11, 35)
    (got,) = torch.autograd.grad(ops.neighbor_difference(feature, 8, norm), feature, upstream)
    exact = feature.detach().double().requires_grad_()
    total = exact.new_zeros(())
    for d, (dy, dx) in enumerate(OFFSETS):
        y, x = slice(max(0, -dy), 11 - max(0, dy)), slice(max(0, -dx), 35 - max(0, dx))
        there = exact.roll((-dy, -dx), (2, 3))[..., y, x]
        step = exact[..., y, x] - there
        value = {"l1": step.abs(), "l2": step.square(), "squared_l2": step.square()}[norm].sum(1)
        total = total + ((value.sqrt() if norm == "l2" else value) * upstream[:, d, y, x]).sum()
    (expected,) = torch.autograd.grad(total, exact)
    # Sixteen float32 terms of size up to about 10.
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_gradient_of_equal_features_is_zero(norm):
    feature = torch.full((1, 2, 4, 4), 0.3, requires_grad=True)
    ops.neighbor_difference(feature, 8, norm).sum().backward()
    assert torch.equal(feature.grad, torch.zeros_like(feature))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(requires_grad):
    feature = torch.randn(2, 3, 5, 6, requires_grad=requires_grad)
    operator = torch.ops.point2mask.neighbor_difference.default
    for norm in NORMS:
        torch.library.opcheck(operator, (feature, 4, norm))
    backward = torch.ops.point2mask.neighbor_difference_backward.default
    difference = torch.rand(2, 8, 5, 6)
    torch.library.opcheck(backward, (difference, feature.detach(), difference, "l2"))


def test_compiles_without_graph_breaks():
    feature = torch.randn(2, 3, 5, 6, requires_grad=True)
    compiled = torch.compile(ops.neighbor_difference, fullgraph=True, backend="aot_eager")
    results = []
    for function in (compiled, ops.neighbor_difference):
        difference = function(feature, 8, "l2")
        results.append((difference, *torch.autograd.grad(difference.square().sum(), feature)))
    for got, expected in zip(*results, strict=True):
        assert torch.equal(got, expected)


def test_accepts_non_contiguous_input():
    feature = torch.randn(2, 5, 6, 3).permute(0, 3, 1, 2).requires_grad_()
    copy = feature.detach().contiguous().requires_grad_()
    upstream = torch.randn(5, 2, 8, 6).permute(1, 2, 0, 3)
    for f in (feature, copy):
        ops.neighbor_difference(f).backward(upstream)
    assert torch.equal(ops.neighbor_difference(feature), ops.neighbor_difference(copy))
    assert torch.equal(feature.grad, copy.grad)


def test_autocast_runs_in_float32():
    feature = torch.randn(1, 3, 5, 6).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        difference = ops.neighbor_difference(feature)
    assert difference.dtype == torch.float32
    difference.sum().backward()
    assert feature.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("norm", NORMS)
def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts, norm):
    feature = torch.randn(3, 4, 65, 33)
    upstream = torch.randn(3, 8, 65, 33)

    def run(part):
        f = feature[part].clone().requires_grad_()
        difference = ops.neighbor_difference(f, 8, norm)
        return difference, *torch.autograd.grad(difference, f, upstream[part])

    check_parts(run, 3)
