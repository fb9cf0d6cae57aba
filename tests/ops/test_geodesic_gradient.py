"""The gradient of geodesic_distance: along one forest of shortest paths, the same everywhere."""

import edge_costs
import numpy as np
import pytest
import torch
from backends import has_gradient_operators

from point2mask import ops
from point2mask.ops import reference
from point2mask.ops.reference.geodesic import geodesic_distance_backward

BACKWARD = torch.ops.point2mask.geodesic_distance_backward.default


def make(name, images, height, width, dtype=torch.float32):
    rng = np.random.default_rng(1)
    costs = [getattr(edge_costs, name)(height, width, rng) for _ in range(images)]
    return torch.from_numpy(np.stack(costs)).to(dtype)


def make_seeds(*shape, pixels):
    generator = torch.Generator().manual_seed(4)
    return torch.randint(-1, pixels, shape, generator=generator, dtype=torch.int32)


def gradient(edge_cost, seeds, upstream):
    edge_cost = edge_cost.clone().requires_grad_()
    distance = ops.geodesic_distance(edge_cost, seeds)
    return torch.autograd.grad(distance, edge_cost, upstream)[0]


@pytest.mark.parametrize("name", [f.__name__ for f in edge_costs.ALL])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(13, 18), (1, 9), (9, 1), (6, 2)])
def test_equals_the_reference_bit_for_bit(name, dtype, size):
    edge_cost = make(name, 2, *size, dtype)
    seeds = make_seeds(2, 5, 2, pixels=size[0] * size[1])
    upstream = torch.randn(2, 5, *size, dtype=dtype)
    got = gradient(edge_cost, seeds, upstream)
    assert got.isfinite().all()
    distance = reference.geodesic_distance(edge_cost.numpy(), seeds.numpy())
    # Both add the same numbers in the same order in float64.
    np.testing.assert_array_equal(
        got.numpy(),
        geodesic_distance_backward(upstream.numpy(), edge_cost.numpy(), distance, seeds.numpy()),
    )


@has_gradient_operators
@pytest.mark.parametrize("name", [f.__name__ for f in edge_costs.ALL])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(13, 38), (1, 9), (6, 2)])
def test_every_backend_equals_the_reference_bit_for_bit(backend, name, dtype, size):
    edge_cost = make(name, 2, *size).numpy().astype(dtype)
    seeds = make_seeds(2, 5, 2, pixels=size[0] * size[1]).numpy()
    seeds[1, 3] = -1
    distance = reference.geodesic_distance(edge_cost, seeds)
    upstream = np.random.default_rng(2).normal(size=distance.shape).astype(dtype)
    upstream[np.isinf(distance)] = np.nan  # which must not count
    arguments = upstream, edge_cost, distance, seeds
    np.testing.assert_array_equal(
        backend.geodesic_distance_backward(*arguments), geodesic_distance_backward(*arguments)
    )


def test_gradcheck():
    # Generic costs: no two paths to a pixel are within the step of 1e-6 of each other.
    edge_cost = make("white_noise", 2, 4, 5, torch.float64).requires_grad_()
    seeds = make_seeds(2, 3, 2, pixels=20)
    seeds[:, :, 0] = seeds[:, :, 0].clamp_min(0)  # so that every distance is finite
    assert torch.autograd.gradcheck(lambda c: ops.geodesic_distance(c, seeds), (edge_cost,))


def test_counts_the_pixels_behind_a_step():
    edge_cost = torch.full((1, 8, 1, 5), 1.0)
    seeds = torch.tensor([[[1]]], dtype=torch.int32)
    got = gradient(edge_cost, seeds, torch.ones(1, 1, 1, 5))[0, :, 0]
    expected = torch.zeros(8, 5)
    expected[1] = torch.tensor([0.0, 3, 2, 1, 0])  # to the right
    expected[5, 1] = 1  # to the left
    assert torch.equal(got, expected)


def test_prefers_few_hops_then_small_directions():
    edge_cost = torch.zeros(1, 8, 3, 3)  # all distances are 0, every step is tight
    seeds = torch.tensor([[[0]]], dtype=torch.int32)
    upstream = torch.zeros(1, 1, 3, 3)
    upstream[0, 0, 2, 1] = 1  # two steps: down and down-right, or down-right and down-left, ...
    got = gradient(edge_cost, seeds, upstream)[0]
    # Into (2, 1): down (0) from (1, 1) beats down-right (2) from (1, 0). Into (1, 1): one step.
    assert [tuple(i) for i in got.nonzero().tolist()] == [(0, 1, 1), (2, 0, 0)]
    assert got.sum() == 2


def test_unreachable_pixels_and_empty_targets_have_no_gradient():
    edge_cost = make("walls", 1, 8, 9)
    edge_cost[:, :, :, 4] = edge_cost[0, :, :, 4].fill_(torch.inf)
    edge_cost[:, [1, 2, 7], :, 3] = torch.inf
    seeds = torch.tensor([[[0, -1], [-1, -1]]], dtype=torch.int32)
    distance = ops.geodesic_distance(edge_cost, seeds)
    upstream = torch.where(distance.isinf(), torch.nan, 1.0)
    got = gradient(edge_cost, seeds, upstream)
    assert distance[0, 0, :, 4:].isinf().all()
    assert got.isfinite().all()
    assert got.any()
    assert not got[..., 4:].any()


def test_steps_that_leave_the_image_have_no_gradient():
    edge_cost = make("white_noise", 1, 6, 7)
    got = gradient(edge_cost, make_seeds(1, 9, 1, pixels=42), torch.ones(1, 9, 6, 7))
    inside = torch.zeros_like(edge_cost, dtype=torch.bool)
    for d, (here, _) in enumerate(edge_costs.pairs(6, 7)):
        inside[0, d][here] = True
    assert not got[~inside].any()


def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts):
    edge_cost, seeds = make("white_noise", 3, 33, 65), make_seeds(3, 20, 2, pixels=33 * 65)
    upstream = torch.randn(3, 20, 33, 65)
    check_parts(lambda part: gradient(edge_cost[part], seeds[part], upstream[part]), len(seeds))


@pytest.mark.parametrize(
    "shape", [(0, 2, 1, 3, 4), (1, 0, 1, 3, 4), (1, 2, 0, 3, 4), (1, 2, 1, 0, 4)]
)
def test_empty_input(shape):
    images, targets, points, height, width = shape
    edge_cost = torch.ones(images, 8, height, width)
    seeds = torch.full((images, targets, points), -1, dtype=torch.int32)
    got = gradient(edge_cost, seeds, torch.ones(images, targets, height, width))
    assert torch.equal(got, torch.zeros_like(edge_cost))


def test_backward_rejects_bad_arguments():
    cost, distance = torch.ones(1, 8, 3, 4), torch.zeros(1, 2, 3, 4)
    seeds = torch.zeros(1, 2, 1, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"seeds must lie in \[-1, 12\), got 12 in image 0"):
        BACKWARD(distance, cost, distance, seeds + 12)
    with pytest.raises(ValueError, match=r"distance must have shape \[B=1, K=2, H=3, W=4\]"):
        BACKWARD(distance, cost, distance[:, :1], seeds)
    with pytest.raises(ValueError, match="grad_distance must be float32, got float64"):
        BACKWARD(distance.double(), cost, distance, seeds)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(requires_grad):
    edge_cost, seeds = make("white_noise", 2, 5, 6), make_seeds(2, 3, 2, pixels=30)
    operator = torch.ops.point2mask.geodesic_distance.default
    torch.library.opcheck(operator, (edge_cost.clone().requires_grad_(requires_grad), seeds))
    distance = ops.geodesic_distance(edge_cost, seeds)
    torch.library.opcheck(BACKWARD, (torch.rand_like(distance), edge_cost, distance, seeds))


def test_compiles_without_graph_breaks():
    edge_cost, seeds = make("smooth", 2, 5, 6), make_seeds(2, 3, 2, pixels=30).clamp_min(0)
    edge_cost.requires_grad_()
    compiled = torch.compile(ops.geodesic_distance, fullgraph=True, backend="aot_eager")
    results = []
    for function in (compiled, ops.geodesic_distance):
        distance = function(edge_cost, seeds)
        results.append((distance, *torch.autograd.grad(distance.square().sum(), edge_cost)))
    for got, expected in zip(*results, strict=True):
        assert torch.equal(got, expected)


def test_accepts_non_contiguous_input():
    edge_cost = make("white_noise", 2, 6, 8).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    seeds = make_seeds(3, 2, 2, pixels=48).transpose(0, 1)
    upstream = torch.randn(8, 6, 3, 2).permute(3, 2, 1, 0)
    copies = [t.contiguous() for t in (edge_cost, seeds, upstream)]
    assert not edge_cost.is_contiguous()
    assert torch.equal(ops.geodesic_distance(edge_cost, seeds), ops.geodesic_distance(*copies[:2]))
    assert torch.equal(gradient(edge_cost, seeds, upstream), gradient(*copies))


def test_autocast_runs_in_float32():
    edge_cost = make("white_noise", 1, 5, 6).bfloat16().requires_grad_()
    seeds = torch.zeros(1, 1, 1, dtype=torch.int32)
    with torch.autocast("cpu", torch.bfloat16):
        distance = ops.geodesic_distance(edge_cost, seeds)
    assert distance.dtype == torch.float32
    assert torch.equal(distance, ops.geodesic_distance(edge_cost.detach().float(), seeds))
    distance.sum().backward()
    assert edge_cost.grad.dtype == torch.bfloat16
