"""Bytes of global memory, counted access by access while the kernels run, against the floor: every
input read once, every result written once."""

from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from simt import build, kernels
from simt.expected import allowed, expected
from simt.transport_cases import BALANCED, RELAXED

import point2mask.ops  # noqa: F401  (registers the operators)

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no host C++ compiler")

CHANNELS, SIZE = 20, 64


@pytest.fixture(scope="module")
def machine():
    machine = kernels.Kernels("race")
    machine.schedule = {"preempt": 0.0}
    return machine


@pytest.fixture(scope="module")
def arguments():
    """Features and the tree of a smooth image with noise: order, parent, similarity."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.stack([np.sin(x / 7 + c) + np.cos(y / 9 - c) for c in range(3)])
    image = (image + 0.2 * rng.normal(size=image.shape)).astype(np.float32)
    run = torch.ops.point2mask
    weight = run.neighbor_difference(torch.from_numpy(image)[None], 2, "l1")
    order, parent, _, weight = run.spanning_tree(weight)
    feature = rng.normal(size=(1, CHANNELS, SIZE * SIZE)).astype(np.float32)
    return feature, order.numpy(), parent.numpy(), np.exp(-10 * weight.numpy())


@pytest.mark.parametrize("resident_blocks", [1, 3, 8])
def test_ways_double_however_few_blocks_run(machine, resident_blocks, monkeypatch):
    """Pointer jumping on the longest chains: every pixel of a line joins the one before it."""
    pixels = 4096
    device = {"resident_blocks": resident_blocks, "max_blocks": 1024, "shared_bytes": 0}
    on(machine, device, monkeypatch)
    order = np.arange(pixels, dtype=np.int32)[None]
    line = order, np.maximum(order - 1, 0), np.ones((1, pixels), np.float32)
    feature = np.ones((1, 1, pixels), np.float32)
    traffic = machine.emulator.traffic(lambda: machine.tree_filter(feature, *line))
    # A round reads two hops of 8 bytes a rank, on its way to the head; another chain has no hop.
    rounds = traffic["follow_hops_kernel"].read / (2 * 8) / pixels - 1
    assert 1 < rounds <= 2 * np.log2(pixels)

    weight = np.zeros((1, 2, 1, pixels), np.float32)
    weight[0, 1, 0] = np.arange(pixels)
    traffic = machine.emulator.traffic(lambda: machine.spanning_tree(weight))
    assert set(traffic) == {"spanning_tree_kernel"}
    # The same for two arcs a pixel and its way to the root, links of 4 bytes, and all other steps:
    # of Boruvka one round and what tells that it is the last, 100 bytes, of the order as much.
    rounds = 3 * 16 * 2 * np.log2(2 * pixels) + 8 * 2 * np.log2(pixels)
    assert 3 * 16 < total(traffic).read / pixels <= rounds + 200


@pytest.mark.parametrize("shared_bytes", [1 << 20, 0])
def test_children_of_a_star_are_no_square(machine, shared_bytes, monkeypatch):
    """Threads that come in any order do not go past all that came before them."""
    on(machine, {"shared_bytes": shared_bytes, "resident_blocks": 8, "max_blocks": 64}, monkeypatch)
    monkeypatch.setattr(machine, "seeds", count(1))  # none in the order of the ranks
    asked = []
    for pixels in (1024, 2048, 4096):
        order = np.arange(pixels, dtype=np.int32)[None]
        parent, similarity = np.zeros_like(order), np.ones((1, pixels), np.float32)
        feature = np.ones((1, 1, pixels), np.float32)
        traffic = machine.emulator.traffic(
            lambda given=(feature, order, parent, similarity): machine.tree_filter(*given)
        )
        asked.append(total(traffic).requested / pixels)
    # At most 64 steps of 12 bytes to a place in a list, and what does not depend on the tree.
    assert max(asked) < 64 * 12 + 200
    assert asked[2] < 1.2 * asked[1]


def total(traffic):
    return sum(traffic.values(), build.Traffic())


def on(machine, device, monkeypatch):
    """Every launch on such a device."""
    usual = machine._launch
    monkeypatch.setattr(machine, "schedule", machine.schedule)  # as it was, afterwards

    def launch(name, *arguments):
        machine.schedule = {**machine.schedule, "watchdog": 10**9, **device}
        usual(name, *arguments)

    monkeypatch.setattr(machine, "_launch", launch)


def test_tree_filter_in_shared_memory(machine, arguments, monkeypatch):
    on(machine, {"shared_bytes": 227 << 10}, monkeypatch)
    traffic = machine.emulator.traffic(lambda: machine.tree_filter(*arguments))
    assert set(traffic) == {"image_paths_kernel", "resident_filter_kernel"}
    floor = 2 * arguments[0].nbytes
    assert floor <= total(traffic).moved <= 1.35 * floor
    # 0.9 of it are where levels end, which each thread of the 1024 of a block asks for.
    assert total(traffic).requested <= 3.7 * floor


@pytest.mark.parametrize(("pixels", "both"), [(150 * 200, True), (256 * 256, False)])
def test_tree_filter_where_most_rows_fit(machine, pixels, both, monkeypatch):
    """On an H100: kernels of shared memory, although not all rows of a channel lie there."""
    limit = 227 << 10
    on(machine, {"shared_bytes": limit, "resident_blocks": 4, "max_blocks": 64}, monkeypatch)
    assert pixels * 4 * (1 + both) > limit
    order = np.arange(pixels, dtype=np.int32)[None]
    tree = order, np.maximum(order - 1, 0), np.full((1, pixels), 0.5, np.float32)
    feature = np.random.default_rng(1).normal(size=(1, 1, pixels)).astype(np.float32)
    kept = []

    def filtered():
        kept.extend(machine.tree_filter_and_kept(feature, *tree))

    def gradient():
        maps = (feature, kept[0]) if both else (None, None)
        machine.tree_filter_backward(feature, *maps, *tree, True, kept[1])

    traffic = machine.emulator.traffic(filtered)
    assert {name: run.launches for name, run in traffic.items()} == {
        "image_paths_kernel": 1,
        "resident_filter_kernel": 1,
    }
    traffic = machine.emulator.traffic(gradient)
    last = ("normalizer_gradient_kernel", "resident_gradient_kernel", "add_derivatives_kernel")
    wanted = last if both else ("resident_filter_kernel",)
    assert {name: run.launches for name, run in traffic.items()} == dict.fromkeys(wanted, 1)


def test_tree_filter_beyond_shared_memory(machine, arguments, monkeypatch):
    on(machine, {"shared_bytes": 0}, monkeypatch)
    traffic = machine.emulator.traffic(lambda: machine.tree_filter(*arguments))
    assert "pass_kernel" in traffic
    floor = 2 * arguments[0].nbytes  # twice that with the sums between the passes written and read
    assert floor < total(traffic).moved < 6.1 * floor


def test_tree_filter_backward_in_shared_memory(machine, arguments, monkeypatch):
    on(machine, {"shared_bytes": 227 << 10}, monkeypatch)
    feature, *tree = arguments
    _, kept = machine.tree_filter_and_kept(feature, *tree)

    def gradient(*maps):
        call = partial(machine.tree_filter_backward, feature, *maps, *tree, True, kept)
        return machine.emulator.traffic(call)

    traffic = gradient(None, None)
    assert set(traffic) == {"resident_filter_kernel"}
    assert total(traffic).moved <= 1.2 * 2 * feature.nbytes
    traffic = gradient(feature, feature)
    floor = 4 * feature.nbytes  # two maps and the output read, a gradient written
    assert floor <= total(traffic).moved <= 1.4 * floor
    # A kernel whose every access is known: two maps read, one plane written.
    known = traffic["normalizer_gradient_kernel"]
    plane = SIZE * SIZE * 4
    assert (known.read, known.written) == (2 * CHANNELS * plane, plane)


@pytest.mark.parametrize("relaxations", [BALANCED, RELAXED])
@pytest.mark.parametrize("epsilon", [1e-1, 1e-3])
def test_resident_sinkhorn(machine, epsilon, relaxations):
    rng = np.random.default_rng(0)
    targets, pixels = 20, 1024
    cost = rng.random((1, targets, pixels), np.float32)
    cost += np.linspace(0, 0.2, targets, dtype=np.float32)[:, None]  # potentials have a way to go
    demand = np.ones((1, pixels), np.float32)
    supply = rng.random((1, targets), np.float32) + np.float32(0.1)
    supply *= pixels / supply.sum()

    potentials = []

    def solve():
        arguments = cost, supply, demand, epsilon, 20, 0.0, *relaxations
        potentials.append(machine.sinkhorn(*arguments, variant="resident")[0])

    traffic = machine.emulator.traffic(solve)
    assert set(traffic) == {"sinkhorn_kernel"}
    floor = cost.nbytes + demand.nbytes + 2 * supply.nbytes  # as many potentials are written
    assert floor <= total(traffic).moved <= 1.1 * floor
    # Loads of the cost, whether a cache answers them or not: each entry once, although at the
    # smaller epsilon the potentials leave the range of the first kernel matrix.
    loads = machine.emulator.traffic(solve, within=cost)["sinkhorn_kernel"]
    assert (loads.read, loads.written) == (cost.nbytes, 0)
    if epsilon < 1e-2:
        assert np.ptp(potentials[0]) > 40 * epsilon


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("targets", [20, 41])  # from 40 on blocks divide the sums over chunks
def test_resident_sinkhorn_exchanges_partial_sums_alone(machine, targets, blocks, monkeypatch):
    """What a block keeps of the columns is in shared memory, as the kernel matrix."""
    chunks, pixels = 4, 1024
    on(machine, {"resident_blocks": blocks}, monkeypatch)
    rng = np.random.default_rng(0)
    cost = rng.random((1, targets, pixels), np.float32)
    demand = np.ones((1, pixels), np.float32)
    supply = np.full((1, targets), pixels / targets, np.float32)

    def moved(iterations):
        arguments = cost, supply, demand, 0.1, iterations, 0.0, *BALANCED, None, "resident"
        traffic = machine.emulator.traffic(lambda: machine.sinkhorn(*arguments))
        return np.array([traffic["sinkhorn_kernel"].read, traffic["sinkhorn_kernel"].written])

    read, written = moved(6) - moved(5)
    parts = (targets + 1) * chunks  # of 12 bytes, of which the exponent is read twice
    divides = targets >= 40 and blocks > 1
    totals = 16 * (targets + 1) if divides else 0  # made by one block, read by all
    arrivals = 8 * blocks * (1 + divides) if blocks > 1 else 0
    assert written == 12 * parts + totals + arrivals
    least = 16 * parts * (1 if divides else blocks) + totals * blocks
    assert read == least if blocks == 1 else read >= least  # who waits asks again and again


@pytest.mark.parametrize("bits", [np.float16, np.uint16])  # float16, bfloat16
@pytest.mark.parametrize("variant", ["resident", "streaming"])
def test_costs_of_16_bits_are_half_the_bytes(machine, bits, variant):
    rng = np.random.default_rng(0)
    targets, pixels, iterations = 8, 1024, 3
    full = (rng.random((1, targets, pixels)) + 1).astype(np.float16).astype(np.float32)
    stored = full.astype(bits) if bits == np.float16 else (full.view(np.uint32) >> 16).astype(bits)
    demand = np.ones((1, pixels), np.float32)
    supply = np.full((1, targets), pixels / targets, np.float32)
    reads = 1 if variant == "resident" else iterations
    for cost in (full, stored):
        arguments = cost, supply, demand, 0.1, iterations, 0.0, *BALANCED, None, variant
        run = machine.emulator.traffic(lambda given=arguments: machine.sinkhorn(*given), cost)
        assert run["sinkhorn_kernel"].read == reads * cost.nbytes
        for call, times in (
            (lambda c=cost: machine.transport_labels(c, supply, demand), 1),
            (lambda c=cost: machine.transport_plan(c, supply, demand, 100.0), 2),
        ):
            (run,) = machine.emulator.traffic(call, cost).values()
            assert run.read == times * cost.nbytes
    assert 2 * stored.nbytes == full.nbytes


def test_resident_sinkhorn_far_from_its_start(machine):
    """More than 16 changes of the reference: then the matrix is built from the cost once more."""
    rng = np.random.default_rng(0)
    cost = rng.random((1, 4, 64), np.float32)
    cost += np.linspace(0, 0.5, 4, dtype=np.float32)[:, None]
    demand = np.ones((1, 64), np.float32)
    supply = rng.random((1, 4), np.float32) + np.float32(0.1)
    supply *= 64 / supply.sum()
    arguments = cost, supply, demand, 1e-4, 320, 0.0, *BALANCED, None, "resident"
    results = []
    traffic = machine.emulator.traffic(lambda: results.append(machine.sinkhorn(*arguments)), cost)
    assert traffic["sinkhorn_kernel"].read == 2 * cost.nbytes
    for got, want in zip(results[0], expected("sinkhorn")(*arguments), strict=True):
        relative, absolute = allowed("sinkhorn", got, np.asarray(want))
        np.testing.assert_allclose(got, want, rtol=relative, atol=absolute)
