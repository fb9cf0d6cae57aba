"""sinkhorn with method "newton": the iteration's solution, in a few reads of the cost."""

import math

import numpy as np
import pytest
import torch
from backends import Backend, values_are_checked
from hypothesis import given
from hypothesis import strategies as st
from ops.test_transport import DTYPES, INF, problem

from point2mask import ops
from point2mask.ops import reference
from point2mask.ops.reference.transport import solve_laplacian

PASSES = 16


def newton(backend, case, epsilon, iterations=40, tolerance=1e-6, start=None):
    arguments = *case, epsilon, iterations, tolerance, INF, INF, start
    return backend.sinkhorn(*arguments, method="newton")


def masses(case, potential, epsilon):
    """Target masses of a potential [B, K] in float64."""
    case = [x.astype(np.float64) for x in case]
    return reference.transport_plan(case[0], potential, case[2], epsilon).sum(2)


def geodesic_problem(seed, targets, side, dtype, largest_cost=1.0):
    """Geodesic distances from random pixels of an image of smooth regions with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    image = np.sin(9 * x + 3 * rng.random()) + np.cos(7 * y) + (np.hypot(x - 0.4, y - 0.5) < 0.25)
    image += 0.1 * rng.standard_normal(image.shape)
    edges = np.full((1, 8, side, side), np.inf)
    for d, (dy, dx) in enumerate(ops.GRID_OFFSETS):
        there = np.roll(image, (-dy, -dx), (0, 1))
        edges[0, d] = np.abs(image - there) + 0.01
    seeds = rng.choice(side * side, targets, replace=False).astype(np.int32)
    cost = ops.geodesic_distance(
        torch.from_numpy(edges), torch.from_numpy(seeds.reshape(1, targets, 1))
    ).numpy()
    cost = cost.reshape(1, targets, -1) * (largest_cost / cost.max())
    _, supply, demand = problem(seed, 1, targets, side * side, np.float64)
    return cost.astype(dtype), supply.astype(dtype), demand.astype(dtype)


@st.composite
def problems(draw):
    """Random costs; padding and forbidden pairs that leave the graph of pairs connected."""
    dtype = draw(st.sampled_from(DTYPES))
    images, targets = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    seed, pixels = draw(st.integers(0, 2**31)), draw(st.integers(1, 100))
    cost, supply, demand = problem(seed, images, targets, pixels, dtype)
    rng = np.random.default_rng(seed)
    if draw(st.booleans()):
        supply[:, 1:][rng.random(supply[:, 1:].shape) < 0.3] = 0
        demand[:, 1:][rng.random(demand[:, 1:].shape) < 0.3] = 0
        supply *= demand.sum(1, keepdims=True) / supply.sum(1, keepdims=True)
    if draw(st.booleans()):  # ties
        cost = np.round(cost * 4) / 4
    return cost, supply, demand


@given(case=problems(), epsilon=st.sampled_from([1e-3, 1e-2, 0.1, 1.0, 100.0]))
def test_has_the_marginals(backend, case, epsilon):
    potential, passes, error = newton(backend, case, epsilon, 200)
    takes_part = case[1] > 0
    assert (error <= 1e-6).all()
    assert (passes < 200).all()
    assert (potential[~takes_part] == -INF).all()
    assert np.isfinite(potential[takes_part]).all()
    # A potential's rounding, over epsilon, is the relative error of a mass.
    rounding = 4 * np.finfo(case[0].dtype).eps * (1 + np.abs(potential[takes_part]).max() / epsilon)
    miss = np.abs(masses(case, potential, epsilon) - case[1]).sum(1) / case[1].sum(1)
    assert (miss <= 1.01e-6 + rounding).all()


@pytest.mark.backends("reference", "cpu")  # thousands of iterations
@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("targets", [1, 2, 7])
def test_equals_many_iterations(backend, epsilon, targets):
    case = problem(21, 2, targets, 60, np.float64)
    expected, _, reached = backend.sinkhorn(*case, epsilon, 100_000, 1e-13)
    assert (reached <= 1e-13).all()
    potential, *_ = newton(backend, case, epsilon, 60, 1e-12)
    np.testing.assert_allclose(potential, expected, rtol=0, atol=1e-9)


@given(case=problems(), epsilon=st.sampled_from([1e-2, 0.1]))
def test_follows_the_reference(backend, case, epsilon):
    potential, *_ = newton(backend, case, epsilon, 200, 1e-9)
    expected = masses(case, newton(ReferenceBackend, case, epsilon, 400, 1e-9)[0], epsilon)
    rounding = 8 * np.finfo(case[0].dtype).eps * (1 + 1 / epsilon)
    got = masses(case, potential, epsilon)
    np.testing.assert_allclose(got, expected, rtol=0, atol=rounding * case[1].sum(1).max() + 1e-7)


class ReferenceBackend:
    sinkhorn = staticmethod(reference.sinkhorn)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("epsilon", [0.1, 0.03, 0.01, 0.003, 0.001])
@pytest.mark.parametrize("targets", [5, 20, 80])
def test_needs_few_passes(dtype, epsilon, targets):
    for make in (geodesic_problem, lambda s, k, n, t: problem(s, 1, k, n * n, t)):
        for seed in (1, 2):
            case = [torch.from_numpy(x).to(dtype) for x in make(seed, targets, 64, np.float64)]
            found = ops.sinkhorn(*case, epsilon, PASSES, 1e-6, method="newton")
            assert found.marginal_error.item() <= 1e-6
            assert found.iterations.item() <= PASSES


def test_sinkhorn_needs_hundreds_there():
    case = map(torch.from_numpy, geodesic_problem(1, 20, 64, np.float64))
    assert ops.sinkhorn(*case, 0.01, 200, 1e-6).marginal_error.item() > 1e-6


def test_costs_of_ten_thousand_epsilon():
    """The published range of costs and epsilon: more passes than 16, but Newton's all the same."""
    case = [torch.from_numpy(x) for x in geodesic_problem(3, 80, 64, np.float64, 10.0)]
    found = ops.sinkhorn(*case, 1e-3, 30, 1e-6, method="newton")
    assert found.marginal_error.item() <= 1e-6


def test_shifts_of_a_pixels_costs_change_nothing(backend):
    case = problem(22, 2, 6, 300, np.float64)
    potential, passes, _ = newton(backend, case, 0.01, tolerance=1e-10)
    shift = np.random.default_rng(0).integers(0, 50, (2, 1, 300)) / 8
    moved, same, _ = newton(backend, (case[0] + shift, *case[1:]), 0.01, tolerance=1e-10)
    np.testing.assert_allclose(moved, potential, rtol=0, atol=1e-11)  # an ulp of the larger costs
    np.testing.assert_array_equal(same, passes)


def test_equal_costs_give_log_supplies(backend):
    _, supply, demand = problem(23, 1, 5, 40, np.float64)
    potential, *_ = newton(backend, (np.ones((1, 5, 40)), supply, demand), 0.1, tolerance=1e-12)
    expected = 0.1 * np.log(supply)
    np.testing.assert_allclose(potential, expected - expected.mean(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 50), (5, 1), (1, 1)])
def test_one_target_or_one_pixel(backend, shape):
    case = problem(24, 1, *shape, np.float64)
    potential, _, error = newton(backend, case, 0.01, tolerance=1e-12)
    assert error <= 1e-12
    np.testing.assert_allclose(masses(case, potential, 0.01), case[1], rtol=1e-11)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_empty(backend, shape):
    cost = np.zeros(shape)
    supply, demand = np.zeros(shape[:2]), np.zeros((shape[0], shape[2]))
    potential, passes, error = newton(backend, (cost, supply, demand), 0.1)
    assert (potential == -INF).all()
    assert (passes == 0).all()
    assert (error == 0).all()


def test_forbidden_pairs_and_images_without_mass(backend):
    cost, supply, demand = problem(25, 2, 5, 200, np.float64)
    cost[0, :4, ::2] = INF  # the last target serves every pixel
    cost[0, 1:3, 1::4] = INF
    supply[0] = np.array([0.05, 0.05, 0.05, 0.05, 0.8]) * demand[0].sum()
    supply[1] = demand[1] = 0
    potential, passes, error = newton(backend, (cost, supply, demand), 0.01)
    assert (error <= 1e-6).all()
    assert passes[0] > 0 == passes[1]
    assert (potential[1] == -INF).all()
    got = masses((cost[:1], supply[:1], demand[:1]), potential[:1], 0.01)
    assert np.abs(got - supply[:1]).sum() <= 1.01e-6 * supply[0].sum()


@pytest.mark.parametrize("share", [1e-4, 1e-8, 1e-12])
def test_tiny_supply(backend, share):
    if backend.name == "reference":
        share = max(share, 1e-8)  # its least squares do not resolve smaller targets
    cost, supply, demand = problem(26, 1, 5, 500, np.float64)
    supply[0, 2] = share * demand.sum()
    supply[0, 0] += demand.sum() - supply.sum()
    potential, _, error = newton(backend, (cost, supply, demand), 0.01, tolerance=share * 1e-3)
    assert error <= share * 1e-3
    got = masses((cost, supply, demand), potential, 0.01)
    np.testing.assert_allclose(got[0, 2], supply[0, 2], rtol=2e-3)


def test_a_far_target_is_reached(backend):
    cost, supply, demand = problem(27, 1, 5, 500, np.float64)
    cost[0, 3] += 20
    _, _, error = newton(backend, (cost, supply, demand), 0.003)
    assert error <= 1e-6


@pytest.mark.backends("cpu")
def test_starts_where_it_is_told(backend):
    case = problem(28, 1, 6, 500, np.float64)
    potential, passes, _ = newton(backend, case, 0.003, tolerance=1e-10)
    _, again, error = newton(backend, case, 0.003, tolerance=1e-9, start=potential)
    assert again == 1
    assert error <= 1e-9
    far = np.linspace(-5, 5, 6)[None]
    found, more, _ = newton(backend, case, 0.003, tolerance=1e-10, start=far)
    assert more <= passes + 1
    np.testing.assert_allclose(found, potential, rtol=0, atol=1e-9)


@given(
    seed=st.integers(0, 10**6),
    targets=st.integers(2, 6),
    forbidden=st.floats(0.3, 0.8),
    epsilon=st.sampled_from([1e-3, 1e-2, 0.1]),
)
@pytest.mark.backends("cpu")
def test_forbidden_pairs_without_a_solution_leave_numbers(
    backend, seed, targets, forbidden, epsilon
):
    rng = np.random.default_rng(seed)
    cost = rng.random((1, targets, 8))
    cost[rng.random(cost.shape) < forbidden] = INF
    supply, demand = rng.random((1, targets)) + 0.01, rng.random((1, 8)) + 0.01
    case = cost, supply * (demand.sum() / supply.sum()), demand
    reached = np.isfinite(cost[0]).any(1)
    if not reached.all() or not np.isfinite(cost[0]).any(0).all():
        return  # what is left has unequal totals, which is an error of its own
    potential, _, error = newton(backend, case, epsilon)
    assert np.isfinite(potential).all()
    assert not np.isnan(error).any()


@given(seed=st.integers(0, 10**6), away=st.sampled_from([0.01, 0.3, 3.0, 100.0]))
@pytest.mark.parametrize("epsilon", [1e-3, 0.03])
def test_any_start_ends_at_the_solution(seed, away, epsilon):
    rng = np.random.default_rng(seed)
    targets, pixels = int(rng.integers(2, 9)), int(rng.integers(8, 60))
    case = problem(seed, 1, targets, pixels, np.float64)
    backend = Backend("cpu")
    _, _, error = newton(backend, case, epsilon, 200)
    start = away * rng.standard_normal((1, targets))
    _, _, again = newton(backend, case, epsilon, 200, start=start)
    assert again <= max(1e-6, float(error.max()))


@pytest.mark.parametrize("passes", [0, 1])
def test_ends_above_epsilon_with_an_infinite_error(backend, passes):
    case = problem(29, 1, 4, 50, np.float64)
    potential, done, error = newton(backend, case, 1e-3, passes)
    assert np.isfinite(potential).all()
    assert done == passes
    assert error == INF


@values_are_checked
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "bfgs"}, "sinkhorn: method must be 'sinkhorn' or 'newton', got 'bfgs'"),
        ({"supply_relaxation": 1.0}, "supply_relaxation and demand_relaxation must be infinite"),
        ({"demand_relaxation": 1.0}, "supply_relaxation and demand_relaxation must be infinite"),
        ({"epsilon": 0.0}, "sinkhorn: epsilon must be positive"),
        ({"tolerance": -1.0}, "sinkhorn: tolerance must not be negative"),
        ({"cost": np.full((1, 3, 10), np.nan)}, "sinkhorn: cost must be finite or .inf, got nan"),
        ({"supply": np.ones((1, 3))}, "sinkhorn: supply and demand must have equal totals"),
    ],
)
def test_rejects(backend, change, message):
    names = dict(zip(("cost", "supply", "demand"), problem(30, 1, 3, 10, np.float64), strict=True))
    with pytest.raises(ValueError, match=message):
        backend.sinkhorn(**{**names, "method": "newton", **change})


def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts):
    case = [torch.from_numpy(x) for x in problem(31, 3, 6, 5000, np.float64)]
    case[0][1, 2] += 2

    def solve(*images):
        return ops.sinkhorn(*images, 0.01, 20, 1e-6, method="newton")

    check_parts(lambda part: solve(*(x[part] for x in case)), 3)


def test_has_the_gradient_of_the_solution():
    cost, supply, demand = (torch.from_numpy(x) for x in problem(32, 2, 4, 12, np.float64))

    def solution(cost, logits, demand):
        demand = demand / demand.sum(1, keepdim=True)
        arguments = cost, logits.softmax(1), demand, 0.1, 60, 1e-13
        return ops.sinkhorn(*arguments, method="newton").potential

    inputs = [x.requires_grad_() for x in (cost, supply.log(), demand)]
    assert torch.autograd.gradcheck(solution, inputs, eps=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's look at its own copies
@pytest.mark.parametrize("grad", [False, True])
def test_is_a_well_behaved_operator(grad):
    case = [torch.from_numpy(x).requires_grad_(grad) for x in problem(33, 2, 4, 30, np.float64)]
    operator = torch.ops.point2mask.sinkhorn_newton.default
    torch.library.opcheck(operator, (*case, 0.1, 20, 1e-6, None))


def test_half_precision_runs_in_float32_under_autocast():
    case = [torch.from_numpy(x) for x in problem(34, 1, 4, 30, np.float32)]
    with torch.autocast("cpu", torch.bfloat16):
        found = ops.sinkhorn(case[0].bfloat16(), *case[1:], 0.1, 20, 1e-6, method="newton")
    assert found.potential.dtype == torch.float32
    assert math.isfinite(found.marginal_error.item())


def test_targets_that_hardly_share_a_pixel(backend):
    """Some masses are exchanged by a share of a pixel that is less than 1e-12."""
    cost = np.array(
        [
            [0.7870327, 0.7899175, 0.05409376, 0.3692863, 0.1935276],
            [0.213867, 0.8586419, 0.126755, 0.2967578, 0.8494604],
            [0.9652314, 0.7081448, 0.2136872, 0.5449827, 0.05188253],
            [0.6798842, 0.3682818, 0.5897003, 0.6695333, 0.5230498],
            [0.5547374, 0.1981497, 0.4951874, 0.1254095, 0.5362449],
            [0.7741048, 0.3936648, 0.01960042, 0.52775, 0.7412575],
        ]
    )
    supply = np.array([0.3826999, 0.8716635, 0.7179852, 1.08901, 0.6159107, 0.4229119])
    demand = np.array([1.047141, 0.9421154, 0.8440064, 0.9131637, 0.3537552])
    supply *= demand.sum() / supply.sum()
    _, passes, error = newton(backend, (cost[None], supply[None], demand[None]), 1e-3, 200)
    assert (error <= 1e-6).all()
    assert (passes < 200).all()


@pytest.mark.parametrize("conductance", [1.0, 1e-8, 1e-16, 1e-200])
def test_a_laplacian_of_two_groups(conductance):
    """Two pairs with a weak edge between them: its potential difference is flow / conductance."""
    weights = np.zeros((4, 4))
    for (i, j), value in {(0, 2): 1.0, (1, 3): 2.0, (2, 3): conductance}.items():
        weights[i, j] = weights[j, i] = value
    flow = np.array([1.0, 0.0, 0.0, -1.0]) * conductance
    potential = solve_laplacian(weights, flow)
    expected = -np.array([0, conductance + 1, conductance, conductance + 1])
    np.testing.assert_allclose(potential, expected, rtol=1e-12)


def test_a_laplacian_without_an_edge():
    weights = np.zeros((3, 3))
    weights[0, 1] = weights[1, 0] = 2.0
    potential = solve_laplacian(weights, np.array([1.0, -1.0, 0.0]))
    np.testing.assert_array_equal(potential, [0, -0.5, 0])
