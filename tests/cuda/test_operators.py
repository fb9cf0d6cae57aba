"""Every operator on CUDA tensors: what the CPU gives, and the same bits in every run.

The inputs are those of the emulated kernels, with the same tolerances, and those of the benchmark.
"""

import math
from typing import Any

import gpu_problems
import numpy as np
import pytest
import torch
from simt import cases
from simt.expected import allowed, engine, expected
from torch import Tensor

from point2mask.ops._library import WITHOUT_CUDA

RUNS = 100
# Distances, trees, labels and statistics have the CPU's bits.
BITWISE = (
    "geodesic_distance",
    "geodesic_distance_backward",
    "mask_statistics",
    "spanning_tree",
    "transport_labels",
)
CASES = [pytest.param(*case, id=f"{case[0]}-{n}") for n, case in enumerate(cases.all_cases())]
OPERATORS = sorted(gpu_problems.PROBLEMS)


def call(operator: str, arguments: tuple[Any, ...], device: str) -> tuple[Tensor, ...]:
    if device == "cuda" and operator in WITHOUT_CUDA:
        pytest.skip(f"{operator} has no CUDA kernel")

    def to_device(value: Any) -> Any:
        value = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        return value.to(device) if isinstance(value, Tensor) else value

    moved = [*map(to_device, arguments)]
    if operator.startswith("deformable_attention"):
        moved[-1] = arguments[-1]  # the sizes of the maps stay on the host
        if isinstance(moved[-1], np.ndarray):
            moved[-1] = torch.from_numpy(moved[-1])
    if operator == "tree_filter_backward":  # what a device's filter keeps is that of its tree
        grad, _, _, *tree = moved[:7]
        moved[7:] = torch.ops.point2mask.tree_filter.default(grad, *tree)[1:]
    result = getattr(torch.ops.point2mask, operator).default(*moved)
    results = result if isinstance(result, tuple) else (result,)
    assert all(part.device.type == device for part in results)
    return results[:1] if operator == "tree_filter" else results  # heads it keeps in no order


def schema_arguments(operator: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """A case of the emulator names the variant of sinkhorn; the operator chooses it itself."""
    return arguments[:-1] if operator == "sinkhorn" else arguments


@pytest.mark.parametrize(("operator", "arguments"), CASES)
def test_equals_the_cpu(operator, arguments, device):
    got = [
        t.numpy(force=True) for t in call(operator, schema_arguments(operator, arguments), device)
    ]
    if operator in BITWISE:
        for one, want in zip(got, engine(operator, arguments), strict=True):
            assert (one.dtype, one.shape) == (want.dtype, want.shape)
            assert one.tobytes() == want.tobytes()
        return
    wanted = expected(operator)(*arguments)
    # The losses also return how many pairs they counted, which `expected` leaves out.
    for one, want in zip(got, wanted if isinstance(wanted, tuple) else (wanted,), strict=False):
        relative, absolute = allowed(operator, one, np.asarray(want))
        np.testing.assert_allclose(one, want, rtol=relative, atol=absolute)


@pytest.mark.parametrize("operator", ["boundary_loss", "lab_affinity_loss"])
def test_counts_the_same_pairs_as_the_cpu(operator, device):
    for name, arguments in cases.all_cases():
        if name == operator:
            pairs = call(operator, arguments, device)[1]
            np.testing.assert_array_equal(pairs.cpu(), engine(operator, arguments)[1])


def sinkhorn_problem(targets: int, pixels: int, relaxation: float) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(targets)
    cost = torch.rand(1, targets, pixels, generator=generator)
    supply, demand = torch.full((1, targets), pixels / targets), torch.ones(1, pixels)
    return cost, supply, demand, 0.05, 5, 0.0, relaxation, relaxation, None


# The kernel matrix of the first fits no device's shared memory, a tile of the second no block's.
@pytest.mark.cuda
@pytest.mark.parametrize("relaxation", [math.inf, 0.3])
@pytest.mark.parametrize(("targets", "pixels"), [(64, 200_000), (2500, 300)])
def test_sinkhorn_where_shared_memory_is_too_small(targets, pixels, relaxation, gpu):
    check_sinkhorn(targets, pixels, relaxation, gpu)


def test_sinkhorn_in_small():
    check_sinkhorn(7, 300, 0.3, "cpu")


def check_sinkhorn(targets: int, pixels: int, relaxation: float, device: str) -> None:
    arguments = sinkhorn_problem(targets, pixels, relaxation)
    potential, iterations, error = call("sinkhorn", arguments, device)
    doubles = [x.double() if isinstance(x, Tensor) else x for x in arguments]
    want, _, want_error = call("sinkhorn", tuple(doubles), "cpu")
    assert iterations.tolist() == [5]
    # As in the emulated cases: potentials and errors of about 1.
    torch.testing.assert_close(potential.double().cpu(), want, rtol=4e-6, atol=2e-5)
    torch.testing.assert_close(error.double().cpu(), want_error, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_run_gives_the_same_bits(operator, device):
    size = gpu_problems.PROBLEMS[operator].sizes["small" if device == "cuda" else "tiny"]
    arguments = gpu_problems.arguments(operator, size, device)
    first = call(operator, arguments, device)
    for _ in range(RUNS - 1 if device == "cuda" else 1):
        for one, again in zip(first, call(operator, arguments, device), strict=True):
            assert torch.equal(one.view(torch.uint8), again.view(torch.uint8))


@pytest.mark.parametrize("operator", OPERATORS)
def test_equals_the_cpu_at_working_sizes(operator, device):
    """Bits where promised; elsewhere 1e-4 of the largest entry, for sums over whole images.

    Sinkhorn's marginal error is the movement of a potential over epsilon, 1e-3: it gets 1e-2.
    """
    size = gpu_problems.PROBLEMS[operator].sizes["small" if device == "cuda" else "tiny"]
    arguments = gpu_problems.arguments(operator, size, "cpu")
    wanted = call(operator, arguments, "cpu")
    results = call(operator, arguments, device)
    for number, (got, want) in enumerate(zip(results, wanted, strict=True)):
        got = got.cpu()
        if operator in BITWISE or not want.is_floating_point():
            assert torch.equal(got, want)
            continue
        largest = float(want[want.isfinite()].abs().max())
        tolerance = 1e-2 if (operator, number) == ("sinkhorn", 2) else 1e-4
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize("operator", OPERATORS)
def test_results_of_a_device_stand_beside_those_of_the_cpu(operator):
    """Shape functions in the place of a device, which keeps what the CPU does not."""
    size = gpu_problems.PROBLEMS[operator].sizes["tiny"]
    arguments = gpu_problems.arguments(operator, size, "cpu")
    wanted, results = (call(operator, arguments, where) for where in ("cpu", "meta"))
    assert [part.shape for part in results] == [part.shape for part in wanted]


def test_problems_cover_every_operator():
    registered = {
        name.removeprefix("point2mask::")
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("point2mask::")
        and torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU")
    }
    assert registered == set(OPERATORS)


@pytest.mark.parametrize(
    "operator", [name for name in OPERATORS if f"{name}_backward" in OPERATORS]
)
def test_gradients_flow_through_autograd(operator, device):
    """The Python face of every differentiable operator reaches its gradient operator."""
    if device == "cuda" and operator in WITHOUT_CUDA:
        pytest.skip(f"{operator} has no CUDA kernel")
    problem = gpu_problems.PROBLEMS[operator]
    gradients = []
    for where in ("cpu", device):
        arguments = list(gpu_problems.arguments(operator, problem.sizes["tiny"], where))
        leaf = arguments[problem.differentiable].clone().requires_grad_()
        arguments[problem.differentiable] = leaf
        result = getattr(torch.ops.point2mask, operator).default(*arguments)
        output = result[0] if isinstance(result, tuple) else result
        finite = output.isfinite()
        (gradient,) = torch.autograd.grad(torch.where(finite, output, 0).square().sum(), leaf)
        gradients.append(gradient.cpu())
    want, got = gradients
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))
