"""sinkhorn, its gradient, plan and labels: nanoseconds a cost entry (and iteration)."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from point2mask import ops
from suite import native
from suite.harness import OURS, Case, Run
from suite.inputs import transport_problem
from suite.transport_peers import peers

ITERATIONS = 80
FLOOR = "read of the cost"
# Images, pixels, targets.
QUICK = ((1, 4096, 20),)
SIZES = (
    *QUICK,
    (1, 16384, 5),
    (1, 16384, 20),
    (1, 16384, 80),
    (1, 16384, 150),
    (1, 65536, 5),
    (1, 65536, 20),
    (1, 65536, 80),
    (1, 65536, 150),
    (8, 4096, 20),
    (8, 16384, 20),
    (8, 65536, 20),
    (8, 65536, 80),
)
# Ours alone: growth up to four million pixels and a thousand targets.
LARGE = ((1, 262144, 20), (1, 1048576, 20), (1, 4194304, 20), (1, 65536, 1000))
# Every size is a compilation of its own.
COMPILED = {(1, 16384, 20), (1, 65536, 20), (8, 65536, 20)}
EPSILONS = (1e-1, 1e-2, 1e-3)
COMPARED = {"PyTorch", "POT", "OTT-JAX", "torch.compile"}  # those with our trajectory


def cases(quick: bool) -> Iterator[Case]:
    for size in QUICK if quick else SIZES:
        for epsilon in EPSILONS if size[0] == 1 else EPSILONS[::2]:
            yield solver(size, "photograph", epsilon, not quick and size in COMPILED)
    if not quick:
        for epsilon in EPSILONS:
            yield solver((1, 65536, 20), "random", epsilon, True)
        for size in LARGE:
            yield solver(size, "random", 1e-2, False, alone=True)
    yield from single_passes(QUICK[0] if quick else (1, 65536, 20))


def solver(
    size: tuple[int, int, int], kind: str, epsilon: float, compiled: bool, alone: bool = False
) -> Case:
    cost, supply, demand = transport_problem(*size, kind)
    entries = cost.numel()
    # Enough for a peer's set-up not to count, few enough for the large problems.
    fewer = max(3, min(20, 20_000_000 // entries))
    solve = partial(ops.sinkhorn, cost, supply, demand, epsilon)
    calls = {} if alone else peers(cost, supply, demand, epsilon, fewer, compiled)
    runs = {OURS: Run(lambda: solve(ITERATIONS))}
    if not alone:
        relaxed = partial(solve, ITERATIONS, supply_relaxation=1.0, demand_relaxation=1.0)
        runs["relaxed"] = Run(relaxed)
    runs[FLOOR] = Run(partial(native.read, cost), 1 / ITERATIONS)
    runs |= {name: Run(call, fewer / ITERATIONS) for name, call in calls.items()}

    def check() -> None:
        mine = centred(solve(fewer).potential)
        scale = float(cost.amax())
        for name in COMPARED & calls.keys():
            other = centred(calls[name]())
            torch.testing.assert_close(
                other, mine, rtol=0, atol=1e-4 * scale, msg=lambda m, n=name: f"{n}: {m}"
            )

    images, pixels, targets = size
    problem = {"images": images, "pixels": pixels, "targets": targets}
    return Case(
        "sinkhorn",
        {**problem, "cost": kind, "epsilon": epsilon},
        float(entries * ITERATIONS),
        "entry and iteration",
        runs,
        check,
    )


def solutions(quick: bool) -> Iterator[Case]:
    """Newton's method beside Sinkhorn's iterations, to a marginal error of 1e-6."""
    for targets in (20,) if quick else (20, 80):
        for epsilon in (1e-2,) if quick else (1e-1, 1e-2, 1e-3):
            yield solution((1, 4096, targets), epsilon)


def solution(size: tuple[int, int, int], epsilon: float) -> Case:
    """In float64, whose rounding stays below the tolerance; of so many iterations at most."""
    tensors = [t.double() for t in transport_problem(*size)]
    newton = partial(ops.sinkhorn, *tensors, epsilon, 100, 1e-6, method="newton")
    iterate = partial(ops.sinkhorn, *tensors, epsilon, 3000, 1e-6)
    images, pixels, targets = size
    problem = {"images": images, "pixels": pixels, "targets": targets, "epsilon": epsilon}
    found, reached = newton(), iterate()
    passes, iterations = (int(solution.iterations[0]) for solution in (found, reached))

    def check() -> None:
        if reached.marginal_error[0] <= 1e-6:  # within its iterations
            bound = 1e-4 * float(tensors[0].amax())
            torch.testing.assert_close(reached.potential, found.potential, rtol=0, atol=bound)

    return Case(
        "sinkhorn to 1e-6",
        {**problem, "passes": passes, "iterations": iterations},
        1.0,
        "solution",
        {OURS: Run(newton), "Sinkhorn": Run(iterate)},
        check,
    )


def centred(potential: Tensor) -> Tensor:
    return potential - potential.mean(1, keepdim=True)


def single_passes(size: tuple[int, int, int]) -> Iterator[Case]:
    cost, supply, demand = transport_problem(*size)
    epsilon = 0.01
    leaf = cost.clone().requires_grad_()
    potential = ops.sinkhorn(leaf, supply, demand, epsilon).potential
    u = potential.detach()
    weight = torch.rand_like(u)
    floor = Run(partial(native.read, cost))
    runs = {
        "transport_plan": {
            OURS: Run(lambda: ops.transport_plan(cost, u, demand, epsilon)),
            "PyTorch": Run(lambda: ((u[:, :, None] - cost) / epsilon).softmax(1) * demand[:, None]),
        },
        "transport_labels": {
            OURS: Run(lambda: ops.transport_labels(cost, u, demand)),
            "PyTorch": Run(lambda: (cost - u[:, :, None]).argmin(1)),
        },
        "sinkhorn gradient": {
            OURS: Run(lambda: torch.autograd.grad(potential, leaf, weight, retain_graph=True))
        },
    }
    images, pixels, targets = size
    problem = {"images": images, "pixels": pixels, "targets": targets, "epsilon": epsilon}
    for operator, peers_ in runs.items():
        yield Case(operator, problem, float(cost.numel()), "entry", {**peers_, FLOOR: floor})
