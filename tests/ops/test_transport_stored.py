"""Costs stored in 16 bits: read without rounding, computed with in float32."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transport_problems import RELAXATIONS, accumulated_rounding, problems

from point2mask import ops
from point2mask.ops import reference

HALVES = (torch.float16, torch.bfloat16)
ROUNDING = {torch.float16: 2**-11, torch.bfloat16: 2**-8}  # relative, where float16 is normal
INF = math.inf


def rounded(cost, dtype):
    """A float32 cost as it comes back from storage."""
    return torch.from_numpy(cost).to(dtype).float().numpy()


@given(
    case=problems((np.float32,)),
    dtype=st.sampled_from(HALVES),
    epsilon=st.sampled_from([1e-3, 1e-2, 0.1, 1.0]),
    iterations=st.sampled_from([0, 1, 20]),
    relaxations=st.sampled_from(RELAXATIONS),
)
def test_sinkhorn_follows_the_reference_on_rounded_costs(
    backend, case, dtype, epsilon, iterations, relaxations
):
    """Within the bound that holds for costs of float32."""
    cost, supply, demand = case
    stored = backend.stored(cost, dtype)
    potential, done, error = backend.sinkhorn(
        stored, supply, demand, epsilon, iterations, 0.0, *relaxations
    )
    cost = rounded(cost, dtype)
    expected = reference.sinkhorn(cost, supply, demand, epsilon, iterations, 0.0, *relaxations)
    bound = accumulated_rounding(cost, expected[0], epsilon, iterations, np.float32)
    np.testing.assert_allclose(potential, expected[0], rtol=0, atol=bound)
    np.testing.assert_array_equal(done, expected[1])
    relative = np.expm1(min(4 * bound / epsilon, 1.0))
    np.testing.assert_allclose(error, expected[2], rtol=relative, atol=relative)


@pytest.mark.backends("cpu", "simt", "cuda")
@pytest.mark.parametrize("dtype", HALVES)
def test_every_number_is_read_as_it_is(backend, dtype):
    """All that a cost may be, NaN and infinities too, which the labels compare with."""
    bits = torch.arange(-(1 << 15), 1 << 15).to(torch.int16)
    cost = bits.view(dtype).float().numpy()
    cost = np.stack([cost, np.roll(cost, 12345)])[None]
    demand = np.ones((1, cost.shape[2]), np.float32)
    potential = np.float32([[0, 1e-5]])
    stored, full = (backend.stored(cost, kind) for kind in (dtype, torch.float32))
    labels = [backend.transport_labels(c, potential, demand) for c in (stored, full)]
    np.testing.assert_array_equal(*labels)
    usable = np.isfinite(cost).all((0, 1))
    for epsilon in (1e-6, 1.0, 1e5):
        plans = [backend.transport_plan(c, potential, demand, epsilon) for c in (stored, full)]
        assert plans[0].dtype == np.float32
        np.testing.assert_array_equal(*(plan[..., usable] for plan in plans))


@pytest.mark.backends("cpu", "simt", "cuda")
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("relaxations", [(INF, INF), (0.5, 0.2)])
def test_potentials_have_the_bits_of_float32_costs(backend, dtype, relaxations):
    rng = np.random.default_rng(3)
    cost = rounded(rng.random((2, 5, 700), np.float32), dtype)
    cost[0, 1, ::3] = INF
    cost[1, 2] += 12  # underflows at first
    cost = rounded(cost, dtype)
    demand = rng.random((2, 700), np.float32)
    supply = np.full((2, 5), 1, np.float32) * demand.sum(1, keepdims=True) / 5
    rest = supply, demand, 0.1, 20, 0.0, *relaxations, None
    variants = ("resident", "streaming", "logarithmic") if backend.name == "simt" else (None,)
    for variant in variants:
        how = () if variant is None else (variant,)
        results = [
            backend.sinkhorn(backend.stored(cost, kind), *rest, *how)
            for kind in (dtype, torch.float32)
        ]
        for got, want in zip(*results, strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", HALVES)
def test_what_storage_costs(dtype):
    """A cost moves by its rounding, a solution by no more than twice the largest move."""
    rng = np.random.default_rng(4)
    cost = rng.random((1, 6, 2000))
    supply, demand = np.full((1, 6), 2000 / 6), np.ones((1, 2000))
    moved = np.abs(rounded(cost.astype(np.float32), dtype) - cost).max()
    assert moved <= ROUNDING[dtype] * cost.max()
    exact = reference.sinkhorn(cost, supply, demand, 0.05, 5000, 1e-12)[0]
    stored, *_ = ops.sinkhorn(
        torch.from_numpy(cost).to(dtype),
        *(torch.from_numpy(x).float() for x in (supply, demand)),
        0.05,
        500,
    )
    assert np.abs(stored.numpy() - exact).max() <= 2 * moved


@pytest.mark.parametrize("dtype", HALVES)
def test_newton_reads_them_too(backend, dtype):
    cost = rounded(np.random.default_rng(5).random((1, 4, 60), np.float32), dtype)
    supply, demand = np.full((1, 4), 15, np.float32), np.ones((1, 60), np.float32)
    found, wanted = (
        backend.sinkhorn(
            backend.stored(cost, kind), supply, demand, 0.01, 50, 1e-6, method="newton"
        )
        for kind in (dtype, torch.float32)
    )
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want)


def everything(cost, supply, demand):
    potential = ops.sinkhorn(cost, supply, demand, 0.1, 30).potential
    plan = ops.transport_plan(cost, potential, demand, 0.1)
    return potential, plan, ops.transport_labels(cost, potential, demand)


def arguments(dtype):
    generator = torch.Generator().manual_seed(6)
    cost = torch.rand(2, 3, 40, generator=generator).to(dtype)
    return cost, torch.full((2, 3), 40 / 3), torch.ones(2, 40)


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients_are_those_of_float32_costs(dtype):
    inputs = arguments(dtype)
    results = []
    for kind in (dtype, torch.float32):
        copies = [inputs[0].to(kind, copy=True), *(x.clone() for x in inputs[1:])]
        for x in copies:
            x.requires_grad_()
        potential, plan, _ = everything(*copies)
        (plan.square().sum() + potential.square().sum()).backward()
        assert copies[0].grad.dtype == kind
        results.append([x.grad for x in copies])
    # Both operators round their gradient; the sum is rounded again.
    halves, full = results
    room = 4 * ROUNDING[dtype] * full[0].abs().max().item()
    torch.testing.assert_close(halves[0].float(), full[0], rtol=0, atol=room)
    assert torch.equal(halves[1], full[1])
    assert torch.equal(halves[2], full[2])


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's look at its own copies
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("grad", [False, True])
def test_are_well_behaved_operators(dtype, grad):
    cost, supply, demand = (x.requires_grad_(grad) for x in arguments(dtype))
    potential = torch.zeros(2, 3, requires_grad=grad)
    op = torch.ops.point2mask
    # How far a gradient of 16 bits is from another computation of it is not asked.
    options = {} if not grad else {"rtol": 4 * ROUNDING[dtype], "atol": 4 * ROUNDING[dtype]}
    torch.library.opcheck(
        op.sinkhorn.default, (cost, supply, demand, 0.1, 50, 0.0, INF, INF, None), **options
    )
    torch.library.opcheck(op.transport_plan.default, (cost, potential, demand, 0.1, INF), **options)
    if not grad:
        torch.library.opcheck(op.transport_labels.default, (cost, potential, demand))
        torch.library.opcheck(
            op.sinkhorn_newton.default, (cost, supply, demand, 0.1, 20, 1e-6, None)
        )


@pytest.mark.parametrize("dtype", HALVES)
def test_compiles_without_graph_breaks(dtype):
    compiled = torch.compile(everything, fullgraph=True, backend="aot_eager")
    results = []
    for function in (compiled, everything):
        inputs = arguments(dtype)
        inputs[0].requires_grad_()
        outputs = function(*inputs)
        outputs[1].square().sum().backward()
        results.append((*outputs, inputs[0].grad))
    for got, expected in zip(*results, strict=True):
        assert got.dtype == expected.dtype
        assert torch.equal(got, expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_all_but_the_cost_are_float32(dtype):
    cost, supply, demand = arguments(dtype)
    with pytest.raises(ValueError, match=r"^sinkhorn: supply must be float32, got"):
        ops.sinkhorn(cost, supply.to(dtype), demand)
    with pytest.raises(ValueError, match=r"^transport_plan: demand must be float32, got"):
        ops.transport_plan(cost, supply, demand.to(dtype), 0.1)
    with pytest.raises(ValueError, match=r"^transport_labels: potential must be float32, got"):
        ops.transport_labels(cost, supply.double(), demand)
    with pytest.raises(
        ValueError, match=r"^sinkhorn: cost must be float32, float64, float16 or bf"
    ):
        ops.sinkhorn(cost.int(), supply, demand)
    for name, others in (
        ("sinkhorn_backward", (supply, demand, supply, 0.1, INF, INF)),
        ("transport_plan_backward", (supply, demand, 0.1, INF)),
    ):
        grad = supply if name == "sinkhorn_backward" else cost.float()
        with pytest.raises(ValueError, match=f"^{name}: cost must be float32 or float64, got"):
            getattr(torch.ops.point2mask, name).default(grad, cost, *others)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("value", [math.nan, -INF])
def test_bad_costs_are_named(dtype, value):
    cost, supply, demand = arguments(dtype)
    cost[1, 2, 3] = value
    message = rf"^sinkhorn: cost must be finite or \+inf, got {value} in image 1$"
    with pytest.raises(ValueError, match=message):
        ops.sinkhorn(cost, supply, demand)


def test_beyond_the_largest_of_float16_a_pair_is_forbidden():
    cost = torch.tensor([[[1.0, 1e5], [1e5, 2.0]]])
    plan = ops.transport_plan(cost.half(), torch.zeros(1, 2), torch.ones(1, 2), 1e5)
    assert plan.tolist() == [[[1, 0], [0, 1]]]
