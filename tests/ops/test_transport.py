"""sinkhorn: every backend against the reference, independent libraries and known solutions."""

import math

import numpy as np
import pytest
import torch
from backends import values_are_checked
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from transport_problems import DTYPES, INF, RELAXATIONS, accumulated_rounding, problem, problems

from point2mask import ops
from point2mask.ops import reference


@given(
    case=problems(),
    epsilon=st.sampled_from([1e-3, 1e-2, 0.1, 1.0]),
    iterations=st.sampled_from([0, 1, 2, 20]),
    relaxations=st.sampled_from(RELAXATIONS),
)
def test_follows_the_reference(backend, case, epsilon, iterations, relaxations):
    potential, done, error = backend.sinkhorn(*case, epsilon, iterations, 0.0, *relaxations)
    expected = reference.sinkhorn(*case, epsilon, iterations, 0.0, *relaxations)
    bound = accumulated_rounding(case[0], expected[0], epsilon, iterations, case[0].dtype)
    np.testing.assert_allclose(potential, expected[0], rtol=0, atol=bound)
    np.testing.assert_array_equal(done, expected[1])
    # masses are exponentials of potentials over epsilon; infinite before the first iteration
    relative = np.expm1(min(4 * bound / epsilon, 1.0))
    np.testing.assert_allclose(error, expected[2], rtol=relative, atol=relative)


@pytest.mark.parametrize("iterations", [1, 2, 80])
def test_is_the_published_loop(backend, iterations):
    """v, then u, in the log domain and float64, from u = 1; NumPy's logaddexp."""
    cost, supply, demand = problem(1, 1, 6, 300, np.float64, 10.0)
    epsilon, u, v = 1e-3, np.ones(6), np.ones(300)
    for _ in range(iterations):
        plan = (u[:, None] + v - cost[0]) / epsilon
        v = epsilon * (np.log(demand[0]) - np.logaddexp.reduce(plan, axis=0)) + v
        plan = (u[:, None] + v - cost[0]) / epsilon
        u = epsilon * (np.log(supply[0]) - np.logaddexp.reduce(plan, axis=1)) + u
    start = np.ones_like(supply)
    potential, *_ = backend.sinkhorn(
        cost, supply, demand, epsilon, iterations, initial_potential=start
    )
    # 80 iterations that each round numbers up to 1e4 in units of epsilon
    np.testing.assert_allclose(potential[0], u - u.mean(), rtol=0, atol=80 * 1e4 * 2.2e-16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("epsilon", [0.1, 0.01])
def test_marginals(backend, dtype, epsilon):
    cost, supply, demand = problem(2, 2, 8, 3000, dtype)
    potential, iterations, error = backend.sinkhorn(
        cost, supply, demand, epsilon, 5000, tolerance=1e-5
    )
    assert (iterations < 5000).all()
    assert (error <= 1e-5).all()
    plan = backend.transport_plan(cost, potential, demand, epsilon).astype(np.float64)
    # rows hold by construction, up to the rounding of a sum; columns up to the tolerance
    np.testing.assert_allclose(plan.sum(1), demand, rtol=1e-6)
    assert (np.abs(plan.sum(2) - supply).sum(1) <= 1.1e-5 * supply.sum(1)).all()


@pytest.mark.parametrize("epsilon", [0.1, 0.01])
def test_equals_pot(backend, epsilon):
    cost, supply, demand = problem(3, 1, 5, 40, np.float64)
    total = demand.sum()
    potential, *_ = backend.sinkhorn(cost, supply, demand, epsilon, 10000, tolerance=1e-13)
    plan = backend.transport_plan(cost, potential, demand, epsilon)
    ot = pytest.importorskip("ot")  # POT
    expected = ot.bregman.sinkhorn_log(
        demand[0] / total, supply[0] / total, cost[0].T, epsilon, numItermax=10000, stopThr=1e-13
    )
    np.testing.assert_allclose(plan[0].T / total, expected, atol=1e-11)  # 100 stopThr


@pytest.mark.parametrize("epsilon", [0.1, 0.02])
@pytest.mark.parametrize("relaxations", [(0.5, 0.5), (2.0, 0.1)])
def test_unbalanced_equals_pot(backend, epsilon, relaxations):
    cost, supply, demand = problem(4, 1, 5, 40, np.float64)
    demand, supply = demand / demand.sum(), 1.5 * supply / supply.sum()  # totals differ
    supply_relaxation, demand_relaxation = relaxations
    potential, *_ = backend.sinkhorn(cost, supply, demand, epsilon, 20000, 1e-14, *relaxations)
    plan = backend.transport_plan(cost, potential, demand, epsilon, demand_relaxation)
    ot = pytest.importorskip("ot")  # POT
    expected = ot.unbalanced.sinkhorn_unbalanced(
        demand[0],
        supply[0],
        cost[0].T,
        epsilon,
        (demand_relaxation, supply_relaxation),
        reg_type="kl",
        numItermax=20000,
        stopThr=1e-14,
    )
    np.testing.assert_allclose(plan[0].T, expected, rtol=1e-9, atol=1e-12)  # above both tolerances


def test_tends_to_the_unregularised_optimum(backend):
    cost, supply, demand = problem(5, 1, 5, 20, np.float64)
    demand, supply = demand / demand.sum(), supply / supply.sum()
    ot = pytest.importorskip("ot")  # POT
    optimum = ot.emd2(demand[0], supply[0], cost[0].T)
    for epsilon in (0.1, 0.01, 0.001):
        potential, _, error = backend.sinkhorn(cost, supply, demand, epsilon, 200000, 1e-9)
        plan = backend.transport_plan(cost, potential, demand, epsilon)
        value = (plan * cost).sum()
        # KL(P | a b^T) <= log K for the optimal P; costs lie in [0, 1]
        assert optimum - error[0] <= value <= optimum + epsilon * math.log(5) + error[0]


@given(seed=st.integers(0, 2**31), relaxations=st.sampled_from(RELAXATIONS))
@examples(20)
def test_permutations_of_pixels_and_targets(backend, seed, relaxations):
    cost, supply, demand = problem(seed, 1, 7, 200, np.float64)
    rng = np.random.default_rng(seed)
    k, i = rng.permutation(7), rng.permutation(200)
    args = 0.05, 10, 0.0, *relaxations
    plain, *_ = backend.sinkhorn(cost, supply, demand, *args)
    permuted, *_ = backend.sinkhorn(cost[:, k][:, :, i], supply[:, k], demand[:, i], *args)
    np.testing.assert_allclose(permuted, plain[:, k], atol=1e-13)  # order of additions


@given(seed=st.integers(0, 2**31), relaxations=st.sampled_from(RELAXATIONS))
@examples(20)
def test_a_pixel_equals_two_halves_of_it(backend, seed, relaxations):
    cost, supply, demand = problem(seed, 1, 4, 60, np.float64)
    args = 0.05, 10, 0.0, *relaxations
    whole, *_ = backend.sinkhorn(cost, supply, demand, *args)
    demand[:, 17] /= 2
    split_cost = np.concatenate([cost, cost[:, :, 17:18]], 2)
    split_demand = np.concatenate([demand, demand[:, 17:18]], 1)
    split, *_ = backend.sinkhorn(split_cost, supply, split_demand, *args)
    np.testing.assert_allclose(split, whole, atol=1e-13)  # order of additions


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("relaxations", [(INF, INF), (1.0, INF), (0.05, 0.05)])
@pytest.mark.parametrize("shift", [1.0, 3.0, 1000.0])
@pytest.mark.parametrize("epsilon", [0.1, 0.01, 0.001])
def test_a_far_target(backend, dtype, relaxations, shift, epsilon):
    """Its mass underflows in float32 (0.1 to 1e6 epsilon away): the log-domain iteration."""
    cost, supply, demand = problem(6, 1, 6, 2500, dtype)
    cost[:, 2] += shift
    potential, *_ = backend.sinkhorn(cost, supply, demand, epsilon, 10, 0.0, *relaxations)
    expected, *_ = reference.sinkhorn(cost, supply, demand, epsilon, 10, 0.0, *relaxations)
    bound = accumulated_rounding(cost, expected, epsilon, 10, dtype)
    np.testing.assert_allclose(potential, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", DTYPES)
def test_published_setting_with_geodesic_like_costs(backend, dtype):
    """epsilon 1e-3 and costs to 10 (exponents to 1e4), targets of very unequal size."""
    y, x = np.mgrid[0:48, 0:64] / 6.4
    centres = np.random.default_rng(7).uniform(0, 7, (9, 2))
    cost = np.hypot(y - centres[:, :1, None], x - centres[:, 1:, None]).reshape(1, 9, -1)
    cost = cost.astype(dtype)
    demand = np.ones((1, cost.shape[2]), dtype)
    supply = np.full((1, 9), 1.0, dtype)
    supply[0, 0] = cost.shape[2] - 8
    potential, *_ = backend.sinkhorn(cost, supply, demand)
    expected, *_ = reference.sinkhorn(cost, supply, demand)
    bound = accumulated_rounding(cost, expected, 1e-3, 80, dtype)
    np.testing.assert_allclose(potential, expected, rtol=0, atol=bound)


def test_one_target_takes_all(backend):
    cost, supply, demand = problem(8, 1, 4, 50, np.float32)
    supply[:] = 0
    supply[0, 2] = demand.sum()
    potential, _, error = backend.sinkhorn(cost, supply, demand)
    np.testing.assert_array_equal(potential, [[-INF, -INF, 0, -INF]])
    assert error[0] < 1e-6  # rounding of the totals
    plan = backend.transport_plan(cost, potential, demand, 1e-3)
    np.testing.assert_array_equal(plan[0, 2], demand[0])
    assert not plan[0, [0, 1, 3]].any()


def test_images_without_mass_and_without_allowed_pairs(backend):
    cost, supply, demand = problem(9, 3, 4, 50, np.float32)
    supply[0] = demand[0] = 0
    cost[1] = INF
    potential, iterations, error = backend.sinkhorn(cost, supply, demand, 0.1, 5)
    assert (potential[:2] == -INF).all()
    np.testing.assert_array_equal(iterations, [0, 0, 5])
    np.testing.assert_array_equal(error[:2], 0)
    assert np.isfinite(potential[2]).all()


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 0, 0)])
def test_empty_dimensions(backend, shape):
    images, targets, pixels = shape
    ones = [np.ones(s, np.float32) for s in (shape, (images, targets), (images, pixels))]
    potential, iterations, error = backend.sinkhorn(*ones)
    assert potential.shape == (images, targets)
    assert (potential == -INF).all()
    assert iterations.shape == error.shape == (images,)
    assert not iterations.any()
    assert not error.any()
    assert backend.transport_plan(ones[0], potential, ones[2], 0.1).shape == shape
    assert (backend.transport_labels(ones[0], potential, ones[2]) == -1).all()


@pytest.mark.parametrize("relaxations", [(INF, INF), (0.5, 0.5)])
def test_forbidden_pairs_carry_no_mass(backend, relaxations):
    cost, supply, demand = problem(10, 1, 4, 60, np.float64)
    cost[0, :2, ::2] = INF
    cost[0, 3] = INF  # a target nobody may serve
    cost[0, :, 5] = INF  # a pixel that may serve nobody
    potential, *_ = backend.sinkhorn(cost, supply, demand, 0.1, 50, 0.0, *relaxations)
    assert potential[0, 3] == -INF
    assert np.isfinite(potential[0, :3]).all()
    plan = backend.transport_plan(cost, potential, demand, 0.1, relaxations[1])
    assert not plan[np.isinf(cost)].any()
    assert (plan[0, :3, 6::2][2] > 0).all()
    # as if the two were not there; a target that cannot be served does not count in the totals
    rest = np.arange(60) != 5
    less_supply, less_demand = supply[:, :3], demand[:, rest]
    if relaxations[0] == INF:
        less_supply = less_supply * (less_demand.sum() / less_supply.sum())
    args = 0.1, 50, 0.0, *relaxations
    smaller, *_ = reference.sinkhorn(cost[:, :3, rest], less_supply, less_demand, *args)
    np.testing.assert_allclose(potential[:, :3], smaller, atol=1e-13)


@pytest.mark.parametrize("relaxations", [(INF, INF), (0.5, 0.5)])
def test_padding_by_zero_mass_changes_nothing(backend, relaxations):
    cost, supply, demand = problem(11, 1, 5, 70, np.float64)
    args = 0.05, 30, 0.0, *relaxations
    alone, *_ = backend.sinkhorn(cost, supply, demand, *args)
    padded = np.full((2, 8, 100), 7.0)
    padded[1, :5, :70] = cost
    more_supply, more_demand = np.zeros((2, 8)), np.zeros((2, 100))
    more_supply[1, :5], more_demand[1, :70] = supply, demand
    together, iterations, _ = backend.sinkhorn(padded, more_supply, more_demand, *args)
    np.testing.assert_allclose(together[1, :5], alone[0], atol=1e-14)  # unit of mass
    assert (together[1, 5:] == -INF).all()
    np.testing.assert_array_equal(iterations, [0, 30])


def test_images_stop_on_their_own(backend):
    cost, supply, demand = problem(12, 2, 5, 200, np.float64)
    cost[1] *= 10
    args = cost, supply, demand, 0.1
    _, iterations, error = backend.sinkhorn(*args, 1000, tolerance=1e-6)
    expected = reference.sinkhorn(*args, 1000, tolerance=1e-6)
    np.testing.assert_array_equal(iterations, expected[1])
    assert iterations[0] < iterations[1] < 1000
    np.testing.assert_allclose(error, expected[2], rtol=1e-6)  # of differences near 1e-6
    _, before, worse = backend.sinkhorn(*args, int(iterations[0]) - 1, tolerance=1e-6)
    assert worse[0] > 1e-6 >= error[0]
    assert before[0] == iterations[0] - 1


@pytest.mark.parametrize("relaxations", [(INF, INF), (0.5, 0.5)])
def test_a_solution_can_be_continued(backend, relaxations):
    cost, supply, demand = problem(13, 2, 5, 200, np.float64)
    args = cost, supply, demand, 0.01
    half, *_ = backend.sinkhorn(*args, 20, 0.0, *relaxations)
    twice, *_ = backend.sinkhorn(*args, 20, 0.0, *relaxations, half)
    whole, *_ = backend.sinkhorn(*args, 40, 0.0, *relaxations)
    np.testing.assert_allclose(twice, whole, atol=1e-13)  # rounding of the gauge


def put(array, value):
    array = array.copy()
    array[1, -1] = value
    return array


@values_are_checked
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost": np.nan}, "cost must be finite or .inf, got nan in image 1"),
        ({"cost": -INF}, "cost must be finite or .inf, got -inf in image 1"),
        ({"supply": -1.0}, r"supply must be finite and not negative, got -1(\.0)? in image 1"),
        ({"supply": np.nan}, "supply must be finite and not negative, got nan in image 1"),
        ({"demand": INF}, "demand must be finite and not negative, got inf in image 1"),
        ({"demand": -2.0}, r"demand must be finite and not negative, got -2(\.0)? in image 1"),
        ({"supply": 5.0}, r"equal totals, got [0-9.]+ and [0-9.]+ in image 1"),
        ({"initial_potential": np.nan}, "initial_potential must be finite for targets"),
    ],
)
def test_rejects_values(backend, change, message):
    check_rejection(backend, change, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": 0.0}, r"epsilon must be positive.*, got 0"),
        ({"epsilon": np.nan}, "epsilon must be positive.*, got nan"),
        ({"max_iterations": -1}, r"max_iterations must lie in \[0, 2\^31\), got -1"),
        ({"tolerance": -1e-3}, "tolerance must not be negative, got -0.001"),
        ({"tolerance": np.nan}, "tolerance must not be negative, got nan"),
        ({"supply_relaxation": 0.0}, "supply_relaxation must be positive, got 0"),
        ({"demand_relaxation": -1.0}, "demand_relaxation must be positive, got -1"),
    ],
)
def test_rejects_parameters(backend, change, message):
    check_rejection(backend, change, message)


def check_rejection(backend, change, message):
    cost, supply, demand = problem(14, 2, 3, 10, np.float64)
    supply *= 3 / supply.sum(1, keepdims=True)
    demand *= 3 / demand.sum(1, keepdims=True)
    arrays = {
        "cost": cost,
        "supply": supply,
        "demand": demand,
        "initial_potential": np.zeros((2, 3)),
    }
    for name, value in change.items():
        change = {name: put(arrays[name], value) if name in arrays else value}
    with pytest.raises(ValueError, match="sinkhorn: .*" + message):
        backend.sinkhorn(**{**arrays, **change})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("relaxations", [(INF, INF), (0.5, 0.5)])
def test_same_bits_for_any_number_of_threads_and_batch_position(threads, dtype, relaxations):
    arrays = problem(15, 3, 6, 5000, np.float64)
    cost, supply, demand = (torch.from_numpy(x).to(dtype) for x in arrays)
    cost[1, 2] += 2  # one image takes the log-domain iteration and absorbs at other times
    args = 0.01, 20, 0.0, *relaxations
    with threads(1):
        alone = [
            ops.sinkhorn(*(x[b : b + 1] for x in (cost, supply, demand)), *args) for b in range(3)
        ]
    with threads(2):
        together = ops.sinkhorn(cost, supply, demand, *args)
        reverse = ops.sinkhorn(*(x.flip(0) for x in (cost, supply, demand)), *args)
    for part, got in enumerate(together):
        assert torch.equal(torch.cat([one[part] for one in alone]), got)
        assert torch.equal(reverse[part].flip(0), got)


def test_same_bits_when_a_batch_exceeds_a_work_group():
    """16 MiB of kernels are iterated together: here one image at a time, then all three."""
    images = problem(16, 3, 5, 500_000, np.float32)
    together = ops.sinkhorn(*map(torch.from_numpy, images), 0.1, 2)
    for b in range(3):
        alone = ops.sinkhorn(*(torch.from_numpy(x[b : b + 1]) for x in images), 0.1, 2)
        for one, all_ in zip(alone, together, strict=True):
            assert torch.equal(one[0], all_[b])
