"""deformable_attention: bilinear reads against the reference and against grid_sample."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from backends import has_gradient_operators
from hypothesis import given
from hypothesis import strategies as st

from point2mask import ops
from point2mask.ops import reference

OPERATOR = torch.ops.point2mask.deformable_attention.default
BACKWARD = torch.ops.point2mask.deformable_attention_backward.default


def problem(shapes, *, images=2, queries=3, heads=2, channels=5, points=2, seed=0, spread=1.5):
    """Arguments in float64; ``spread`` above 1 reads outside the maps too."""
    rng = np.random.default_rng(seed)
    cells = sum(h * w for h, w in shapes)
    value = rng.normal(size=(images, cells, heads, channels))
    where = 0.5 + spread * (rng.random((images, queries, heads, len(shapes), points, 2)) - 0.5)
    weight = rng.normal(size=where.shape[:-1])
    return value, where, weight, np.array(shapes, np.int64).reshape(-1, 2)


def tensors(case, dtype=torch.float64):
    return [torch.from_numpy(a).to(dtype) for a in case[:3]] + [torch.from_numpy(case[3])]


def sample_by_level(value, where, weight, shapes):
    """The operator, written independently with ``grid_sample``."""
    batch, count, heads = where.shape[:3]
    grid = (2 * where - 1).transpose(1, 2).flatten(0, 1)  # [B·M, Q, L, P, 2]
    weight = weight.transpose(1, 2).flatten(0, 1)[:, None]  # [B·M, 1, Q, L, P]
    sizes = shapes.tolist()
    total = value.new_zeros(batch * heads, value.shape[-1], count)
    for level, part in enumerate(value.split([h * w for h, w in sizes], 1)):
        maps = part.permute(0, 2, 3, 1).reshape(batch * heads, -1, *sizes[level])
        sampled = F.grid_sample(maps, grid[:, :, level], align_corners=False)  # [B·M, C, Q, P]
        total = total + (sampled * weight[:, :, :, level]).sum(-1)
    return total.view(batch, heads, -1, count).permute(0, 3, 1, 2)


SHAPES = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 7)), min_size=1, max_size=3)


@given(shapes=SHAPES, channels=st.integers(0, 17), seed=st.integers(0, 99))
def test_equals_the_reference(backend, shapes, channels, seed):
    case = problem(shapes, channels=channels, seed=seed)
    got = backend.deformable_attention(*case)
    np.testing.assert_allclose(got, reference.deformable_attention(*case), rtol=0, atol=1e-12)


@has_gradient_operators
@given(shapes=SHAPES, channels=st.sampled_from([1, 4, 12, 17, 33]), seed=st.integers(0, 99))
def test_equals_grid_sample_with_its_gradients(backend, shapes, channels, seed):
    case = problem(shapes, channels=channels, seed=seed)
    *inputs, sizes = tensors(case)
    inputs = [t.requires_grad_() for t in inputs]
    expected = sample_by_level(*inputs, sizes)
    upstream = np.random.default_rng(1).normal(size=expected.shape)
    gradients = torch.autograd.grad(expected, inputs, torch.from_numpy(upstream))
    results = (
        backend.deformable_attention(*case),
        *backend.deformable_attention_backward(upstream, *case),
    )
    for got, want in zip(results, (expected.detach(), *gradients), strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-11, atol=1e-11)


def test_reads_the_centres_of_cells(backend):
    height, width = 3, 4
    value = np.arange(12.0).reshape(1, 12, 1, 1)
    row, column = np.mgrid[:height, :width]
    where = np.stack([(column + 0.5) / width, (row + 0.5) / height], -1).reshape(1, 12, 1, 1, 1, 2)
    weight = np.ones((1, 12, 1, 1, 1))
    got = backend.deformable_attention(value, where, weight, np.array([[height, width]]))
    np.testing.assert_allclose(got, value, atol=1e-12)


def test_outside_and_nan_read_nothing(backend):
    value, where, weight, shapes = problem([(2, 3)])
    far = [-0.5, 1.5, 1e30, -1e30, np.inf, -np.inf, np.nan]
    for x in far:
        for axis in (0, 1):
            moved = where.copy()
            moved[..., axis] = x
            got = backend.deformable_attention(value, moved, weight, shapes)
            assert not got.any()


@has_gradient_operators
def test_points_outside_and_nan_have_finite_gradients(backend):
    value, where, weight, shapes = problem([(2, 3)])
    where[:, 0] = np.nan
    where[:, 1, ..., 0] = 1e30
    upstream = np.ones((2, 3, 2, 5))
    grads = backend.deformable_attention_backward(upstream, value, where, weight, shapes)
    assert all(np.isfinite(grad).all() for grad in grads)
    assert not grads[1][:, :2].any()
    assert not grads[2][:, :2].any()


@has_gradient_operators
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_on_the_kinks_take_the_same_side_as_on_the_cpu(backend, dtype):
    """Centres and borders of cells and the floats beside them, where gradients jump."""
    shapes = [(3, 7)]
    kinks = np.unique(
        np.concatenate([np.arange(-1, 2 * w + 2) / (2 * w) for w in shapes[0]])
    ).astype(dtype)
    kinks = np.concatenate([np.nextafter(kinks, dtype(-9)), kinks, np.nextafter(kinks, dtype(9))])
    case = problem(shapes, images=1, queries=len(kinks), points=len(kinks), channels=2, heads=1)
    value, where, weight = (a.astype(dtype) for a in case[:3])
    where[..., 0] = kinks[:, None, None, None]
    where[..., 1] = kinks
    upstream = np.ones((1, len(kinks), 1, 2), dtype)
    arguments = upstream, value, where, weight, case[3]
    on_the_cpu = BACKWARD(*map(torch.from_numpy, arguments))
    for got, want in zip(
        backend.deformable_attention_backward(*arguments), on_the_cpu, strict=True
    ):
        tolerance = 100 * np.finfo(dtype).eps * want.abs().max().item()
        np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=tolerance)


@has_gradient_operators
@pytest.mark.parametrize("sizes", [{"queries": 0}, {"points": 0}, {"channels": 0}, {"heads": 0}])
def test_empty_input_has_empty_gradients(backend, sizes):
    case = problem([(2, 3), (0, 4)], **sizes)
    output = backend.deformable_attention(*case)
    assert not output.any()
    grads = backend.deformable_attention_backward(np.ones_like(output), *case)
    for grad, given_ in zip(grads, case[:3], strict=True):
        assert grad.shape == given_.shape
        assert not grad.any()


@pytest.mark.parametrize("shapes", [[(3, 4)], [(1, 1), (2, 5), (4, 3)]])
def test_gradcheck(shapes):
    inputs = [t.requires_grad_() for t in tensors(problem(shapes, spread=0.9))[:3]]
    sizes = torch.tensor(shapes)
    assert torch.autograd.gradcheck(lambda *x: ops.deformable_attention(*x, sizes), inputs)


@pytest.mark.parametrize("sizes", [{"images": 0}, {"queries": 0}, {"heads": 0}, {"points": 0}])
def test_empty_input(sizes):
    case = tensors(problem([(2, 3)], **sizes))
    inputs = [t.requires_grad_() for t in case[:3]]
    output = ops.deformable_attention(*inputs, case[3])
    assert not output.any()
    for grad, given_ in zip(torch.autograd.grad(output.sum(), inputs), inputs, strict=True):
        assert grad.shape == given_.shape
        assert not grad.any()


def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts):
    case = tensors(problem([(9, 13), (5, 7)], images=3, queries=170), torch.float32)

    def run(images):
        inputs = [t[images].clone().requires_grad_() for t in case[:3]]
        output = ops.deformable_attention(*inputs, case[3])
        return output, *torch.autograd.grad(output.square().sum(), inputs)

    check_parts(run, 3)


@pytest.mark.backends("cpu", "cuda")  # neither the reference nor a launcher checks
def test_rejects_bad_arguments(backend):
    value, where, weight, shapes = problem([(2, 3)])
    call = backend.deformable_attention
    with pytest.raises(ValueError, match=r"value must have shape \[B, S, M, C\], got \[6, 2, 5\]"):
        call(value[0], where, weight, shapes)
    with pytest.raises(ValueError, match=r"where must have shape \[B=2, Q, M=2, L, P, xy=2\]"):
        call(value, where[..., :1], weight, shapes)
    with pytest.raises(ValueError, match=r"weight must have shape \[B=2, Q=3, M=2, L=1, P=2\]"):
        call(value, where, weight[:, :2], shapes)
    with pytest.raises(ValueError, match=r"shapes must have S=6 cells together, got 4"):
        call(value, where, weight, np.array([[2, 2]]))


def test_rejects_other_dtypes_and_hostile_shapes():
    value, where, weight, shapes = tensors(problem([(2, 3)]))
    with pytest.raises(ValueError, match="where must be float64, got float32"):
        ops.deformable_attention(value, where.float(), weight, shapes)
    with pytest.raises(ValueError, match="shapes must be int64, got int32"):
        ops.deformable_attention(value, where, weight, shapes.int())
    for bad in ([[-2, -3]], [[2**62, 4]]):
        with pytest.raises(ValueError, match=r"shapes must lie in \[0, S=6\]"):
            ops.deformable_attention(value, where, weight, torch.tensor(bad))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(requires_grad):
    case = tensors(problem([(2, 3), (1, 2)]))
    inputs = [t.clone().requires_grad_(requires_grad) for t in case[:3]]
    torch.library.opcheck(OPERATOR, (*inputs, case[3]))
    torch.library.opcheck(BACKWARD, (torch.rand(2, 3, 2, 5, dtype=torch.float64), *case))


def test_compiles_without_graph_breaks():
    case = tensors(problem([(2, 3), (1, 2)]))
    inputs = [t.requires_grad_() for t in case[:3]]
    compiled = torch.compile(ops.deformable_attention, fullgraph=True, backend="aot_eager")
    results = []
    for function in (compiled, ops.deformable_attention):
        output = function(*inputs, case[3])
        results.append((output, *torch.autograd.grad(output.square().sum(), inputs)))
    for got, expected in zip(*results, strict=True):
        assert torch.equal(got, expected)


def test_autocast_runs_in_float32():
    value, where, weight, shapes = tensors(problem([(2, 3)]), torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        got = ops.deformable_attention(value, where, weight, shapes)
    assert got.dtype == torch.float32
    expected = ops.deformable_attention(value.float(), where.float(), weight.float(), shapes)
    assert torch.equal(got, expected)
