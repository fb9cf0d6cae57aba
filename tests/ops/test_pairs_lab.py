"""lab_affinity_loss: every backend against the reference and against unfold with autograd."""

import numpy as np
import pytest
import torch
import unfolded
from backends import values_are_checked
from hypothesis import given
from hypothesis import strategies as st

from point2mask import ops
from point2mask.ops import reference

# Sums of up to some hundred float32 logarithms of dot products, each good to about 1e-6.
TOLERANCE = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-11}
WINDOWS = [(3, 1), (3, 2), (3, 3), (5, 1), (5, 2), (3, 50), (7, 4)]


def make_case(seed, shape, dtype=np.float32, spread=3.0, valid=None):
    """Colours are integers: squared distances then never lie within rounding of the threshold."""
    images, _, height, width = shape
    rng = np.random.default_rng(seed)
    logits = (spread * rng.normal(size=shape)).astype(dtype)
    lab = rng.integers(0, 4, (images, 3, height, width)).astype(dtype)
    mask = None if valid is None else rng.random((images, height, width)) < valid
    return logits, lab, mask


cases = st.builds(
    make_case,
    seed=st.integers(0, 2**20),
    shape=st.tuples(
        st.integers(1, 2),
        st.sampled_from([1, 2, 5, 9]),
        st.integers(1, 40),
        st.sampled_from([1, 2, 7, 37]),
    ),
    dtype=st.sampled_from([np.float32, np.float64]),
    # At 100, agreement underflows in float32 and takes the way of the log domain; at 1e4 always.
    spread=st.sampled_from([0.5, 5.0, 100.0, 1e4]),
    valid=st.sampled_from([None, 0.3, 0.9]),
)


def tensors(case):
    return [None if part is None else torch.from_numpy(part) for part in case]


def gradients(function, logits, upstream, *args, **kwargs):
    leaf = logits.detach().clone().requires_grad_()
    return torch.autograd.grad(function(leaf, *args, **kwargs), leaf, upstream)[0]


@given(
    case=cases,
    window=st.sampled_from(WINDOWS),
    theta=st.sampled_from([1.0, 2.0]),
    threshold=st.sampled_from([0.05, 0.3, 1.0]),
)
def test_equals_the_reference(backend, case, window, theta, threshold):
    logits, lab, valid = case
    got = backend.lab_affinity_loss(logits, lab, *window, theta, threshold, valid)
    expected = reference.lab_affinity_loss(logits, lab, *window, theta, threshold, valid)
    tolerance = TOLERANCE[logits.dtype]
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    assert (got >= (-tolerance if backend.name == "reference" else 0)).all()


@given(case=cases, window=st.sampled_from([(3, 1), (3, 2), (5, 2)]))
def test_loss_and_gradient_equal_unfold_with_autograd(case, window):
    logits, lab, valid = tensors(case)
    upstream = torch.linspace(1, 2, logits.shape[0], dtype=logits.dtype)
    expected = unfolded.lab_affinity_loss(logits.double(), lab.double(), *window, valid=valid)
    got = ops.lab_affinity_loss(logits, lab, *window, valid=valid)
    tolerance = TOLERANCE[case[0].dtype]
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)
    got = gradients(ops.lab_affinity_loss, logits, upstream, lab, *window, valid=valid)
    expected = gradients(
        unfolded.lab_affinity_loss,
        logits.double(),
        upstream.double(),
        lab.double(),
        *window,
        valid=valid,
    )
    # A pixel's gradient is a difference of up to 24 posteriors and probabilities over the pairs.
    scale = float(expected.abs().max())
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=tolerance * scale + 1e-30)


@pytest.mark.parametrize("axis", [2, 3])
def test_mirrored_images_have_the_same_loss(backend, axis):
    logits, lab, _ = make_case(1, (2, 4, 21, 19))
    loss = backend.lab_affinity_loss(logits, lab, 5, 2)
    mirrored = backend.lab_affinity_loss(
        *(np.ascontiguousarray(np.flip(part, axis)) for part in (logits, lab)), 5, 2
    )
    np.testing.assert_allclose(mirrored, loss, rtol=1e-6)  # another order of addition
    turned = backend.lab_affinity_loss(
        *(np.ascontiguousarray(part.swapaxes(2, 3)) for part in (logits, lab)), 5, 2
    )
    np.testing.assert_allclose(turned, loss, rtol=1e-6)


def test_adding_a_constant_to_the_logits_of_a_pixel_changes_nothing(backend):
    logits, lab, _ = make_case(2, (2, 4, 9, 11), np.float64)
    shift = np.random.default_rng(0).normal(size=(2, 1, 9, 11)) * 100
    loss = backend.lab_affinity_loss(logits, lab)
    np.testing.assert_allclose(backend.lab_affinity_loss(logits + shift, lab), loss, rtol=1e-10)


def test_literal_case(backend):
    # Two pixels of like colour with p = (3/4, 1/4) and (1/4, 3/4), and one of another colour.
    logits = np.log(np.array([[[[3.0, 1.0, 9.0]], [[1.0, 3.0, 1.0]]]]))
    lab = np.zeros((1, 3, 1, 3))
    lab[:, :, :, 2] = 50
    loss = backend.lab_affinity_loss(logits, lab, 3, 1)
    np.testing.assert_allclose(loss, -np.log(6 / 16), rtol=1e-12)
    # By dilation 2 the first and the last pixel meet: no pair is near.
    np.testing.assert_array_equal(backend.lab_affinity_loss(logits, lab, 3, 2), 0)


def test_threshold_bounds_the_distance(backend):
    logits = np.log(np.array([[[[3.0, 1.0]], [[1.0, 3.0]]]]))
    lab = np.zeros((1, 3, 1, 2))
    for distance, near in ((2.40, True), (2.41, False)):  # 2 log(1 / 0.3) = 2.408
        lab[0, 1, 0, 1] = distance
        assert (backend.lab_affinity_loss(logits, lab, 3, 1)[0] > 0) == near


def test_agreeing_pixels_cost_nothing(backend):
    logits = np.zeros((1, 5, 6, 7), np.float32)
    logits[:, 3] = 50
    loss = backend.lab_affinity_loss(logits, np.zeros((1, 3, 6, 7), np.float32))
    np.testing.assert_allclose(loss, 0, atol=1e-12)
    one_class = backend.lab_affinity_loss(logits[:, :1], np.zeros((1, 3, 6, 7), np.float32))
    np.testing.assert_array_equal(one_class, 0)


@pytest.mark.parametrize("window", [(3, 2), (5, 2)])
def test_valid_pixels_are_as_if_cropped(backend, window):
    logits, lab, _ = make_case(3, (2, 4, 45, 23))
    y, x = slice(5, 40), slice(3, 17)
    valid = np.zeros((2, 45, 23), bool)
    valid[:, y, x] = True
    cropped = backend.lab_affinity_loss(
        np.ascontiguousarray(logits[..., y, x]), np.ascontiguousarray(lab[..., y, x]), *window
    )
    logits[:, :, ~valid[0]] = np.nan  # what lies in the padding must not matter
    lab[:, :, ~valid[0]] = np.inf
    got = backend.lab_affinity_loss(logits, lab, *window, valid=valid)
    np.testing.assert_allclose(got, cropped, rtol=1e-6)  # another order of addition


def test_padding_gets_no_gradient_and_changes_none():
    logits, lab, valid = tensors(make_case(4, (2, 4, 20, 13), valid=0.7))
    wild = logits.clone()
    wild[~valid[:, None].expand_as(wild)] = float("nan")
    grads = [
        gradients(ops.lab_affinity_loss, z, torch.ones(2), lab, valid=valid) for z in (logits, wild)
    ]
    assert torch.equal(*grads)
    assert not grads[0][~valid[:, None].expand_as(logits)].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_stay_finite(dtype):
    sign = torch.randint(0, 2, (2, 5, 8, 9), generator=torch.Generator().manual_seed(0))
    logits = (20000.0 * sign - 10000.0).to(dtype).requires_grad_()
    loss = ops.lab_affinity_loss(logits, torch.zeros(2, 3, 8, 9, dtype=dtype))
    assert torch.isfinite(loss).all()
    assert (loss > 1000).all()
    loss.sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.any()


@pytest.mark.parametrize("window", [(3, 1), (5, 1), (3, 2)])
@pytest.mark.parametrize("spread", [1.0, 200.0, 2000.0])
def test_gradcheck(window, spread):
    logits, lab, valid = tensors(make_case(5, (2, 3, 5, 4), np.float64, spread, valid=0.9))
    assert torch.autograd.gradcheck(
        lambda z: ops.lab_affinity_loss(z, lab, *window, valid=valid), (logits.requires_grad_(),)
    )


@pytest.mark.parametrize(
    ("shape", "window"), [((1, 2, 1, 1), (3, 1)), ((2, 2, 3, 4), (3, 9)), ((2, 2, 3, 4), (5, 4))]
)
def test_no_pair_inside_the_image_gives_zero(backend, shape, window):
    logits, lab, _ = make_case(6, shape)
    np.testing.assert_array_equal(backend.lab_affinity_loss(logits, lab, *window), 0)
    leaf = torch.from_numpy(logits).requires_grad_()
    ops.lab_affinity_loss(leaf, torch.from_numpy(lab), *window).sum().backward()
    assert not leaf.grad.any()


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 2, 0, 4), (2, 2, 3, 0)])
def test_empty_maps(backend, shape):
    loss = backend.lab_affinity_loss(*make_case(0, shape)[:2])
    assert loss.shape == shape[:1]
    assert not loss.any()
    leaf = torch.zeros(shape, requires_grad=True)
    ops.lab_affinity_loss(leaf, torch.zeros(shape[0], 3, *shape[2:])).sum().backward()
    assert leaf.grad.shape == shape


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd and at least 3, got 4"),
        ({"kernel_size": 1}, "kernel_size must be odd and at least 3, got 1"),
        ({"dilation": 0}, "dilation must be at least 1, got 0"),
        ({"theta": 0.0}, "theta must be positive, got 0"),
        ({"theta": float("nan")}, "theta must be positive, got nan"),
        ({"threshold": 0.0}, r"threshold must lie in \(0, 1\], got 0"),
        ({"threshold": 1.5}, r"threshold must lie in \(0, 1\], got 1.5"),
    ],
)
def test_rejects_parameters(backend, parameters, message):
    logits, lab, _ = make_case(0, (1, 2, 3, 4))
    with pytest.raises(ValueError, match=message):
        backend.lab_affinity_loss(logits, lab, **parameters)


@values_are_checked
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("argument", ["logits", "lab"])
def test_rejects_values_that_are_not_finite(backend, argument, value):
    logits, lab, _ = make_case(0, (2, 3, 7, 5))
    {"logits": logits, "lab": lab}[argument][1, 2, 6, 4] = value
    with pytest.raises(ValueError, match=f"{argument} must be finite.*in image 1"):
        backend.lab_affinity_loss(logits, lab)


def test_rejects_no_channels(backend):
    with pytest.raises(ValueError, match="at least one channel, got 0"):
        backend.lab_affinity_loss(np.zeros((1, 0, 3, 4)), np.zeros((1, 3, 3, 4)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(3, 4)}, r"logits must have shape \[B, C, H, W\], got \[3, 4\]"),
        ({"lab": torch.zeros(2, 1, 5, 6)}, r"lab must have shape \[B=2, 3, H=5, W=6\], got"),
        ({"lab": torch.zeros(2, 3, 5, 6, dtype=torch.double)}, "lab must be float32, got float64"),
        ({"valid": torch.ones(2, 5, 7, dtype=torch.bool)}, r"valid must have shape \[B=2, H=5, W"),
        ({"valid": torch.ones(2, 5, 6)}, "valid must be bool, got float32"),
    ],
)
def test_rejects_bad_tensors(change, message):
    arguments = {"logits": torch.zeros(2, 4, 5, 6), "lab": torch.zeros(2, 3, 5, 6)} | change
    with pytest.raises(ValueError, match=message):
        ops.lab_affinity_loss(**arguments)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(requires_grad):
    logits, lab, valid = tensors(make_case(7, (2, 3, 5, 6), valid=0.9))
    operator = torch.ops.point2mask.lab_affinity_loss.default
    for mask in (None, valid):
        leaf = logits.detach().requires_grad_(requires_grad)
        torch.library.opcheck(operator, (leaf, lab, 3, 1, 2.0, 0.3, mask))
    _, pairs = operator(logits, lab)
    torch.library.opcheck(
        torch.ops.point2mask.lab_affinity_loss_backward.default,
        (torch.rand(2), logits, lab, pairs, 3, 1, 2.0, 0.3, None),
    )


def test_compiles_without_graph_breaks():
    logits, lab, valid = tensors(make_case(8, (2, 3, 9, 8), valid=0.9))
    compiled = torch.compile(ops.lab_affinity_loss, fullgraph=True, backend="aot_eager")
    assert torch.equal(
        compiled(logits, lab, valid=valid), ops.lab_affinity_loss(logits, lab, valid=valid)
    )
    upstream = torch.tensor([1.0, 2.0])
    assert torch.equal(
        gradients(compiled, logits, upstream, lab),
        gradients(ops.lab_affinity_loss, logits, upstream, lab),
    )


def test_accepts_non_contiguous_input():
    logits, lab, valid = tensors(make_case(9, (2, 4, 9, 7), valid=0.8))
    strided = [
        logits.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1),
        lab.repeat_interleave(2, 3)[..., ::2],
        valid.transpose(1, 2).contiguous().transpose(1, 2),
    ]
    assert not any(part.is_contiguous() for part in strided)
    assert torch.equal(
        ops.lab_affinity_loss(strided[0], strided[1], valid=strided[2]),
        ops.lab_affinity_loss(logits, lab, valid=valid),
    )
    upstream = torch.ones(1).expand(2)
    assert torch.equal(
        gradients(ops.lab_affinity_loss, strided[0], upstream, strided[1], valid=strided[2]),
        gradients(ops.lab_affinity_loss, logits, upstream, lab, valid=valid),
    )


def test_autocast_runs_in_float32():
    logits, lab, _ = tensors(make_case(10, (2, 4, 9, 7)))
    leaf = logits.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = ops.lab_affinity_loss(leaf, lab.bfloat16())
    assert torch.equal(loss, ops.lab_affinity_loss(leaf.float(), lab))
    loss.sum().backward()
    assert leaf.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("spread", [3.0, 300.0])
def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts, spread):
    logits, lab, valid = tensors(make_case(11, (3, 5, 70, 33), spread=spread, valid=0.9))
    upstream = torch.tensor([1.0, 2.0, 3.0])

    def run(part):
        arguments = {"lab": lab[part], "kernel_size": 5, "valid": valid[part]}
        return (
            ops.lab_affinity_loss(logits[part], **arguments),
            gradients(ops.lab_affinity_loss, logits[part], upstream[part], **arguments),
        )

    check_parts(run, 3)
