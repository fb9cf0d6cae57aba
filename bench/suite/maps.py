"""Deformable attention, mask statistics and LAB colours."""

from collections.abc import Iterator

import gpu_peers
import torch
from torch import Tensor

from point2mask import ops
from suite.harness import OURS, Case, Run
from suite.inputs import pictures
from suite.peers import installed, load


def cases(quick: bool) -> Iterator[Case]:
    # The encoder's queries are all cells of the maps of strides 8 to 64.
    for size in (128,) if quick else (320, 640):
        for channels in (12, 32):
            yield deformable(size, channels)
    for size in (128,) if quick else (256, 1024):
        yield statistics(size)
        yield colors(size)


def deformable(size: int, channels: int) -> Case:
    """Forward and gradients of an encoder layer: 8 heads, 4 maps, 4 points."""
    generator = torch.Generator().manual_seed(0)
    sides = [size // stride for stride in (8, 16, 32, 64)]
    shapes = torch.tensor([(side, side) for side in sides])
    cells = sum(side**2 for side in sides)
    value = torch.randn(1, cells, 8, channels, generator=generator, requires_grad=True)
    at = torch.cat([torch.cartesian_prod(*[(torch.arange(s) + 0.5) / s] * 2) for s in sides])
    spread = 0.05 * torch.randn(1, cells, 8, 4, 4, 2, generator=generator)
    where = (at.flip(1)[None, :, None, None, None] + spread).requires_grad_()
    weight = torch.rand(1, cells, 8, 4, 4, generator=generator).requires_grad_()
    leaves = value, where, weight
    sample_by_level = gpu_peers.deformable_attention(lambda function: function)

    def step(function) -> tuple[Tensor, ...]:
        return torch.autograd.grad(function(*leaves, shapes).square().sum(), leaves)

    def check() -> None:
        for mine, theirs in zip(step(ops.deformable_attention), step(sample_by_level), strict=True):
            # A read at the border of two cells may fall on either side of the kink.
            close = torch.isclose(mine, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))
            assert close.float().mean() > 0.999, "grid_sample gives other gradients"

    with torch.no_grad():
        inputs = [leaf.detach() for leaf in leaves]
    return Case(
        "deformable_attention",
        {"pixels": size**2, "cells": cells, "channels": channels},
        float(cells * 8 * 16 * channels),
        "read and channel, with gradients",
        {
            OURS: Run(lambda: step(ops.deformable_attention)),
            "forward": Run(lambda: ops.deformable_attention(*inputs, shapes)),
            "PyTorch": Run(lambda: step(sample_by_level)),
        },
        check,
        memory=True,
    )


def statistics(size: int) -> Case:
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(-1, 20, (2, size // 16, size // 16), generator=generator)
    labels = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2).int().contiguous()
    runs = {OURS: Run(lambda: ops.mask_statistics(labels, 20))}

    def in_torch() -> tuple[Tensor, Tensor]:
        """Areas and centroids by one-hot masks."""
        masks = (labels[:, None] == torch.arange(20)[:, None, None]).float()
        area, axis = masks.sum((2, 3)), torch.arange(size, dtype=torch.float32)
        y, x = masks.sum(3) @ axis, masks.sum(2) @ axis
        return area, torch.stack((y, x), 2) / area.clamp_min(1)[..., None]

    runs["PyTorch"] = Run(in_torch)
    if installed("scikit-image"):
        table = load("scikit-image", "measure").regionprops_table
        wanted = ("area", "centroid", "bbox")
        arrays = [image.numpy() + 1 for image in labels]
        runs["scikit-image"] = Run(lambda: [table(array, properties=wanted) for array in arrays])

    def check() -> None:
        mine, (area, centroid) = ops.mask_statistics(labels, 20), in_torch()
        torch.testing.assert_close(mine.area.float(), area)
        torch.testing.assert_close(mine.centroid, centroid, rtol=1e-5, atol=1e-2)

    problem = {"images": 2, "pixels": size**2, "targets": 20}
    return Case("mask_statistics", problem, float(labels.numel()), "pixel", runs, check)


def colors(size: int) -> Case:
    images = pictures(1, size)
    runs = {OURS: Run(lambda: ops.rgb_to_lab(images))}
    check = None
    if installed("scikit-image"):
        convert = load("scikit-image", "color").rgb2lab
        array = images[0].permute(1, 2, 0).contiguous().numpy()
        runs["scikit-image"] = Run(lambda: convert(array))

        def check() -> None:
            theirs = torch.from_numpy(convert(array)).permute(2, 0, 1)
            torch.testing.assert_close(ops.rgb_to_lab(images)[0], theirs, rtol=0, atol=1e-2)

    return Case("rgb_to_lab", {"pixels": size**2}, float(size**2), "pixel", runs, check)
