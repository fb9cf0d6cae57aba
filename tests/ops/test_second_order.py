"""The gradients of the operators refuse to be differentiated instead of passing on zeros."""

import pytest
import torch

from point2mask import ops

INT = torch.int32
LABELS = torch.tensor([[[0, 0, 1], [0, 1, 1]]], dtype=INT)
TREE = ops.spanning_tree(torch.arange(12.0).view(1, 2, 2, 3))
UNIFORM = torch.full((1, 2), 3.0), torch.ones(1, 6)
GRID = torch.tensor([[2, 3]])
CALLS = {
    "boundary_loss": ((1, 2, 3), lambda x: ops.boundary_loss(x, LABELS, LABELS)),
    "deformable_attention": (
        (1, 6, 1, 2),
        lambda x: ops.deformable_attention(
            x, torch.full((1, 2, 1, 1, 1, 2), 0.4), torch.ones(1, 2, 1, 1, 1), GRID
        ),
    ),
    "geodesic_distance": (
        (1, 8, 2, 3),
        lambda x: ops.geodesic_distance(x, torch.zeros(1, 1, 1, dtype=INT)),
    ),
    "lab_affinity_loss": (
        (1, 2, 2, 3),
        lambda x: ops.lab_affinity_loss(x, torch.zeros(1, 3, 2, 3), dilation=1),
    ),
    "neighbor_difference": ((1, 2, 2, 3), lambda x: ops.neighbor_difference(x, 2, "squared_l2")),
    "sinkhorn": ((1, 2, 6), lambda x: ops.sinkhorn(x, *UNIFORM, 0.1).potential),
    "transport_plan": (
        (1, 2, 6),
        lambda x: ops.transport_plan(x, torch.zeros(1, 2), UNIFORM[1], 0.1),
    ),
    "tree_filter": (
        (1, 6),
        lambda x: ops.tree_filter(torch.arange(12.0).view(1, 2, 6), TREE.order, TREE.parent, x),
    ),
}


def test_no_operator_is_forgotten():
    names = torch._C._dispatch_get_all_op_names()
    suffix = "_backward"
    backward = {n for n in names if n.startswith("point2mask::") and n.endswith(suffix)}
    assert backward == {f"point2mask::{name}{suffix}" for name in CALLS}


@pytest.mark.parametrize("name", CALLS)
def test_second_derivatives_are_refused(name):
    shape, call = CALLS[name]
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (grad,) = torch.autograd.grad(call(x).square().sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match=f"^{name}: its gradient is not differentiable"):
        grad.square().sum().backward()
