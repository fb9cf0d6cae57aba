"""Inputs of every operator at given sizes, and the least that a device must do for them.

Used by ``bench_gpu.py`` and by ``tests/cuda``. A size is a tuple; ``tiny`` serves a dry run on the
CPU, ``small`` the tests on a GPU, the others are timed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from point2mask import ops

Size = tuple[int, ...]
EPSILON, ITERATIONS = 1e-3, 80  # the published Sinkhorn
WINDOW = (3, 2, 2.0, 0.3, None)  # lab_affinity_loss: kernel size, dilation, theta, threshold
HEADS, WIDTH, POINTS = 8, 32, 4  # deformable attention


class Floor(NamedTuple):
    """Bytes that must cross the memory of the device, and exponentials that must be taken."""

    bytes: int
    exponentials: int = 0


class Problem(NamedTuple):
    sizes: dict[str, Size]
    make: Callable[[Size, torch.Generator, str], tuple[Any, ...]]
    floor: Callable[[Size, int], Floor]  # of a size, and the shared memory of the device in bytes
    differentiable: int = 0  # which argument


def arguments(operator: str, size: Size, device: str) -> tuple[Any, ...]:
    """What the operator is called with, on the device; random numbers come from the CPU."""
    generator = torch.Generator().manual_seed(0)
    return PROBLEMS[operator].make(size, generator, device)


def _rand(generator: torch.Generator, device: str, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator).to(device)


def _integers(generator: torch.Generator, device: str, low: int, high: int, *shape: int) -> Tensor:
    return torch.randint(low, high, shape, generator=generator, dtype=torch.int32).to(device)


# Transport: (images, pixels, targets).


def positions(size: Size, generator: torch.Generator, device: str) -> tuple[Tensor, Tensor]:
    """Pixels ``[B, N, 2]`` and the targets' centres ``[B, K, 2]``, in a square of side 7."""
    images, pixels, targets = size
    columns = max(round(pixels**0.5), 1)
    index = torch.arange(pixels, device=device)
    pixel = torch.stack((index // columns, index % columns), 1) * (7.0 / columns)
    return pixel.expand(images, -1, -1), 7 * _rand(generator, device, images, targets, 2)


def _masses(size: Size, generator: torch.Generator, device: str) -> tuple[Tensor, ...]:
    """Distances as cost, supplies, and one unit a pixel as demand."""
    images, pixels, targets = size
    pixel, centre = positions(size, generator, device)
    cost = torch.stack([(pixel[0] - c).square().sum(1).sqrt() for c in centre.flatten(0, 1)])
    supply = 0.1 + _rand(generator, device, images, targets)
    supply *= pixels / supply.sum(1, keepdim=True)
    demand = torch.ones(images, pixels, device=device)
    return cost.view(images, targets, pixels), supply, demand


def _sinkhorn(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    relaxation = float("inf")
    return *_masses(size, g, device), EPSILON, ITERATIONS, 0.0, relaxation, relaxation, None


def _newton(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    return *_masses(size, g, device), 0.1, ITERATIONS, 1e-4, None


def _sinkhorn_backward(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    cost, supply, demand = _masses(size, g, device)
    potential = ops.sinkhorn(cost, supply, demand, 0.1, ITERATIONS).potential
    grad = _rand(g, device, *potential.shape) - 0.5
    return grad, cost, supply, demand, potential, 0.1, float("inf"), float("inf")


def _labels(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    cost, supply, demand = _masses(size, g, device)
    return cost, _rand(g, device, *supply.shape), demand


def _plan(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    return *_labels(size, g, device), 0.1, float("inf")


def _plan_backward(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    cost, potential, demand, epsilon, relaxation = _plan(size, g, device)
    grad = _rand(g, device, *cost.shape) - 0.5
    return grad, cost, potential, demand, epsilon, relaxation


def _entries(size: Size) -> int:
    images, pixels, targets = size
    return images * pixels * targets


def _sinkhorn_floor(size: Size, shared: int) -> Floor:
    """The costs of an image are read once if they fit the shared memory, else every iteration."""
    _, pixels, targets = size
    passes = 1 if 4 * pixels * targets <= shared else ITERATIONS
    return Floor(4 * _entries(size) * passes, _entries(size) * passes)


# Geodesics: (images, targets, side). Trees and maps: (images, channels, side).


def _geodesic(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    images, targets, side = size
    return (
        0.01 + _rand(g, device, images, 8, side, side),
        _integers(g, device, 0, side * side, images, targets, 1),
    )


def _geodesic_backward(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    edge_cost, seeds = _geodesic(size, g, device)
    distance = ops.geodesic_distance(edge_cost, seeds)
    return _rand(g, device, *distance.shape), edge_cost, distance, seeds


def _smooth(size: Size, g: torch.Generator, device: str) -> Tensor:
    """A map ``[B, C, H, H]`` of blobs and noise, about as rough as a photograph."""
    images, channels, side = size
    coarse = _rand(g, device, images, channels, max(side // 16, 1), max(side // 16, 1))
    blobs = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return blobs + 0.05 * _rand(g, device, images, channels, side, side)


def _weights(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    images, _, side = size
    guide = _smooth((images, 3, side), g, device)
    return (ops.neighbor_difference(guide, 2, "squared_l2"),)


def _filter(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    images, channels, side = size
    tree = ops.spanning_tree(*_weights(size, g, device))
    similarity = torch.exp(-tree.weight / 0.02)
    feature = _rand(g, device, images, channels, side * side)
    return feature, tree.order, tree.parent, similarity, True


def _filter_backward(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    feature, *tree = _filter(size, g, device)
    output, kept = torch.ops.point2mask.tree_filter.default(feature, *tree)
    return _rand(g, device, *feature.shape), feature, output, *tree, kept


def _difference(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    return _smooth(size, g, device), 8, "l1"


def _difference_backward(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    feature, directions, norm = _difference(size, g, device)
    difference = ops.neighbor_difference(feature, directions, norm)
    return _rand(g, device, *difference.shape), feature, difference, norm


def _lab(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    images, _, side = size
    return 4 * _smooth(size, g, device), 20 * _smooth((images, 3, side), g, device), *WINDOW


def _lab_backward(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    inputs = _lab(size, g, device)
    _, pairs = torch.ops.point2mask.lab_affinity_loss.default(*inputs)
    return (_rand(g, device, size[0]), *inputs[:2], pairs, *inputs[2:])


def _segments(size: Size, g: torch.Generator, device: str) -> Tensor:
    images, targets, side = size
    coarse = _integers(g, device, -1, targets, images, -(-side // 16), -(-side // 16))
    whole = coarse.repeat_interleave(16, 1).repeat_interleave(16, 2)
    return whole[:, :side, :side].contiguous()


def _statistics(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    return _segments(size, g, device), size[1]


def _boundary(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    instance = _segments(size, g, device)
    semantic = torch.where(instance < 0, 20, instance % 5).int()
    images, _, side = size
    return _rand(g, device, images, side, side), instance, semantic, 3, 1


def _boundary_backward(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    inputs = _boundary(size, g, device)
    _, pairs = torch.ops.point2mask.boundary_loss.default(*inputs)
    return (_rand(g, device, size[0]), *inputs[:3], pairs, *inputs[3:])


# Deformable attention: (images, side of the finest of three maps); a query a cell.


def _level_sides(size: Size) -> list[int]:
    return [size[1], -(-size[1] // 2), -(-size[1] // 4)]


def _attention(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    sides = _level_sides(size)
    cells = sum(side * side for side in sides)
    value = _rand(g, device, size[0], cells, HEADS, WIDTH) - 0.5
    read = (size[0], cells, HEADS, len(sides), POINTS)
    centre = torch.cat([_centres(side) for side in sides]).to(device)[None, :, None, None, None]
    where = centre + 0.1 * (_rand(g, device, *read, 2) - 0.5)
    weight = _rand(g, device, *read)
    return value, where, weight, torch.tensor([[side, side] for side in sides])


def _centres(side: int) -> Tensor:
    axis = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((x, y), -1).flatten(0, 1)


def _attention_backward(size: Size, g: torch.Generator, device: str) -> tuple[Any, ...]:
    inputs = _attention(size, g, device)
    return _rand(g, device, *inputs[0].shape) - 0.5, *inputs


def _attention_floor(size: Size, backward: bool) -> Floor:
    cells = size[0] * sum(side * side for side in _level_sides(size))
    maps, reads = 4 * cells * HEADS * WIDTH, 12 * cells * HEADS * 3 * POINTS
    return Floor(3 * maps + 2 * reads if backward else 2 * maps + reads)


def _sized(per_channel: int, per_pixel: int, exponentials: int = 0) -> Callable[..., Floor]:
    """Bytes an entry of ``[B, C, H, H]``, and a pixel; exponentials an entry."""

    def floor(size: Size, shared: int) -> Floor:
        images, channels, side = size
        pixels = images * side * side
        return Floor(
            pixels * (per_channel * channels + per_pixel), pixels * channels * exponentials
        )

    return floor


def _moved(per_entry: int, per_pixel: int, exponentials: int = 0) -> Callable[..., Floor]:
    """The same for a transport."""

    def floor(size: Size, shared: int) -> Floor:
        entries = _entries(size)
        return Floor(per_entry * entries + per_pixel * size[0] * size[1], exponentials * entries)

    return floor


def _named(tiny: Size, small: Size, *timed: Size) -> dict[str, Size]:
    names = {"x".join(map(str, size)): size for size in timed}
    return {"tiny": tiny, "small": small, **names}


_SMALL_TRANSPORTS = _named((2, 70, 3), (3, 5000, 7), (1, 16384, 20), (1, 65536, 20))
_TRANSPORTS = _SMALL_TRANSPORTS | {
    "x".join(map(str, size)): size
    for size in ((8, 65536, 20), (8, 65536, 80), (16, 65536, 80), (16, 100000, 150))
}
_SOME_TRANSPORTS = _SMALL_TRANSPORTS | {"8x65536x20": (8, 65536, 20)}
_GEODESICS = _named((1, 2, 9), (2, 5, 60), (16, 20, 32), (16, 20, 128), (1, 150, 512))
_TREES = _named((1, 2, 9), (2, 5, 60), (8, 21, 128), (8, 21, 256), (8, 21, 512), (1, 150, 512))
_SPANNING = _named((1, 1, 9), (2, 1, 60), *((8, 1, side) for side in (128, 256, 512, 1024)))
_MAPS = _named((1, 2, 9), (2, 5, 60), (8, 21, 128), (8, 21, 256), (8, 21, 512))
_ATTENTIONS = _named((1, 5), (2, 20), (2, 64), (2, 100))

PROBLEMS: dict[str, Problem] = {
    "sinkhorn": Problem(_TRANSPORTS, _sinkhorn, _sinkhorn_floor),
    "sinkhorn_newton": Problem(_SOME_TRANSPORTS, _newton, _moved(4, 4, 1)),
    "sinkhorn_backward": Problem(_SOME_TRANSPORTS, _sinkhorn_backward, _moved(8, 8, 1)),
    "transport_labels": Problem(_SOME_TRANSPORTS, _labels, _moved(4, 8)),
    "transport_plan": Problem(_SOME_TRANSPORTS, _plan, _moved(8, 4, 1)),
    "transport_plan_backward": Problem(_SOME_TRANSPORTS, _plan_backward, _moved(12, 8, 1)),
    "geodesic_distance": Problem(_GEODESICS, _geodesic, _sized(4, 32)),
    "geodesic_distance_backward": Problem(_GEODESICS, _geodesic_backward, _sized(8, 64)),
    "spanning_tree": Problem(_SPANNING, _weights, _sized(0, 24)),
    "tree_filter": Problem(_TREES, _filter, _sized(8, 12)),
    "tree_filter_backward": Problem(_TREES, _filter_backward, _sized(16, 16)),
    "neighbor_difference": Problem(_MAPS, _difference, _sized(4, 32)),
    "neighbor_difference_backward": Problem(_MAPS, _difference_backward, _sized(8, 32)),
    "lab_affinity_loss": Problem(_MAPS, _lab, _sized(4, 12, 1)),
    "lab_affinity_loss_backward": Problem(_MAPS, _lab_backward, _sized(8, 12, 1)),
    "boundary_loss": Problem(_MAPS, _boundary, _sized(0, 12)),
    "boundary_loss_backward": Problem(_MAPS, _boundary_backward, _sized(0, 16)),
    "mask_statistics": Problem(_MAPS, _statistics, _sized(0, 4)),
    "deformable_attention": Problem(
        _ATTENTIONS, _attention, lambda size, shared: _attention_floor(size, False)
    ),
    "deformable_attention_backward": Problem(
        _ATTENTIONS, _attention_backward, lambda size, shared: _attention_floor(size, True)
    ),
}
