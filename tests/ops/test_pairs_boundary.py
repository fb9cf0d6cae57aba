"""boundary_loss: every backend against the reference and against unfold with autograd."""

import numpy as np
import pytest
import torch
import unfolded
from backends import values_are_checked
from hypothesis import given
from hypothesis import strategies as st

from point2mask import ops
from point2mask.ops import reference

# A mean of float32 logarithms of size up to 11.5, each good to a few ulp.
TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-11}
WINDOWS = [(3, 1), (3, 2), (3, 3), (5, 1), (5, 2), (3, 50), (7, 4)]


def make_case(seed, shape, dtype=np.float32, levels=1000, labels=3):
    """Few levels of the boundary make ties and the ends 0 and 1 common."""
    rng = np.random.default_rng(seed)
    boundary = (rng.integers(0, levels + 1, shape) / levels).astype(dtype)
    instance, semantic = rng.integers(-1, labels, (2, *shape), dtype=np.int32)
    return boundary, instance, semantic


def shapes(widths):
    return st.tuples(st.integers(1, 2), st.integers(1, 40), st.sampled_from(widths))


cases = st.builds(
    make_case,
    seed=st.integers(0, 2**20),
    shape=shapes([1, 2, 7, 37]),
    dtype=st.sampled_from([np.float32, np.float64]),
    levels=st.sampled_from([1, 4, 1000]),
    labels=st.integers(0, 3),
)


def tensors(case):
    return [torch.from_numpy(part) for part in case]


def gradients(function, boundary, upstream, *args):
    leaf = boundary.detach().clone().requires_grad_()
    return torch.autograd.grad(function(leaf, *args), leaf, upstream)[0]


@given(case=cases, window=st.sampled_from(WINDOWS))
def test_equals_the_reference(backend, case, window):
    got = backend.boundary_loss(*case, *window)
    expected = reference.boundary_loss(*case, *window)
    tolerance = TOLERANCE[case[0].dtype]
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    assert (got >= -1.1e-5).all()  # -log(1 + 1e-5)


@given(case=cases, window=st.sampled_from([(3, 1), (3, 2), (5, 1), (5, 2)]))
def test_loss_and_gradient_equal_unfold_with_autograd(case, window):
    boundary, *labels = tensors(case)
    upstream = torch.linspace(1, 2, boundary.shape[0], dtype=boundary.dtype)
    tolerance = TOLERANCE[case[0].dtype]
    expected = unfolded.boundary_loss(boundary.double(), *labels, *window)
    got = ops.boundary_loss(boundary, *labels, *window)
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)
    expected = gradients(
        unfolded.boundary_loss, boundary.double(), upstream.double(), *labels, *window
    )
    got = gradients(ops.boundary_loss, boundary, upstream, *labels, *window)
    # A pixel's gradient sums up to 24 terms; only the size of the largest is known.
    scale = float(expected.abs().max())
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=tolerance * scale)


def test_mirrored_and_turned_images_have_the_same_loss(backend):
    case = make_case(0, (2, 21, 18))
    loss = backend.boundary_loss(*case, 5, 2)
    for moved in (
        [np.ascontiguousarray(part[:, ::-1]) for part in case],
        [np.ascontiguousarray(part[:, :, ::-1]) for part in case],
        [np.ascontiguousarray(part.swapaxes(1, 2)) for part in case],
    ):
        np.testing.assert_allclose(backend.boundary_loss(*moved, 5, 2), loss, rtol=1e-6)


def test_renaming_instances_and_classes_changes_nothing(backend):
    boundary, instance, semantic = make_case(1, (2, 12, 13))
    names = np.array([7, 0, 100, -1], np.int32)  # -1 keeps its name
    np.testing.assert_array_equal(
        backend.boundary_loss(boundary, names[instance], names[semantic]),
        backend.boundary_loss(boundary, instance, semantic),
    )


def test_literal_cases(backend):
    def loss(instance, semantic, boundary=(0.25, 0.75)):
        return backend.boundary_loss(
            np.array([[boundary]]),
            np.array([[instance]], np.int32),
            np.array([[semantic]], np.int32),
        )[0]

    together, apart = -np.log(0.25 + 1e-5), -np.log(0.75 + 1e-5)
    assert loss((3, 3), (1, 1)) == pytest.approx(together / 4)  # one thing
    assert loss((-1, -1), (1, 1)) == pytest.approx(together / 4)  # one stuff class
    assert loss((3, 4), (1, 1)) == pytest.approx(apart / 2)  # two things
    assert loss((3, -1), (1, 1)) == pytest.approx(apart / 2)  # thing beside stuff
    assert loss((-1, -1), (1, 2)) == pytest.approx(apart / 2)  # two stuff classes
    assert loss((-1, -1), (1, -1)) == 0  # unknown class
    assert loss((-1, -1), (-1, -1)) == 0
    assert loss((3, 3), (1, 2)) == pytest.approx(together / 4 + apart / 2)  # contradiction


def test_perfect_boundaries_cost_almost_nothing(backend):
    boundary = np.zeros((1, 4, 7), np.float32)
    boundary[:, :, 3] = 1
    instance = np.zeros((1, 4, 7), np.int32)
    instance[:, :, 4:] = 1
    instance[:, :, 3] = np.arange(2, 6)  # the line itself is of no mask that it could split
    semantic = np.zeros((1, 4, 7), np.int32)
    np.testing.assert_allclose(backend.boundary_loss(boundary, instance, semantic), 0, atol=2e-5)
    inverted = backend.boundary_loss(1 - boundary, instance, semantic)
    assert inverted[0] > 2


@pytest.mark.parametrize("window", [(3, 1), (5, 1), (3, 2)])
def test_gradcheck(window):
    generator = torch.Generator().manual_seed(0)
    boundary = torch.rand(2, 5, 6, generator=generator, dtype=torch.double)
    _, *labels = tensors(make_case(2, (2, 5, 6)))
    assert torch.autograd.gradcheck(
        lambda b: ops.boundary_loss(b, *labels, *window), (boundary.requires_grad_(),)
    )


def test_ties_share_the_gradient():
    boundary = torch.full((1, 1, 2), 0.5, requires_grad=True)
    labels = torch.zeros(1, 1, 2, dtype=torch.int32)
    ops.boundary_loss(boundary, labels, labels).sum().backward()
    torch.testing.assert_close(boundary.grad, torch.full((1, 1, 2), 0.125 / (0.5 + 1e-5)))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (1, 1, 1)])
def test_no_pairs_give_zero(backend, shape):
    case = make_case(0, shape)
    loss = backend.boundary_loss(*case)
    assert loss.shape == shape[:1]
    assert not loss.any()
    boundary, *labels = tensors(case)
    assert not gradients(ops.boundary_loss, boundary, torch.ones(shape[0]), *labels).any()


@values_are_checked
@pytest.mark.parametrize("value", [np.nan, -0.01, 1.01, np.inf])
def test_rejects_boundaries_outside_the_unit_interval(backend, value):
    boundary, *labels = make_case(0, (2, 19, 5))
    boundary[1, 18, 4] = value
    with pytest.raises(ValueError, match=r"boundary must lie in \[0, 1\].*image 1"):
        backend.boundary_loss(boundary, *labels)


@values_are_checked
@pytest.mark.parametrize("argument", ["instance", "semantic"])
def test_rejects_labels_below_minus_one(backend, argument):
    case = dict(zip(("boundary", "instance", "semantic"), make_case(0, (2, 3, 5)), strict=True))
    case[argument][1, 2, 4] = -2
    message = f"{argument} must be -1 or a non-negative label, got -2 in image 1"
    with pytest.raises(ValueError, match=message):
        backend.boundary_loss(**case)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kernel_size": 2}, "kernel_size must be odd and at least 3, got 2"),
        ({"kernel_size": -3}, "kernel_size must be odd and at least 3, got -3"),
        ({"dilation": 0}, "dilation must be at least 1, got 0"),
    ],
)
def test_rejects_parameters(backend, parameters, message):
    with pytest.raises(ValueError, match=message):
        backend.boundary_loss(*make_case(0, (1, 3, 4)), **parameters)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boundary": torch.zeros(3, 4)}, r"boundary must have shape \[B, H, W\], got \[3, 4\]"),
        ({"instance": torch.zeros(2, 5, 5, dtype=torch.int32)}, r"instance must have shape \[B=2,"),
        ({"semantic": torch.zeros(1, 5, 6, dtype=torch.int32)}, r"semantic must have shape \[B=2,"),
        ({"instance": torch.zeros(2, 5, 6)}, "instance must be int32, got float32"),
        (
            {"semantic": torch.zeros(2, 5, 6, dtype=torch.int64)},
            "semantic must be int32, got int64",
        ),
        (
            {"boundary": torch.zeros(2, 5, 6).half()},
            "boundary must be float32 or float64, got float16",
        ),
    ],
)
def test_rejects_bad_tensors(change, message):
    labels = torch.zeros(2, 5, 6, dtype=torch.int32)
    arguments = {"boundary": torch.zeros(2, 5, 6), "instance": labels, "semantic": labels} | change
    with pytest.raises(ValueError, match=message):
        ops.boundary_loss(**arguments)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(requires_grad):
    boundary, *labels = tensors(make_case(3, (2, 5, 6)))
    operator = torch.ops.point2mask.boundary_loss.default
    leaf = boundary.detach().requires_grad_(requires_grad)
    torch.library.opcheck(operator, (leaf, *labels, 3, 1))
    _, pairs = operator(boundary, *labels)
    torch.library.opcheck(
        torch.ops.point2mask.boundary_loss_backward.default,
        (torch.rand(2), boundary, *labels, pairs, 3, 1),
    )


def test_compiles_without_graph_breaks():
    case = tensors(make_case(4, (2, 9, 8)))
    compiled = torch.compile(ops.boundary_loss, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*case), ops.boundary_loss(*case))
    upstream = torch.tensor([1.0, 2.0])
    assert torch.equal(
        gradients(compiled, case[0], upstream, *case[1:]),
        gradients(ops.boundary_loss, case[0], upstream, *case[1:]),
    )


def test_accepts_non_contiguous_input():
    case = tensors(make_case(5, (2, 9, 7)))
    strided = [part.repeat_interleave(2, 2)[..., ::2] for part in case]
    assert not any(part.is_contiguous() for part in strided)
    assert torch.equal(ops.boundary_loss(*strided), ops.boundary_loss(*case))
    upstream = torch.ones(1).expand(2)
    assert torch.equal(
        gradients(ops.boundary_loss, strided[0], upstream, *strided[1:]),
        gradients(ops.boundary_loss, case[0], upstream, *case[1:]),
    )


def test_autocast_runs_in_float32():
    boundary, *labels = tensors(make_case(6, (2, 9, 7), levels=4))  # exact in bfloat16
    leaf = boundary.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = ops.boundary_loss(leaf, *labels)
    assert torch.equal(loss, ops.boundary_loss(boundary, *labels))
    loss.sum().backward()
    assert leaf.grad.dtype == torch.bfloat16


def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts):
    case = tensors(make_case(7, (3, 70, 33)))
    upstream = torch.tensor([1.0, 2.0, 3.0])

    def run(part):
        boundary, *labels = (tensor[part] for tensor in case)
        return (
            ops.boundary_loss(boundary, *labels, 5, 2),
            gradients(ops.boundary_loss, boundary, upstream[part], *labels, 5, 2),
        )

    check_parts(run, 3)
