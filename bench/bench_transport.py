"""sinkhorn, its gradient, plan and labels beside eager torch and POT: one thread, CPU time.

Times are medians of interleaved repeats, in ns per cost entry (and iteration, for the solvers).
Peers iterate less often than the 80 iterations they are charged for, per iteration.
"""

import statistics
import time
from collections.abc import Callable

import ot
import torch

from point2mask import ops

SIZES = [(1, 16384, 20), (1, 65536, 20), (8, 65536, 20)]
EPSILONS = (1e-1, 1e-3)
ITERATIONS, PEER_ITERATIONS, REPEATS = 80, 8, 5


def problem(images: int, pixels: int, targets: int) -> tuple[torch.Tensor, ...]:
    """Distances to random centres, costs to about 10 as geodesics give, unequal supplies."""
    generator = torch.Generator().manual_seed(0)
    side = int(pixels**0.5)
    axis = torch.arange(side) * (7.0 / side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    centre = torch.rand(images, targets, 2, 1, 1, generator=generator) * 7
    cost = ((y - centre[:, :, 0]) ** 2 + (x - centre[:, :, 1]) ** 2).sqrt().flatten(2)
    supply = torch.rand(images, targets, generator=generator) + 0.1
    demand = torch.ones(images, cost.shape[2])
    return cost, supply / supply.sum(1, keepdim=True) * cost.shape[2], demand


def eager(cost: torch.Tensor, supply: torch.Tensor, demand: torch.Tensor, epsilon: float) -> None:
    """The published loop as it is usually written: [B, N, K], logsumexp both ways."""
    cost = cost.mT.contiguous()
    u, v = torch.zeros_like(supply), torch.zeros_like(demand)
    log_supply, log_demand = supply.log(), demand.log()
    for _ in range(PEER_ITERATIONS):
        v = epsilon * (log_demand - ((u[:, None] - cost) / epsilon).logsumexp(2))
        u = epsilon * (log_supply - ((v[:, :, None] - cost) / epsilon).logsumexp(1))


def pot(cost: torch.Tensor, supply: torch.Tensor, demand: torch.Tensor, epsilon: float) -> None:
    for c, b, a in zip(cost, supply, demand, strict=True):
        ot.bregman.sinkhorn_log(
            a, b, c.T, epsilon, numItermax=PEER_ITERATIONS, stopThr=0, warn=False
        )


def cpu_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def solvers() -> None:
    print(
        f"{'B x N x K':>14} {'epsilon':>8} {'sinkhorn':>9} {'relaxed':>9} {'eager':>14} {'POT':>14}"
    )
    for size in SIZES:
        cost, supply, demand = problem(*size)
        for epsilon in EPSILONS:
            args = cost, supply, demand, epsilon
            runs: list[tuple[Callable[[], object], int]] = [
                (lambda args=args: ops.sinkhorn(*args), ITERATIONS),
                (lambda args=args: ops.sinkhorn(*args, ITERATIONS, 0.0, 1.0, 1.0), ITERATIONS),
                (lambda args=args: eager(*args), PEER_ITERATIONS),
                (lambda args=args: pot(*args), PEER_ITERATIONS),
            ]
            times = [[cpu_seconds(run) for run, _ in runs] for _ in range(REPEATS)]
            ns = [
                statistics.median(column) / iterations / cost.numel() * 1e9
                for column, (_, iterations) in zip(zip(*times, strict=True), runs, strict=True)
            ]
            peers = " ".join(f"{t:7.2f} {t / ns[0]:5.0f}x" for t in ns[2:])
            name = "x".join(map(str, size))
            print(f"{name:>14} {epsilon:8.0e} {ns[0]:9.3f} {ns[1]:9.3f} {peers}", flush=True)


def single_passes() -> None:
    print(f"\n{'ns per entry':>14} {'ours':>9} {'eager':>14}")
    cost, supply, demand = problem(1, 65536, 20)
    epsilon = 0.01
    leaf = cost.requires_grad_()
    potential = ops.sinkhorn(leaf, supply, demand, epsilon).potential
    fixed = potential.detach()
    weight = torch.rand_like(fixed)

    def plan() -> torch.Tensor:
        row = ((fixed[:, :, None] - cost.detach()) / epsilon).softmax(1)
        return row * demand[:, None]

    pairs: dict[str, tuple[Callable[[], object], Callable[[], object] | None]] = {
        "plan": (lambda: ops.transport_plan(cost.detach(), fixed, demand, epsilon), plan),
        "labels": (
            lambda: ops.transport_labels(cost.detach(), fixed, demand),
            lambda: (cost.detach() - fixed[:, :, None]).argmin(1),
        ),
        "gradient": (
            lambda: torch.autograd.grad(potential, leaf, weight, retain_graph=True),
            None,
        ),
    }
    for name, (ours, theirs) in pairs.items():
        functions = [f for f in (ours, theirs) if f]
        times = [[cpu_seconds(f) for f in functions] for _ in range(3 * REPEATS)]
        ns = [statistics.median(column) / cost.numel() * 1e9 for column in zip(*times, strict=True)]
        ratio = f"{ns[1]:7.2f} {ns[1] / ns[0]:5.1f}x" if theirs else ""
        print(f"{name:>14} {ns[0]:9.3f} {ratio}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    solvers()
    single_passes()
