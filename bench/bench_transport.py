"""sinkhorn, its gradient, plan and labels beside eager torch and POT: one thread, CPU time.

    python bench/bench_transport.py

ns per cost entry (and iteration, for the solvers), medians of interleaved repeats. All peers get
float32 costs as [K, N] planes, the layout in which torch's logsumexp is fastest; POT is its
sinkhorn_log on torch tensors. Peers run 20 iterations, ours the published 80. With --keep-heap
glibc keeps freed memory: the page faults of the peers' large temporaries, which come and go with
the state of the heap, are then left out.
"""

import ctypes
import os
import sys

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable
from functools import partial
from typing import Any

import ot
import torch
from timing import interleaved
from torch import Tensor

from point2mask import ops

SIZES = [(1, 16384, 20), (1, 65536, 20), (8, 65536, 20)]
EPSILONS = (1e-1, 1e-3)
ITERATIONS, PEER_ITERATIONS = 80, 20


def problem(images: int, pixels: int, targets: int) -> tuple[Tensor, Tensor, Tensor]:
    """Distances to random centres, up to about 10 as geodesics reach, and unequal supplies."""
    generator = torch.Generator().manual_seed(0)
    side = int(pixels**0.5)
    axis = torch.arange(side) * (7.0 / side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    centre = torch.rand(images, targets, 2, 1, 1, generator=generator) * 7
    cost = ((y - centre[:, :, 0]) ** 2 + (x - centre[:, :, 1]) ** 2).sqrt().flatten(2)
    supply = torch.rand(images, targets, generator=generator) + 0.1
    supply *= pixels / supply.sum(1, keepdim=True)
    return cost, supply, torch.ones(images, pixels)


def eager(cost: Tensor, supply: Tensor, demand: Tensor, epsilon: float) -> Tensor:
    u = torch.zeros_like(supply)
    log_supply, log_demand = supply.log(), demand.log()
    for _ in range(PEER_ITERATIONS):
        v = epsilon * (log_demand - ((u[:, :, None] - cost) / epsilon).logsumexp(1))
        u = epsilon * (log_supply - ((v[:, None] - cost) / epsilon).logsumexp(2))
    return u


def pot(cost: Tensor, supply: Tensor, demand: Tensor, epsilon: float) -> None:
    for c, b, a in zip(cost, supply, demand, strict=True):
        ot.bregman.sinkhorn_log(
            a, b, c.T, epsilon, numItermax=PEER_ITERATIONS, stopThr=0, warn=False
        )


def solvers() -> None:
    print("B x N x K        epsilon  sinkhorn   relaxed    eager torch            POT")
    for size in SIZES:
        cost, supply, demand = problem(*size)
        for epsilon in EPSILONS:
            args = cost, supply, demand, epsilon
            peers: dict[str, tuple[Callable[[], Any], int]] = {
                "ours": (partial(ops.sinkhorn, *args, ITERATIONS), ITERATIONS),
                "relaxed": (partial(ops.sinkhorn, *args, ITERATIONS, 0.0, 1.0, 1.0), ITERATIONS),
                "eager": (partial(eager, *args), PEER_ITERATIONS),
                "pot": (partial(pot, *args), PEER_ITERATIONS),
            }
            times = interleaved({name: run for name, (run, _) in peers.items()}, repeats=3)
            ns = {
                name: times[name]["cpu"] / iterations / cost.numel() * 1e9
                for name, (_, iterations) in peers.items()
            }
            others = " ".join(f"{ns[n]:7.2f} {ns[n] / ns['ours']:5.0f}x" for n in ("eager", "pot"))
            name = "x".join(map(str, size))
            print(f"{name:15} {epsilon:8.0e} {ns['ours']:9.3f} {ns['relaxed']:9.3f} {others}")


def single_passes() -> None:
    print("\n1x65536x20           ours    eager torch")
    cost, supply, demand = problem(1, 65536, 20)
    epsilon = 0.01
    leaf = cost.clone().requires_grad_()
    potential = ops.sinkhorn(leaf, supply, demand, epsilon).potential
    u = potential.detach()
    weight = torch.rand_like(u)
    pairs: dict[str, dict[str, Callable[[], Any]]] = {
        "plan": {
            "ours": lambda: ops.transport_plan(cost, u, demand, epsilon),
            "eager": lambda: ((u[:, :, None] - cost) / epsilon).softmax(1) * demand[:, None],
        },
        "labels": {
            "ours": lambda: ops.transport_labels(cost, u, demand),
            "eager": lambda: (cost - u[:, :, None]).argmin(1),
        },
        "gradient": {
            "ours": lambda: torch.autograd.grad(potential, leaf, weight, retain_graph=True)
        },
    }
    for name, peers in pairs.items():
        times = interleaved(peers, repeats=15)
        ns = {peer: times[peer]["cpu"] / cost.numel() * 1e9 for peer in peers}
        ratio = f"{ns['eager']:8.2f} {ns['eager'] / ns['ours']:5.1f}x" if "eager" in ns else ""
        print(f"{name:15} {ns['ours']:9.3f} {ratio}")


def keep_heap() -> None:
    m_trim_threshold, m_mmap_threshold = -1, -3
    for parameter in (m_trim_threshold, m_mmap_threshold):
        ctypes.CDLL("libc.so.6").mallopt(parameter, 1 << 30)


if __name__ == "__main__":
    if "--keep-heap" in sys.argv[1:]:
        keep_heap()
    torch.set_num_threads(1)
    solvers()
    single_passes()
