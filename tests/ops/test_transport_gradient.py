"""Gradients of the transport operators, and how they behave under torch's transformations."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from point2mask import ops

INF = math.inf
RELAXATIONS = [(INF, INF), (0.5, INF), (INF, 0.3), (0.5, 0.3)]


def problem(images=2, targets=4, pixels=9, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    cost, supply, demand = (
        torch.rand(*shape, generator=generator, dtype=dtype) + 0.2
        for shape in ((images, targets, pixels), (images, targets), (images, pixels))
    )
    supply = supply / supply.sum(1, keepdim=True) * demand.sum(1, keepdim=True)
    return [x.requires_grad_() for x in (cost, supply, demand)]


@pytest.mark.parametrize("relaxations", RELAXATIONS)
def test_gradcheck_of_the_converged_potential(relaxations):
    def solve(cost, supply, demand):
        return ops.sinkhorn(cost, supply, demand, 0.1, 5000, 1e-15, *relaxations).potential

    assert gradcheck(solve, problem())


@pytest.mark.parametrize("demand_relaxation", [INF, 0.3])
def test_gradcheck_of_the_plan(demand_relaxation):
    cost, supply, demand = problem()
    potential = ops.sinkhorn(cost, supply, demand, 0.1).potential.detach().requires_grad_()
    assert gradcheck(
        lambda *inputs: ops.transport_plan(*inputs, 0.1, demand_relaxation),
        (cost, potential, demand),
    )


@pytest.mark.parametrize("relaxations", RELAXATIONS)
def test_equals_autograd_through_the_iterations(relaxations):
    """Chained into the plan, with padding and forbidden pairs; 2000 iterations in eager torch."""
    epsilon, demand_relaxation = 0.1, relaxations[1]
    lambda1, lambda2 = (1.0 if r == INF else r / (r + epsilon) for r in relaxations[::-1])
    cost, supply, demand = problem(1, 5, 40)
    with torch.no_grad():
        cost[0, 1, 3:9] = INF
    weights = torch.rand(1, 5, 40, generator=torch.Generator().manual_seed(1), dtype=cost.dtype)
    padded = [
        torch.nn.functional.pad(x, p)
        for x, p in ((cost, (0, 2, 0, 1)), (supply, (0, 1)), (demand, (0, 2)))
    ]

    potential = ops.sinkhorn(*padded, epsilon, 5000, 1e-14, *relaxations).potential
    plan = ops.transport_plan(padded[0], potential, padded[2], epsilon, demand_relaxation)
    loss = (plan[:, :5, :40] * weights).sum()
    got = torch.autograd.grad(loss, (cost, supply, demand))

    u = torch.zeros_like(supply)
    for _ in range(2000):
        scores = (u[:, :, None] - cost) / epsilon
        f = -lambda1 * scores.logsumexp(1, keepdim=True)
        log_mass = (demand[:, None].log() + f + scores).logsumexp(2)
        u = lambda2 * (u - epsilon * log_mass) + epsilon * supply.log()
    scores = (u[:, :, None] - cost) / epsilon
    f = -lambda1 * scores.logsumexp(1, keepdim=True)
    plan = demand[:, None] * (f + scores).exp()
    expected = torch.autograd.grad((plan * weights).sum(), (cost, supply, demand))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)  # convergence of both loops


def test_nothing_flows_into_what_takes_no_part():
    cost, supply, demand = problem(1, 4, 40)
    with torch.no_grad():
        supply[0, 1] = 0
        demand[0, 5] = 0
        cost[0, :, 7] = INF
    potential = ops.sinkhorn(cost, supply, demand, 0.1, 200, 0.0, 0.5, 0.5).potential
    potential.backward(torch.tensor([[1.0, math.nan, 2.0, -3.0]], dtype=torch.float64))
    assert not cost.grad[0, 1].any()
    assert not cost.grad[0, :, [5, 7]].any()
    assert not supply.grad[0, 1]
    assert not demand.grad[0, [5, 7]].any()
    for gradient in (cost.grad, supply.grad, demand.grad):
        assert gradient.isfinite().all()
    assert cost.grad[0, [0, 2, 3]].any(1).all()


def test_problems_that_fall_apart():
    """Two problems joined by forbidden pairs: the gradient of each within its own gauge."""
    first, second = problem(1, 3, 20, seed=1), problem(1, 2, 30, seed=2)
    cost = torch.full((1, 5, 50), INF, dtype=torch.float64)
    cost[:, :3, :20], cost[:, 3:, 20:] = first[0].detach(), second[0].detach()
    cost.requires_grad_()
    supply, demand = (torch.cat([first[i], second[i]], 1).detach() for i in (1, 2))
    grad = torch.tensor([[1.0, 2.0, -3.0, 0.5, -0.5]], dtype=torch.float64)  # mean 0 in each
    args = 0.1, 2000, 1e-14
    ops.sinkhorn(cost, supply, demand, *args).potential.backward(grad)
    ops.sinkhorn(*first, *args).potential.backward(grad[:, :3])
    ops.sinkhorn(*second, *args).potential.backward(grad[:, 3:])
    expected = torch.zeros(1, 5, 50, dtype=torch.float64)
    expected[:, :3, :20], expected[:, 3:, 20:] = first[0].grad, second[0].grad
    torch.testing.assert_close(
        cost.grad, expected, rtol=1e-9, atol=1e-12
    )  # tolerance of the solves


@pytest.mark.parametrize("relaxations", RELAXATIONS)
def test_float32_gradient_is_near_the_float64_one(relaxations):
    inputs = problem(1, 6, 5000)
    grads = []
    for dtype in (torch.float64, torch.float32):
        cast = [x.detach().to(dtype).requires_grad_() for x in inputs]
        potential = ops.sinkhorn(*cast, 0.1, 300, 0.0, *relaxations).potential
        potential.square().sum().backward()
        grads.append([x.grad.double() for x in cast])
    for exact, single in zip(*grads, strict=True):
        # a rounding of potentials and costs near 1 over epsilon 0.1, in the norm
        assert (exact - single).norm() <= 1e-5 * exact.norm()


@pytest.mark.parametrize("pixels", [0, 1, 2049])
@pytest.mark.parametrize("targets", [0, 1, 3])
def test_gradients_of_small_problems_are_finite(targets, pixels):
    cost, supply, demand = problem(2, targets, pixels)
    potential = ops.sinkhorn(cost, supply, demand, 0.1, 20, 0.0, 1.0, 1.0).potential
    ops.transport_plan(cost, potential, demand, 0.1, 1.0).sum().backward()
    for x in (cost, supply, demand):
        assert x.grad.shape == x.shape
        assert x.grad.isfinite().all()


def test_iterations_and_error_carry_no_gradient():
    result = ops.sinkhorn(*problem(), 0.1)
    assert result.potential.requires_grad
    assert not result.marginal_error.requires_grad
    assert not result.iterations.requires_grad


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # opcheck's look at its own copies
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck(dtype, grad):
    cost, supply, demand = (x.detach().requires_grad_(grad) for x in problem(dtype=dtype))
    start = torch.zeros_like(supply).detach()
    potential = torch.randn(2, 4).to(dtype).requires_grad_(grad)
    op = torch.ops.point2mask
    torch.library.opcheck(
        op.sinkhorn.default, (cost, supply, demand, 0.1, 200, 0.0, 1.0, 0.5, start)
    )
    torch.library.opcheck(op.transport_plan.default, (cost, potential, demand, 0.1, 0.5))
    if not grad:
        torch.library.opcheck(op.transport_labels.default, (cost, potential, demand))
        torch.library.opcheck(
            op.sinkhorn_backward.default,
            (potential, cost, supply, demand, potential, 0.1, 1.0, 0.5),
        )
        torch.library.opcheck(
            op.transport_plan_backward.default, (cost, cost, potential, demand, 0.1, 0.5)
        )


def everything(cost, supply, demand):
    potential = ops.sinkhorn(cost, supply, demand, 0.1, 30).potential
    plan = ops.transport_plan(cost, potential, demand, 0.1)
    return potential, plan, ops.transport_labels(cost, potential, demand)


def test_compiles_without_graph_breaks():
    inputs = problem(dtype=torch.float32)
    compiled = torch.compile(everything, fullgraph=True, backend="aot_eager")
    results = []
    for function in (compiled, everything):
        copies = [x.detach().clone().requires_grad_() for x in inputs]
        outputs = function(*copies)
        outputs[1].square().sum().backward()
        results.append((*outputs, *(x.grad for x in copies)))
    for got, expected in zip(*results, strict=True):
        assert torch.equal(got, expected)


def test_strided_inputs():
    cost, supply, demand = (x.detach() for x in problem(2, 4, 50))
    strided = cost.mT.contiguous().mT, supply.T.contiguous().T, demand.repeat(1, 2)[:, :50]
    assert not any(x.is_contiguous() for x in strided)
    for got, expected in zip(everything(*strided), everything(cost, supply, demand), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_runs_in_float32(dtype):
    inputs = [x.detach().to(dtype) for x in problem()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = ops.sinkhorn(*inputs, 0.1, 30, 0.0, 1.0, 1.0).potential
        plan = ops.transport_plan(inputs[0], got, inputs[2], 0.1)
        labels = ops.transport_labels(inputs[0], got, inputs[2])
    full = [x.float() for x in inputs]
    expected = ops.sinkhorn(*full, 0.1, 30, 0.0, 1.0, 1.0).potential
    assert torch.equal(got, expected)
    assert torch.equal(plan, ops.transport_plan(full[0], expected, full[2], 0.1))
    assert torch.equal(labels, ops.transport_labels(full[0], expected, full[2]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("relaxations", [(INF, INF), (0.5, 0.5)])
def test_same_bits_for_any_number_of_threads_and_batch_position(check_parts, dtype, relaxations):
    inputs = problem(3, 5, 5000, dtype)
    grad = torch.rand(3, 5, generator=torch.Generator().manual_seed(3), dtype=dtype)

    def gradients(select):
        copies = [x[select].detach().requires_grad_() for x in inputs]
        ops.sinkhorn(*copies, 0.1, 10, 0.0, *relaxations).potential.backward(grad[select])
        return [x.grad for x in copies]

    check_parts(gradients, 3)
