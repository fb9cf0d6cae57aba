"""Pair operators and their gradients beside eager PyTorch with ``unfold``: a call, B = 2.

The peak memory is what torch allocates, the gradient included. The engine's own scratch is not
torch's: lab_affinity_loss holds a ring of 2 R + 1 rows of probabilities and R + 1 rows of pair
weights a thread, R = dilation * (kernel_size // 2); the others next to nothing.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from point2mask import ops
from suite.harness import OURS, Case, Run
from suite.native import ROOT

sys.path.append(str(ROOT / "tests"))
import unfolded

Loss = Callable[..., Tensor]


def cases(quick: bool) -> Iterator[Case]:
    for channels in (21,) if quick else (21, 133):
        for height, width in ((38, 50),) if quick else ((75, 100), (150, 200)):
            # Every size is a compilation of its own.
            yield from feature_maps(channels, height, width, height == 150)
    yield boundary(*((150, 200) if quick else (600, 800)), not quick)


def sliced_difference(feature: Tensor) -> Tensor:
    """Each undirected pair once, as a careful torch user would write it."""
    height, width = feature.shape[2:]
    parts = feature.new_zeros(feature.shape[0], 8, height, width)
    for d, (dy, dx) in enumerate(ops.GRID_OFFSETS[:4]):
        here = slice(0, height - dy), slice(max(0, -dx), width - max(0, dx))
        there = slice(dy, height), slice(max(0, dx), width - max(0, -dx))
        step = (feature[..., *here] - feature[..., *there]).abs().sum(1)
        parts[:, d, *here] = step
        parts[:, d + 4, *there] = step
    return parts


def case(
    operator: str,
    problem: dict[str, Any],
    leaf: Tensor,
    ours: Callable[[], Tensor],
    peers: dict[str, Callable[[], Tensor]],
) -> Case:
    def step(call: Callable[[], Tensor]) -> Tensor:
        return torch.autograd.grad(call().sum(), leaf)[0]

    def check() -> None:
        mine = step(ours)
        for name, call in peers.items():
            theirs = step(call)
            scale = float(theirs.abs().max())
            torch.testing.assert_close(
                mine, theirs, rtol=0, atol=1e-4 * scale, msg=lambda m, n=name: f"{n}: {m}"
            )

    runs = {OURS: Run(lambda: step(ours))}
    runs |= {name: Run(lambda call=call: step(call)) for name, call in peers.items()}
    entries = float(leaf.numel())
    return Case(operator, problem, entries, "entry, with gradient", runs, check, memory=True)


def with_compiled(function: Loss, compiled: bool) -> dict[str, Loss]:
    peers = {"PyTorch": function}
    if compiled:
        peers["torch.compile"] = torch.compile(function, dynamic=False)
    return peers


def feature_maps(channels: int, height: int, width: int, compiled: bool) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, channels, height, width, generator=generator, requires_grad=True)
    # Patches with noise: some pairs are near and some are not, as in photographs.
    coarse = 8 * torch.randn(2, 3, height // 4, width // 4, generator=generator)
    lab = F.interpolate(coarse, (height, width))
    lab = lab + 0.7 * torch.randn(lab.shape, generator=generator)
    problem = {"images": 2, "pixels": height * width, "channels": channels}

    def two_windows(loss: Loss) -> Callable[[], Tensor]:
        return lambda: loss(logits, lab, 3, 2) + loss(logits, lab, 5, 2)

    yield case(
        "neighbor_difference",
        problem,
        logits,
        lambda: ops.neighbor_difference(logits).square(),
        {
            name: lambda f=f: f(logits).square()
            for name, f in with_compiled(sliced_difference, compiled).items()
        },
    )
    yield case(
        "lab_affinity_loss",
        problem,
        logits,
        two_windows(ops.lab_affinity_loss),
        {
            name: two_windows(f)
            for name, f in with_compiled(unfolded.lab_affinity_loss, compiled).items()
        },
    )


def boundary(height: int, width: int, compiled: bool) -> Case:
    generator = torch.Generator().manual_seed(0)
    map_ = torch.rand(2, height, width, generator=generator, requires_grad=True)
    blocks = torch.randint(
        -1, 5, (2, height // 25, width // 25), dtype=torch.int32, generator=generator
    )
    instance = blocks.repeat_interleave(25, 1).repeat_interleave(25, 2)
    semantic = instance // 2
    return case(
        "boundary_loss",
        {"images": 2, "pixels": height * width},
        map_,
        lambda: ops.boundary_loss(map_, instance, semantic),
        {
            name: lambda f=f: f(map_, instance, semantic)
            for name, f in with_compiled(unfolded.boundary_loss, compiled).items()
        },
    )
