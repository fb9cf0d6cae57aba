"""Photographs, edge weights, edge costs and transport problems that the families share."""

import numpy as np
import torch
from skimage import data, transform
from torch import Tensor

from point2mask import ops

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea")
NOISE = "noise"


def picture(name: str, size: int) -> Tensor:
    """float32 ``[3, size, size]`` in [0, 1]: one of scikit-image's photographs, or noise."""
    if name == NOISE:
        return torch.rand(3, size, size, generator=torch.Generator().manual_seed(0))
    image = transform.resize(getattr(data, name)(), (size, size), anti_aliasing=True, order=1)
    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1).contiguous()


def pictures(count: int, size: int) -> Tensor:
    """``[count, 3, size, size]``, all different: photographs and their rotations."""
    base = [picture(name, size) for name in PHOTOGRAPHS[:count]]
    turned = [base[b % 3].rot90(b // 3, (1, 2)) for b in range(count)]
    return torch.stack(turned).contiguous()


def edge_weights(images: Tensor, connectivity: int = 4) -> Tensor:
    """``[B, D, H, W]``: squared differences of colour."""
    return ops.neighbor_difference(images, connectivity // 2, "squared_l2")


def edge_costs(images: Tensor) -> Tensor:
    """``[B, 8, H, W]``: a tenth of the step's length, nine tenths of the difference of colour."""
    length = torch.tensor([np.hypot(*offset) for offset in ops.GRID_OFFSETS], dtype=torch.float32)
    return 0.1 * length[:, None, None] + 0.9 * ops.neighbor_difference(images)


def seeds(images: int, pixels: int, targets: int) -> Tensor:
    """int32 ``[B, K, 1]``, distinct pixels."""
    rng = np.random.default_rng(1)
    chosen = [rng.choice(pixels, targets, replace=False) for _ in range(images)]
    return torch.from_numpy(np.stack(chosen).astype(np.int32))[..., None].contiguous()


def transport_problem(
    images: int, pixels: int, targets: int, kind: str = "photograph"
) -> tuple[Tensor, Tensor, Tensor]:
    """Cost ``[B, K, N]``, supply ``[B, K]`` (unequal) and demand ``[B, N]`` (ones).

    ``photograph``: geodesic distances from random pixels, the largest 10, as the published costs
    of empty targets; ``random``: independent uniform numbers.
    """
    generator = torch.Generator().manual_seed(0)
    side = int(pixels**0.5)
    if kind == "random":
        cost = torch.rand(images, targets, pixels, generator=generator)
    else:
        costs = edge_costs(pictures(images, side))
        cost = ops.geodesic_distance(costs, seeds(images, pixels, targets)).flatten(2)
        cost *= 10 / cost.amax((1, 2), keepdim=True)
    supply = torch.rand(images, targets, generator=generator) + 0.1
    supply *= pixels / supply.sum(1, keepdim=True)
    return cost, supply, torch.ones(images, pixels)
