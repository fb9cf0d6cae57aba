"""The geodesic kernels beyond what every backend shares: values that the device does not reject,
and where their memory lies."""

import ctypes

import numpy as np
import pytest
from simt import build, geodesic_cases, kernels

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no host C++ compiler")


@pytest.fixture
def machine():
    return kernels.Kernels("plain")


@pytest.fixture
def problem():
    rng = np.random.default_rng(5)
    edge_cost = rng.random((2, 8, 20, 33)).astype(np.float32)
    seeds = rng.integers(0, 20 * 33, (2, 5, 2)).astype(np.int32)
    return edge_cost, seeds


def test_steps_of_no_valid_cost_are_walls(machine, problem):
    edge_cost, seeds = problem
    bad = np.random.default_rng(6).random(edge_cost.shape)
    spoilt = np.where(bad < 0.1, -edge_cost, np.where(bad < 0.2, np.nan, edge_cost))
    walled = np.where(bad < 0.2, np.inf, edge_cost)
    distance = machine.geodesic_distance(spoilt, seeds)
    np.testing.assert_array_equal(distance, geodesic_cases.distances(walled, seeds))


def test_seeds_outside_the_image_are_padding(machine, problem):
    edge_cost, seeds = problem
    padded, outside = np.full((2, 2, 5, 4), -1, np.int32)
    padded[..., 1:3] = outside[..., 1:3] = seeds
    outside[..., 0], outside[..., 3] = 20 * 33, -(2**31)
    distance = machine.geodesic_distance(edge_cost, padded)
    np.testing.assert_array_equal(machine.geodesic_distance(edge_cost, outside), distance)
    gradients = [
        machine.geodesic_distance_backward(distance, edge_cost, distance, s)
        for s in (padded, outside)
    ]
    np.testing.assert_array_equal(*gradients)
    assert gradients[0].any()


def test_lists_may_lie_in_scratch_memory(machine, problem):
    in_shared = machine.geodesic_distance(*problem)
    for resident_blocks in (1, 4):
        machine.schedule = {"shared_bytes": 0, "resident_blocks": resident_blocks}
        np.testing.assert_array_equal(machine.geodesic_distance(*problem), in_shared)


@pytest.mark.parametrize("targets_at_once", [1, 3, 5])
def test_gradient_does_not_depend_on_the_number_of_rounds(machine, problem, targets_at_once):
    edge_cost, seeds = problem
    distance = machine.geodesic_distance(edge_cost, seeds)
    upstream = np.random.default_rng(7).normal(size=distance.shape).astype(np.float32)
    expected = machine.geodesic_distance_backward(upstream, edge_cost, distance, seeds)
    machine.targets_at_once = targets_at_once
    np.testing.assert_array_equal(
        machine.geodesic_distance_backward(upstream, edge_cost, distance, seeds), expected
    )


def scratch_bytes(machine, name, *sizes):
    function = getattr(machine.emulator.functions, name)
    function.restype = ctypes.c_int64
    return function(*map(ctypes.c_int64, sizes))


def test_scratch_memory(machine):
    machine.emulator.configure(0, max_blocks=3, shared_bytes=48 << 10)
    name = "geodesic_distance_scratch_bytes_float"
    assert scratch_bytes(machine, name, 4, 20, 512, 512) == 0
    # 342 x 35 tiles of four words, for as many targets as there are blocks
    assert scratch_bytes(machine, name, 4, 20, 2048, 1024) == 3 * 342 * 35 * 16
    assert scratch_bytes(machine, name, 1, 2, 2048, 1024) == 2 * 342 * 35 * 16
    machine.emulator.configure(0, resident_blocks=2)  # no more than the blocks that run at once
    assert scratch_bytes(machine, name, 64, 1000, 2048, 1024) == 2 * 342 * 35 * 16
    name = "geodesic_distance_backward_scratch_bytes_"
    pixels, sums = 64 * 64, 3 * 8 * 64 * 64 * 8
    for limit, at_once in ((1 << 30, 7), (2 * 3 * 18 * pixels, 2), (0, 1)):
        machine.emulator.configure(0, scratch_limit=limit)
        forests = 3 * at_once * (18 * pixels + 4)
        for dtype, extra in (("double", 0), ("float", sums if at_once < 7 else 0)):
            got = scratch_bytes(machine, name + dtype, 3, 7, 64, 64)
            assert forests + extra <= got < forests + extra + 6 * 256, (dtype, at_once)
