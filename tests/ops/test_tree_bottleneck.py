"""bottleneck_distance: minimax path costs, exactly, and the edge that their gradient reaches."""

import heapq

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from trees import distinct_weights, random_tree

from point2mask import _core, ops
from point2mask.ops import reference
from point2mask.ops.reference.tree import bottleneck_edge, grid_edges

DISTANCE = torch.ops.point2mask.bottleneck_distance.default
BACKWARD = torch.ops.point2mask.bottleneck_distance_backward.default


@st.composite
def cases(draw, dtype=np.float64):
    """order, parent, weight with many ties and zeros, and seeds with padding."""
    images, targets, points = draw(
        st.tuples(st.integers(1, 2), st.sampled_from([0, 1, 3, 16, 19]), st.integers(0, 3))
    )
    pixels = draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = draw(
        hnp.arrays(dtype, (images, pixels), elements=st.sampled_from([0.0, -0.0, 0.1, 1e30]))
    )
    seeds = rng.integers(-1, pixels, (images, targets, points)).astype(np.int32)
    return *random_tree(rng, images, pixels), weight, seeds


@given(case=cases() | cases(np.float32))
def test_equals_the_reference(backend, case):
    got = backend.bottleneck_distance(*case)
    np.testing.assert_array_equal(got, reference.bottleneck_distance(*case).astype(got.dtype))


def minimax_on_the_grid(edge_weight, sources):
    """Dijkstra's algorithm on all edges of a grid [D, H, W], a path costing its largest weight."""
    pixels = edge_weight[0].size
    neighbors = [[] for _ in range(pixels)]
    for cost, _, a, b in grid_edges(edge_weight):
        neighbors[a].append((cost, b))
        neighbors[b].append((cost, a))
    distance = np.full(pixels, np.inf)
    queue = [(0.0, source) for source in sources]
    while queue:
        cost, pixel = heapq.heappop(queue)
        if cost < distance[pixel]:
            distance[pixel] = cost
            for step, other in neighbors[pixel]:
                heapq.heappush(queue, (max(cost, step), other))
    return distance


@pytest.mark.parametrize("values", [4, 2**24])
@pytest.mark.parametrize("directions", [2, 4])
def test_equals_minimax_paths_on_the_grid(backend, directions, values):
    rng = np.random.default_rng(directions)
    edge_weight = (rng.integers(0, values, (1, directions, 13, 18)) / values).astype(np.float32)
    seeds = rng.integers(0, 13 * 18, (1, 5, 3)).astype(np.int32)
    seeds[0, 1, 1:] = -1
    seeds[0, 3] = -1
    order, parent, _, weight = backend.spanning_tree(edge_weight)
    got = backend.bottleneck_distance(order, parent, weight, seeds)
    for target in range(5):
        sources = [s for s in seeds[0, target] if s >= 0]
        expected = minimax_on_the_grid(edge_weight[0], sources)
        np.testing.assert_array_equal(got[0, target], expected.astype(got.dtype))


@given(case=cases())
def test_zero_at_seeds_and_infinite_without(backend, case):
    distance, seeds = backend.bottleneck_distance(*case), case[3]
    for image, target in np.ndindex(seeds.shape[:2]):
        own = seeds[image, target][seeds[image, target] >= 0]
        assert (distance[image, target, own] == 0).all()
        assert np.isinf(distance[image, target]).all() == (own.size == 0)


@given(case=cases(), seed=st.integers(0, 2**32 - 1))
def test_more_seeds_bring_every_pixel_nearer_exactly_as_their_own_maps(backend, case, seed):
    order, parent, weight, seeds = case
    more = np.random.default_rng(seed).permuted(seeds, axis=1)
    together = backend.bottleneck_distance(order, parent, weight, np.concatenate([seeds, more], 2))
    np.testing.assert_array_equal(
        together,
        np.minimum(
            backend.bottleneck_distance(*case), backend.bottleneck_distance(*case[:3], more)
        ),
    )


def test_is_symmetric_and_ultrametric(backend):
    pixels = 24
    order, parent = random_tree(3, 1, pixels)
    weight = np.random.default_rng(3).random((1, pixels)).astype(np.float32)
    seeds = np.arange(pixels, dtype=np.int32).reshape(1, pixels, 1)
    (distance,) = backend.bottleneck_distance(order, parent, weight, seeds)
    np.testing.assert_array_equal(distance, distance.T)
    through = np.maximum(distance[:, :, None], distance[None, :, :]).min(1)
    np.testing.assert_array_equal(distance, through)


@given(case=cases())
def test_gradient_goes_to_the_bottleneck_edge(case):
    order, parent, weight, seeds = map(torch.from_numpy, case)
    weight.requires_grad_()
    distance = ops.bottleneck_distance(order, parent, weight, seeds)
    # Integers: sums are exact in any order.
    upstream = torch.randint(-9, 10, distance.shape, generator=torch.Generator().manual_seed(0))
    distance.backward(upstream.double())
    edge = bottleneck_edge(*case)
    expected = np.zeros_like(case[2])
    for image, target, pixel in np.argwhere(edge > 0):
        expected[image, edge[image, target, pixel]] += upstream[image, target, pixel].item()
    np.testing.assert_array_equal(weight.grad.numpy(), expected)


def test_gradient_of_ties_by_hand():
    # A line 0 - 1 - 2 - 3 with equal weights: of two equal edges that of higher rank is larger,
    # and pixel 1, between seeds 0 and 3, belongs to 0 by the edge of rank 1.
    order, parent = (torch.tensor([r], dtype=torch.int32) for r in ([0, 1, 2, 3], [0, 0, 1, 2]))
    weight = torch.ones(1, 4, requires_grad=True)
    seeds = torch.tensor([[[0, -1], [0, 3]]], dtype=torch.int32)
    distance = ops.bottleneck_distance(order, parent, weight, seeds)
    upstream = torch.tensor([[[1.0, 10, 100, 1000], [2, 20, 200, 2000]]])
    distance.backward(upstream)
    # Pixel 2 for target 1: from 0 the largest is edge 2, from 3 it is edge 3; the smaller is 2.
    assert weight.grad.tolist() == [[0, 10 + 20, 100 + 200, 1000]]


def test_gradcheck_through_the_spanning_tree():
    edge_weight = torch.from_numpy(distinct_weights(2, (2, 4, 4, 5), np.float64) + 4)
    seeds = torch.tensor([[[3, 7], [19, -1], [-1, -1]]] * 2, dtype=torch.int32)

    def distance(w):
        tree = ops.spanning_tree(w)
        # The target without seeds is infinite; its gradient is left out.
        return ops.bottleneck_distance(tree.order, tree.parent, tree.weight, seeds)[:, :2]

    assert torch.autograd.gradcheck(distance, edge_weight.requires_grad_())


def test_gradients_of_infinite_distances_are_not_read():
    order, parent = map(torch.from_numpy, random_tree(0, 1, 9))
    weight = torch.rand(1, 9, requires_grad=True)
    seeds = torch.tensor([[[4], [-1]]], dtype=torch.int32)
    distance = ops.bottleneck_distance(order, parent, weight, seeds)
    upstream = torch.ones(1, 2, 9)
    upstream[:, 1] = torch.nan
    distance.backward(upstream)
    assert weight.grad.sum() == 8  # one for every pixel but the seed
    assert weight.grad[0, 0] == 0


@pytest.mark.parametrize(("images", "targets", "pixels"), [(0, 2, 3), (2, 0, 3), (2, 2, 0)])
def test_empty(backend, images, targets, pixels):
    order, parent = random_tree(0, images, pixels)
    weight = np.zeros((images, pixels), np.float32)
    seeds = np.full((images, targets, 2), -1, np.int32)
    distance = backend.bottleneck_distance(order, parent, weight, seeds)
    assert distance.shape == (images, targets, pixels)
    if backend.name == "cpu":
        parts = map(torch.from_numpy, (order, parent, weight, seeds))
        assert not BACKWARD(torch.from_numpy(distance), *parts).any()


def random_inputs(images, targets, pixels, points=2):
    order, parent = map(torch.from_numpy, random_tree(targets, images, pixels))
    generator = torch.Generator().manual_seed(targets)
    weight = torch.rand(images, pixels, generator=generator)
    shape = (images, targets, points)
    return order, parent, weight, torch.randint(-1, pixels, shape, generator=generator).int()


@pytest.mark.parametrize("bad", [-1e-6, np.nan, np.inf])
def test_rejects_bad_weights(backend, bad):
    if not backend.checks_values:
        pytest.skip("values are not checked on the device")
    order, parent, weight, seeds = (t.numpy() for t in random_inputs(2, 1, 5))
    weight[:, 0] = np.nan  # the root's is not read
    backend.bottleneck_distance(order, parent, weight, seeds)
    weight[1, 4] = bad
    with pytest.raises(ValueError, match="weight must be finite and not negative"):
        backend.bottleneck_distance(order, parent, weight, seeds)


@pytest.mark.parametrize("bad", [-2, 5])
def test_rejects_seeds_out_of_range(backend, bad):
    if not backend.checks_values:
        pytest.skip("values are not checked on the device")
    order, parent, weight, seeds = (t.numpy() for t in random_inputs(2, 3, 5))
    seeds[1, 2, 1] = bad
    with pytest.raises(ValueError, match=r"seeds must lie in \[-1, 5\)"):
        backend.bottleneck_distance(order, parent, weight, seeds)


@pytest.mark.parametrize(("argument", "value"), [("order", 9), ("parent", 3), ("parent", -1)])
def test_rejects_what_is_no_tree(backend, argument, value):
    if not backend.checks_values:
        pytest.skip("values are not checked on the device")
    order, parent, weight, seeds = (t.numpy() for t in random_inputs(2, 3, 5))
    {"order": order, "parent": parent}[argument][1, 3] = value
    with pytest.raises(ValueError, match=f"bottleneck_distance: {argument} must"):
        backend.bottleneck_distance(order, parent, weight, seeds)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, torch.zeros(2, 4).int(), r"order must have shape \[B=2, N=5\], got \[2, 4\]"),
        (1, torch.zeros(2, 5), "parent must be int32, got float32"),
        (2, torch.zeros(5), r"weight must have shape \[B, N\], got \[5\]"),
        (2, torch.zeros(2, 5).int(), "weight must be float32 or float64, got int32"),
        (3, torch.zeros(1, 3, 2).int(), r"seeds must have shape \[B=2, K, P\], got \[1, 3, 2\]"),
    ],
)
def test_rejects_bad_tensors(place, value, message):
    arguments = list(random_inputs(2, 3, 5))
    arguments[place] = value
    with pytest.raises(ValueError, match=message):
        ops.bottleneck_distance(*arguments)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's own copies of the inputs
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(requires_grad):
    order, parent, weight, seeds = random_inputs(2, 3, 12)
    seeds[:, :, 0] = 3  # opcheck sums the distances up: none may be infinite
    torch.library.opcheck(DISTANCE, (order, parent, weight.requires_grad_(requires_grad), seeds))


def test_opcheck_of_the_gradient():
    torch.library.opcheck(BACKWARD, (torch.rand(2, 3, 12), *random_inputs(2, 3, 12)))


def test_compiles_without_graph_breaks():
    order, parent, weight, seeds = random_inputs(2, 3, 12)
    compiled = torch.compile(ops.bottleneck_distance, fullgraph=True, backend="aot_eager")
    results = []
    for function in (compiled, ops.bottleneck_distance):
        w = weight.clone().requires_grad_()
        distance = function(order, parent, w, seeds)
        distance.backward(torch.ones(2, 3, 12))
        results.append((distance, w.grad))
    for got, expected in zip(*results, strict=True):
        assert torch.equal(got, expected)


def test_takes_any_memory_layout():
    inputs = random_inputs(3, 5, 40)
    expected = ops.bottleneck_distance(*inputs)
    strided = [t.movedim(0, -1).contiguous().movedim(-1, 0) for t in inputs]
    assert not any(t.is_contiguous() for t in strided)
    assert torch.equal(ops.bottleneck_distance(*strided), expected)
    by_numpy = _core.bottleneck_distance(*(t.numpy() for t in strided))
    np.testing.assert_array_equal(by_numpy, expected.numpy())
    assert by_numpy.dtype == np.float32


def test_autocast_computes_in_float32():
    order, parent, weight, seeds = random_inputs(1, 3, 40)
    weight = weight.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        distance = ops.bottleneck_distance(order, parent, weight, seeds)
    assert distance.dtype == torch.float32
    assert torch.equal(distance, ops.bottleneck_distance(order, parent, weight.float(), seeds))


def test_same_bits_for_any_number_of_threads_and_batch_position(threads):
    inputs = random_inputs(4, 40, 333)
    upstream = torch.rand(4, 40, 333)

    def run(upstream, *arguments):
        return ops.bottleneck_distance(*arguments), BACKWARD(upstream, *arguments)

    with threads(1):
        alone = [run(*(t[image : image + 1] for t in (upstream, *inputs))) for image in range(4)]
    with threads(2):
        together = run(upstream, *inputs)
    for part, got in enumerate(together):
        assert torch.equal(torch.cat([one[part] for one in alone]), got)
