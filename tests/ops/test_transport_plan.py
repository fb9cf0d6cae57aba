"""transport_plan and transport_labels: every backend against the reference, and edge cases."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from point2mask import ops
from point2mask.ops import reference

DTYPES = (np.float32, np.float64)
INF = math.inf


@st.composite
def plans(draw):
    dtype = draw(st.sampled_from(DTYPES))
    images, targets, pixels = (draw(st.integers(1, n)) for n in (3, 9, 100))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    cost = rng.random((images, targets, pixels))
    potential = rng.normal(size=(images, targets))
    demand = rng.random((images, pixels))
    if draw(st.booleans()):
        cost[rng.random(cost.shape) < 0.3] = INF
        potential[rng.random(potential.shape) < 0.3] = -INF
        demand[rng.random(demand.shape) < 0.3] = 0
    return cost.astype(dtype), potential.astype(dtype), demand.astype(dtype)


@given(
    case=plans(),
    epsilon=st.sampled_from([0.01, 0.1, 1.0]),
    demand_relaxation=st.sampled_from([INF, 1.0, 0.1]),
)
def test_plan_equals_the_reference(backend, case, epsilon, demand_relaxation):
    plan = backend.transport_plan(*case, epsilon, demand_relaxation)
    expected = reference.transport_plan(*case, epsilon, demand_relaxation)
    # an ulp of |u - c| <= 6 over epsilon in every exponent; entries below 1e-30 of a row are cut
    relative = 8 * np.finfo(case[0].dtype).eps * (1 + 6 / epsilon)
    np.testing.assert_allclose(plan, expected, rtol=relative, atol=1e-29 * (1 + expected.max()))


@given(case=plans())
def test_labels_equal_the_reference(backend, case):
    np.testing.assert_array_equal(
        backend.transport_labels(*case), reference.transport_labels(*case)
    )


@given(case=plans(), epsilon=st.sampled_from([0.1, 1.0]))
def test_labels_are_where_the_plan_is_largest(backend, case, epsilon):
    case = [x.astype(np.float64) for x in case]
    plan = backend.transport_plan(*case, epsilon)
    labels = backend.transport_labels(*case)
    served = plan.any(1)
    np.testing.assert_array_equal(np.where(served, plan.argmax(1), -1), labels)


def test_ties_go_to_the_lowest_target(backend):
    cost = np.float32([[[2, 1, 5], [1, 1, 5], [1, 1, 5]]])
    labels = backend.transport_labels(
        cost, np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    )
    np.testing.assert_array_equal(labels, [[1, 0, 0]])


def test_pixels_without_a_label(backend):
    cost = np.float32([[[1, INF, 1, 1], [2, INF, 2, INF]]])
    potential = np.float32([[-INF, 0]])
    demand = np.float32([[1, 1, 0, 1]])  # only pixel 0 has mass, a finite cost and a target
    np.testing.assert_array_equal(
        backend.transport_labels(cost, potential, demand), [[1, -1, -1, -1]]
    )
    plan = backend.transport_plan(cost, potential, demand, 0.1)
    np.testing.assert_array_equal(plan, [[[0, 0, 0, 0], [1, 0, 0, 0]]])


@pytest.mark.parametrize("pixels", [1, 31, 32, 33, 2047, 2048, 2049])
def test_ends_of_tiles_and_chunks(backend, pixels):
    rng = np.random.default_rng(pixels)
    cost = rng.random((2, 3, pixels))
    potential, demand = rng.random((2, 3)), rng.random((2, pixels))
    np.testing.assert_allclose(
        backend.transport_plan(cost, potential, demand, 0.1),
        reference.transport_plan(cost, potential, demand, 0.1),
        rtol=1e-13,  # ulps of exponents near 10
    )
    np.testing.assert_array_equal(
        backend.transport_labels(cost, potential, demand),
        reference.transport_labels(cost, potential, demand),
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ((0.0, INF), "transport_plan: epsilon must be positive.*, got 0"),
        ((0.1, 0.0), "transport_plan: demand_relaxation must be positive, got 0"),
    ],
)
def test_plan_rejects_parameters(backend, parameters, message):
    arrays = np.zeros((1, 2, 3)), np.zeros((1, 2)), np.zeros((1, 3))
    with pytest.raises(ValueError, match=message):
        backend.transport_plan(*arrays, *parameters)


ZEROS = {"cost": (2, 3, 4), "supply": (2, 3), "demand": (2, 4), "potential": (2, 3)}
SHAPES = [
    ("cost", torch.zeros(2, 3), r"cost must have shape \[B, K, N\], got \[2, 3\]"),
    ("supply", torch.zeros(2, 4), r"supply must have shape \[B=2, K=3\], got \[2, 4\]"),
    ("potential", torch.zeros(1, 3), r"potential must have shape \[B=2, K=3\], got \[1, 3\]"),
    ("demand", torch.zeros(2, 3), r"demand must have shape \[B=2, N=4\], got \[2, 3\]"),
    ("demand", torch.zeros(2, 4).double(), "demand must be float32, got float64"),
    (
        "cost",
        torch.zeros(2, 3, 4, dtype=torch.int32),
        "cost must be float32, float64, float16 or bfloat16, got int32",
    ),
    ("initial_potential", torch.zeros(2, 1), r"initial_potential must have shape \[B=2, K=3\]"),
]
OPERATORS = {
    "sinkhorn": ("cost", "supply", "demand", "initial_potential"),
    "transport_plan": ("cost", "potential", "demand"),
    "transport_labels": ("cost", "potential", "demand"),
}


@pytest.mark.parametrize(
    ("operator", "argument", "value", "message"),
    [(op, *case) for op, names in OPERATORS.items() for case in SHAPES if case[0] in names],
)
def test_rejects_shapes_and_types(operator, argument, value, message):
    arguments = {n: torch.zeros(ZEROS[n]) for n in OPERATORS[operator] if n in ZEROS}
    arguments[argument] = value
    if operator == "transport_plan":
        arguments["epsilon"] = 0.1
    with pytest.raises(ValueError, match=f"{operator}: .*({message})"):
        getattr(ops, operator)(**arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts, dtype):
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(3, 5, 5000, generator=generator, dtype=dtype, requires_grad=True)
    potential = torch.rand(3, 5, generator=generator, dtype=dtype, requires_grad=True)
    demand = torch.rand(3, 5000, generator=generator, dtype=dtype, requires_grad=True)
    grad = torch.rand(3, 5, 5000, generator=generator, dtype=dtype)

    def everything(select):
        inputs = [x[select].detach().requires_grad_() for x in (cost, potential, demand)]
        plan = ops.transport_plan(*inputs, 0.1, 1.0)
        plan.backward(grad[select])
        return plan.detach(), ops.transport_labels(*inputs), *(x.grad for x in inputs)

    check_parts(everything, 3)


@pytest.mark.parametrize(
    ("dtype", "epsilon"), [(torch.float32, 3e36), (torch.float32, 1e46), (torch.float64, 1e306)]
)
def test_rejects_an_epsilon_too_large_for_the_dtype(dtype, epsilon):
    cost, supply, demand = (torch.ones(s, dtype=dtype) for s in ((1, 2, 2), (1, 2), (1, 2)))
    message = "epsilon must be small enough for finite potentials"
    with pytest.raises(ValueError, match=f"^sinkhorn: {message}"):
        ops.sinkhorn(cost, supply, demand, epsilon)
    with pytest.raises(ValueError, match=f"^transport_plan: {message}"):
        ops.transport_plan(cost, supply, demand, epsilon)
    largest = torch.finfo(dtype).max / 1030
    potential, _, error = ops.sinkhorn(cost, supply, demand, largest)
    assert potential.isfinite().all()
    assert error.isfinite().all()


@pytest.mark.backends("cpu", "simt", "cuda")  # undefined in the reference
def test_what_nan_does(backend):
    cost = np.ones((1, 3, 4))
    cost[0, 0, 1] = cost[0, :, 2] = np.nan
    potential, demand = np.zeros((1, 3)), np.ones((1, 4))
    demand[0, 3] = np.nan
    labels = backend.transport_labels(cost, potential, demand)
    assert labels[0, :3].tolist() == [0, 1, -1]
    plan = backend.transport_plan(cost, potential, demand, 0.1)
    np.testing.assert_allclose(plan[0, :, 0], 1 / 3, rtol=1e-6)  # rounding, in float32 too
    if backend.name == "cpu":
        assert np.isnan(plan[0]).any(0).tolist() == [False, True, True, True]
