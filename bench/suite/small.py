"""What does not depend on the size: the import, and the call of an operator on next to nothing."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from timing import Samples

from point2mask import ops
from suite import native
from suite.harness import OURS, Case, Figure, Row, Run, summarize

SOURCE = Path(__file__).with_name("empty_operator.cpp")
EMPTY, EMPTY_WITH_RESULTS = "an empty operator", "an empty operator, three results"
BARE = "without gradients"

IMPORT = """
import json, time, torch
wall, cpu = time.perf_counter(), time.process_time()
import point2mask.ops
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
"""


def import_time(repeats: int) -> Row:
    """``import point2mask.ops`` after torch, in fresh processes; the first writes the bytecode."""
    taken = Samples()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for repeat in range(1 + repeats):
        done = subprocess.run(
            [sys.executable, "-c", IMPORT],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        wall, cpu = json.loads(done.stdout)
        if repeat == 0:
            continue
        taken.wall.append(wall)
        taken.cpu.append(cpu)
    figures: dict[str, Figure] = {OURS: summarize(taken, 1.0)}
    return Row("import", {}, 1.0, "import", figures)


def tiny_calls() -> dict[str, Callable[[], Any]]:
    """Every operator on a 2 x 2 image with one target."""
    edge = torch.rand(1, 2, 2, 2)
    order, parent, _, _ = ops.spanning_tree(edge)
    feature, similarity = torch.rand(1, 2, 4), torch.rand(1, 4)
    steps, points = torch.rand(1, 8, 2, 2), torch.zeros(1, 1, 1, dtype=torch.int32)
    cost, supply, demand = torch.rand(1, 1, 4), torch.full((1, 1), 4.0), torch.ones(1, 4)
    potential = ops.sinkhorn(cost, supply, demand, 0.1, 1).potential
    labels = torch.zeros(1, 2, 2, dtype=torch.int32)
    logits, lab, boundary = torch.rand(1, 2, 2, 2), torch.rand(1, 3, 2, 2), torch.rand(1, 2, 2)
    value, where = torch.rand(1, 4, 1, 4), torch.rand(1, 1, 1, 1, 1, 2)
    weights, shapes = torch.rand(1, 1, 1, 1, 1), torch.tensor([[2, 2]])
    return {
        "sinkhorn": lambda: ops.sinkhorn(cost, supply, demand, 0.1, 1),
        "sinkhorn_newton": lambda: ops.sinkhorn(cost, supply, demand, 0.1, 1, method="newton"),
        "transport_plan": lambda: ops.transport_plan(cost, potential, demand, 0.1),
        "transport_labels": lambda: ops.transport_labels(cost, potential, demand),
        "spanning_tree": lambda: ops.spanning_tree(edge),
        "tree_filter": lambda: ops.tree_filter(feature, order, parent, similarity),
        "geodesic_distance": lambda: ops.geodesic_distance(steps, points),
        "neighbor_difference": lambda: ops.neighbor_difference(logits),
        "lab_affinity_loss": lambda: ops.lab_affinity_loss(logits, lab),
        "boundary_loss": lambda: ops.boundary_loss(boundary, labels, labels),
        "mask_statistics": lambda: ops.mask_statistics(labels, 1),
        "deformable_attention": lambda: ops.deformable_attention(value, where, weights, shapes),
    }


def without_gradients(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call past PyTorch's Python kernel for gradients, which costs where there are none too."""

    def run() -> Any:
        with torch.inference_mode():
            return call()

    return run


def empty_calls() -> dict[str, Callable[[], Any]]:
    """Calls of operators that do nothing, with arguments as those of ``sinkhorn``."""
    package = Path(torch.__file__).parent
    flags = ("-std=c++20", "-O2", "-shared", "-fPIC", "-DTORCH_TARGET_VERSION=0x020a000000000000")
    headers, libraries = f"-I{package / 'include'}", (f"-L{package / 'lib'}", "-ltorch_cpu")
    torch.ops.load_library(str(native.build(SOURCE, (*flags, headers), libraries)))
    cost, supply, demand = torch.rand(1, 1, 4), torch.full((1, 1), 4.0), torch.ones(1, 4)
    arguments = cost, supply, demand, 0.1, 1, None
    operators = torch.ops.point2mask_bench
    return {
        EMPTY: lambda: operators.nothing.default(*arguments),
        EMPTY_WITH_RESULTS: lambda: operators.three_results.default(*arguments),
    }


def cases(quick: bool) -> Iterator[Case]:
    for operator, call in tiny_calls().items():
        runs = {OURS: Run(call), BARE: Run(without_gradients(call))}
        if operator == "sinkhorn":
            runs |= {name: Run(empty) for name, empty in empty_calls().items()}
        yield Case(f"call of {operator}", {"pixels": 4}, 1.0, "call", runs)
