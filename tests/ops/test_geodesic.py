"""geodesic_distance: every backend against Dijkstra's algorithm bit for bit, and against SciPy."""

import edge_costs
import numpy as np
import pytest
import torch
from backends import values_are_checked
from hypothesis import given
from hypothesis import strategies as st

from point2mask import ops
from point2mask.grid import OFFSETS
from point2mask.ops import reference

DTYPES = (np.float32, np.float64)
# Sums of positive numbers in another order: half a unit in the last place for each of at most a
# few hundred steps.
REORDERED = {"rtol": 3e-5}


def make(name, height, width, dtype=np.float32, images=1, seed=0):
    rng = np.random.default_rng(seed)
    costs = [getattr(edge_costs, name)(height, width, rng) for _ in range(images)]
    return np.stack(costs).astype(dtype)


def make_seeds(images, targets, points, pixels, seed=0):
    return np.random.default_rng(seed).integers(-1, pixels, (images, targets, points), np.int32)


@given(
    name=st.sampled_from([f.__name__ for f in edge_costs.ALL]),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12) | st.sampled_from([31, 32, 33, 65])),
    batch=st.tuples(st.integers(1, 2), st.integers(0, 3), st.integers(0, 3)),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_equals_dijkstra_bit_for_bit(backend, name, size, batch, dtype, seed):
    edge_cost = make(name, *size, dtype, batch[0], seed)
    seeds = make_seeds(*batch, size[0] * size[1], seed)
    distance = backend.geodesic_distance(edge_cost, seeds)
    assert distance.dtype == dtype
    np.testing.assert_array_equal(distance, reference.geodesic_distance(edge_cost, seeds))


@pytest.mark.parametrize("name", [f.__name__ for f in edge_costs.ALL])
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_dijkstra_on_larger_images(backend, name, dtype):
    edge_cost = make(name, 40, 37, dtype)
    seeds = make_seeds(1, 3, 2, 40 * 37)
    distance = backend.geodesic_distance(edge_cost, seeds)
    np.testing.assert_array_equal(distance, reference.geodesic_distance(edge_cost, seeds))


def test_equals_dijkstra_where_sweeps_converge_slowly(backend):
    # The shorter one is slow enough for the emulator, where the longer one looks like a hang.
    edge_cost = make("comb", 63 if backend.name == "simt" else 255, 31)
    seeds = np.array([[[0], [-1]]], np.int32)
    distance = backend.geodesic_distance(edge_cost, seeds)
    np.testing.assert_array_equal(distance, reference.geodesic_distance(edge_cost, seeds))


@pytest.mark.parametrize("name", ["white_noise", "heavy_tailed", "smooth", "integers"])
def test_equals_scipy(backend, name):
    sparse = pytest.importorskip("scipy.sparse")
    csgraph = pytest.importorskip("scipy.sparse.csgraph")
    edge_cost = make(name, 30, 45, np.float64)
    seeds = np.array([0, 44, 700, 1349], np.int32)
    index = np.arange(30 * 45).reshape(30, 45)
    origin, end, cost = [], [], []
    for d, (here, there) in enumerate(edge_costs.pairs(30, 45)):
        origin.append(index[here].ravel())
        end.append(index[there].ravel())
        cost.append(edge_cost[0, d][here].ravel())
    edges = np.concatenate(cost), (np.concatenate(origin), np.concatenate(end))
    expected = csgraph.dijkstra(sparse.csr_array(edges, shape=(1350, 1350)), indices=seeds)
    distance = backend.geodesic_distance(edge_cost, seeds[None, :, None])
    # Its order of addition is the same, but which of two rounded paths wins may differ.
    np.testing.assert_allclose(distance.reshape(4, -1), expected, rtol=1e-12)


def test_literal_cases(backend):
    cost = np.full((1, 8, 2, 3), np.inf, np.float32)
    cost[0, 1, 0] = 1.0, 2.0, np.nan  # right along the first row; the last step leaves the image
    cost[0, 0, 0, 2] = 4.0  # down
    cost[0, 2, 0, 1] = 0.5  # down to the right
    cost[0, 4, 1, 0] = 8.0  # up
    distance = backend.geodesic_distance(cost, np.array([[[0], [3], [2]]], np.int32))
    inf = np.inf
    np.testing.assert_array_equal(
        distance[0],
        [[[0, 1, 3], [inf, inf, 1.5]], [[8, 9, 11], [0, inf, 9.5]], [[inf, inf, 0], [inf, inf, 4]]],
    )


def test_direction_of_every_step(backend):
    for d, (dy, dx) in enumerate(OFFSETS):
        cost = np.full((1, 8, 3, 3), np.inf, np.float32)
        cost[0, d] = 1
        expected = np.full((3, 3), np.inf)
        expected[1, 1], expected[1 + dy, 1 + dx] = 0, 1
        distance = backend.geodesic_distance(cost, np.array([[[4]]], np.int32))
        np.testing.assert_array_equal(distance[0, 0], expected)


def test_costs_outside_the_image_are_not_read(backend):
    edge_cost = make("white_noise", 6, 7)
    seeds = make_seeds(1, 3, 1, 42)
    expected = backend.geodesic_distance(edge_cost, seeds)
    for poison in (np.nan, -1.0, 0.0):
        poisoned = np.full_like(edge_cost, poison)
        for d, (here, _) in enumerate(edge_costs.pairs(6, 7)):
            poisoned[0, d][here] = edge_cost[0, d][here]
        np.testing.assert_array_equal(backend.geodesic_distance(poisoned, seeds), expected)


@pytest.mark.parametrize("name", ["smooth", "mostly_zero", "walls", "heavy_tailed"])
def test_is_lipschitz_along_steps_and_zero_at_seeds(backend, name):
    edge_cost = make(name, 21, 34)
    seeds = make_seeds(1, 9, 1, 21 * 34)
    distance = backend.geodesic_distance(edge_cost, seeds)[0]
    for d, (here, there) in enumerate(edge_costs.pairs(21, 34)):
        through = distance[:, *here] + edge_cost[0, d][here]
        assert (distance[:, *there] <= through).all()
    for k, seed in enumerate(seeds[0, :, 0]):
        assert seed < 0 or distance[k].flat[seed] == 0


def test_triangle_inequality(backend):
    edge_cost = make("white_noise", 19, 23)
    seeds = np.array([[[5], [100], [300], [436]]], np.int32)
    distance = backend.geodesic_distance(edge_cost, seeds)[0].reshape(4, -1)
    between = distance[:, seeds[0, :, 0]]
    detour = between[:, :, None] + distance[None]
    assert (distance[:, None] <= detour * (1 + REORDERED["rtol"])).all()


def test_symmetric_costs_give_symmetric_distances(backend):
    edge_cost = make("smooth", 25, 33)
    seeds = make_seeds(1, 6, 1, 25 * 33, seed=2)
    distance = backend.geodesic_distance(edge_cost, seeds)[0].reshape(6, -1)
    between = distance[:, seeds[0, :, 0]]
    np.testing.assert_allclose(between, between.T, **REORDERED)


@pytest.mark.parametrize("name", ["white_noise", "integers", "walls"])
def test_follows_flips_and_transposition(backend, name):
    edge_cost = make(name, 11, 35)
    seeds = make_seeds(1, 4, 2, 11 * 35)
    expected = backend.geodesic_distance(edge_cost, seeds)
    y, x = np.divmod(seeds, 35)
    flip = [OFFSETS.index((dy, -dx)) for dy, dx in OFFSETS]
    flipped = np.where(seeds < 0, -1, y * 35 + 34 - x).astype(np.int32)
    np.testing.assert_array_equal(
        backend.geodesic_distance(edge_cost[:, flip, :, ::-1].copy(), flipped)[..., ::-1], expected
    )
    swap = [OFFSETS.index((dx, dy)) for dy, dx in OFFSETS]
    swapped = np.where(seeds < 0, -1, x * 11 + y).astype(np.int32)
    np.testing.assert_array_equal(
        backend.geodesic_distance(edge_cost[:, swap].swapaxes(2, 3).copy(), swapped),
        expected.swapaxes(2, 3),
    )


@pytest.mark.parametrize("name", ["white_noise", "mostly_zero", "walls"])
def test_many_seeds_are_the_minimum_over_single_seeds(backend, name):
    edge_cost = make(name, 17, 40)
    seeds = make_seeds(1, 1, 7, 17 * 40)
    seeds[0, 0, 3] = -1
    singles = backend.geodesic_distance(edge_cost, seeds.swapaxes(1, 2))
    together = backend.geodesic_distance(edge_cost, seeds)
    np.testing.assert_array_equal(together[:, 0], singles.min(1))
    fewer = backend.geodesic_distance(edge_cost, seeds[:, :, :5].copy())
    assert (together <= fewer).all()


@pytest.mark.parametrize("targets", [1, 7, 8, 9, 17])
def test_targets_do_not_depend_on_each_other(backend, targets):
    edge_cost = make("smooth", 12, 33)
    seeds = make_seeds(1, targets, 2, 12 * 33)
    seeds[0, targets // 2] = -1  # an empty target
    distance = backend.geodesic_distance(edge_cost, seeds)
    np.testing.assert_array_equal(distance, reference.geodesic_distance(edge_cost, seeds))
    assert np.isinf(distance[0, targets // 2]).all()
    order = np.random.default_rng(3).permutation(targets)
    shuffled = backend.geodesic_distance(edge_cost, seeds[:, order].copy())
    np.testing.assert_array_equal(shuffled, distance[:, order])


def test_padding_and_duplicates_change_nothing(backend):
    edge_cost = make("white_noise", 9, 14, images=2)
    seeds = np.array([[[3, 100], [7, 8]], [[50, 125], [-1, -1]]], np.int32)
    padded = np.full((2, 4, 5), -1, np.int32)
    padded[:, 1:3, 2:4] = seeds
    padded[:, 1:3, 4] = seeds[..., 0]
    distance = backend.geodesic_distance(edge_cost, padded)
    expected = backend.geodesic_distance(edge_cost, seeds)
    np.testing.assert_array_equal(distance[:, 1:3], expected)
    assert np.isinf(distance[:, [0, 3]]).all()
    assert np.isinf(expected[1, 1]).all()


def test_walls_enclose(backend):
    is_open = np.ones((9, 40), bool)
    is_open[:, 20] = False
    cost = edge_costs.from_open(is_open, np.ones((8, 9, 40), np.float32), np.inf)[None]
    distance = backend.geodesic_distance(cost, np.array([[[0], [39]]], np.int32))[0]
    y, x = np.mgrid[:9, :40]
    np.testing.assert_array_equal(distance[0], np.where(x < 20, y + x, np.inf))
    np.testing.assert_array_equal(distance[1], np.where(x > 20, y + 39 - x, np.inf))


def test_overflow_is_unreachable(backend):
    cost = np.full((1, 8, 1, 3), 3e38, np.float32)
    distance = backend.geodesic_distance(cost, np.array([[[0]]], np.int32))
    np.testing.assert_array_equal(distance[0, 0, 0], [0, np.float32(3e38), np.inf])


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (2, 3, 4)])
@pytest.mark.parametrize("targets_points", [(0, 2), (3, 0), (2, 1)])
def test_empty_input(backend, shape, targets_points):
    images, height, width = shape
    edge_cost = np.ones((images, 8, height, width), np.float32)
    seeds = np.full((images, *targets_points), -1, np.int32)
    distance = backend.geodesic_distance(edge_cost, seeds)
    assert distance.shape == (images, targets_points[0], height, width)
    assert np.isinf(distance).all()


@values_are_checked
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [-1.0, -1e-30, np.nan, -np.inf])
def test_rejects_costs_that_are_none(backend, value, dtype):
    edge_cost = np.ones((3, 8, 4, 5), dtype)
    edge_cost[1, 7, 1, 3] = value
    message = "edge_cost must not be negative or NaN" + (
        "" if backend.name == "reference" else ", got -?(nan|inf|[0-9.]+) in image 1"
    )
    with pytest.raises(ValueError, match=message):
        backend.geodesic_distance(edge_cost, np.zeros((3, 1, 1), np.int32))


@values_are_checked
@pytest.mark.parametrize("seed", [-2, 20])
def test_rejects_seeds_outside_the_image(backend, seed):
    seeds = np.zeros((2, 3, 2), np.int32)
    seeds[1, 2, 1] = seed
    with pytest.raises(ValueError, match=r"seeds must lie in \[-1, 20\)"):
        backend.geodesic_distance(np.ones((2, 8, 4, 5), np.float32), seeds)


COST, SEEDS = torch.ones(2, 8, 4, 5), torch.zeros(2, 3, 1, dtype=torch.int32)


@pytest.mark.parametrize(
    ("edge_cost", "seeds", "message"),
    [
        (COST[:, :4], SEEDS, r"edge_cost must have shape \[B, D=8, H, W\], got \[2, 4, 4, 5\]"),
        (COST[0], SEEDS, r"edge_cost must have shape \[B, D=8, H, W\], got \[8, 4, 5\]"),
        (COST, SEEDS[:1], r"seeds must have shape \[B=2, K, P\], got \[1, 3, 1\]"),
        (COST, SEEDS[0], r"seeds must have shape \[B=2, K, P\], got \[3, 1\]"),
        (COST, SEEDS.long(), "seeds must be int32, got int64"),
        (COST.half(), SEEDS, "edge_cost must be float32 or float64, got float16"),
    ],
)
def test_rejects_bad_tensors(edge_cost, seeds, message):
    with pytest.raises(ValueError, match=message):
        ops.geodesic_distance(edge_cost, seeds)


def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts):
    edge_cost = torch.from_numpy(make("white_noise", 33, 65, images=3))
    seeds = torch.from_numpy(make_seeds(3, 20, 2, 33 * 65))
    check_parts(lambda part: ops.geodesic_distance(edge_cost[part], seeds[part]), 3)
