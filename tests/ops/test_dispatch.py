"""What torch's dispatcher knows of our operators, on machines with and without a GPU."""

import re

import pytest
import torch
from simt import kernels

from point2mask import engine, ops
from point2mask.ops._library import TORCH, value_errors_of

CUDA = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
OPERATORS = sorted(
    name
    for name in torch._C._dispatch_get_all_op_names()
    if name.startswith("point2mask::")
    and torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU")
)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("key", ["CUDA", "Meta"])
def test_every_operator_answers_every_key(name, key):
    assert ops.__all__
    assert torch._C._dispatch_has_kernel_for_dispatch_key(name, key)


@pytest.mark.parametrize("operator", kernels.OPERATORS)
def test_kernels_are_registered_where_they_were_compiled(operator):
    dump = torch._C._dispatch_dump(f"point2mask::{operator}").splitlines()
    (line,) = (line for line in dump if line.startswith("CUDA"))
    assert ("/torch_" in line) == bool(engine.cuda_architectures)


# The CUDA key is entered with CPU tensors: refusals and argument checks come before any launch.


@pytest.mark.skipif(not engine.cuda_architectures, reason="built without CUDA kernels")
def test_cuda_kernels_check_shapes_first():
    operator = torch.ops.point2mask.mask_statistics.default
    # Below the kernel that makes it a ValueError on every torch.
    with pytest.raises(
        (ValueError, RuntimeError), match=r"labels must have shape \[B, H, W\], got \[2, 3\]"
    ):
        operator.redispatch(CUDA, torch.zeros(2, 3, dtype=torch.int32), 4)


# --- errors ------------------------------------------------------------------------------------


def bad_distance():
    cost = torch.ones(1, 8, 3, 4, requires_grad=True)
    with torch.no_grad():
        cost[0, 0, 0, 0] = -1
    return cost, torch.zeros(1, 1, 1, dtype=torch.int32)


# torch 2.11 warns of what it does itself.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")
@pytest.mark.parametrize("compiler", ["eager", "aot_eager", "inductor"])
def test_a_bad_value_is_a_value_error_in_compiled_code(compiler):
    compiled = torch.compile(ops.geodesic_distance, fullgraph=True, backend=compiler)
    with pytest.raises(ValueError, match=r"^geodesic_distance: edge_cost must not be negative"):
        compiled(*bad_distance())


def test_a_bad_value_is_a_value_error_where_torch_calls_the_operator():
    operator = torch.ops.point2mask.geodesic_distance
    with pytest.raises(ValueError, match=r"^geodesic_distance: edge_cost must not be negative"):
        operator(*bad_distance())
    cost, _ = bad_distance()
    backward = torch.ops.point2mask.geodesic_distance_backward
    with pytest.raises(ValueError, match=r"^geodesic_distance_backward: seeds must lie in"):
        backward(cost[:, :1], cost, cost[:, :1], torch.full((1, 1, 1), 99, dtype=torch.int32))


def test_only_errors_of_arguments_become_value_errors():
    def fail(message):
        raise RuntimeError(message)

    call = value_errors_of(fail)
    with pytest.raises(ValueError, match=r"^sinkhorn: cost must be float32, got int32$"):
        call("sinkhorn: cost must be float32, got int32")
    for other in (
        "sinkhorn: CUDA error: an illegal memory access was encountered",
        "CUDA out of memory. Tried to allocate 20.00 GiB",
        "std::bad_alloc",
        'torch_call_dispatcher( "aten::new_empty") API call failed at ops.h, line 961',
    ):
        with pytest.raises(RuntimeError, match=f"^{re.escape(other)}$"):
            call(other)


@pytest.mark.skipif(TORCH < (2, 13), reason="before 2.13 torch writes its words to stderr alone")
def test_what_torch_reports_reaches_the_caller(capfd):
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        torch.ops.point2mask.mask_statistics(torch.zeros(1, 1, 1, dtype=torch.int32), 1 << 50)
