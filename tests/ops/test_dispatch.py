"""What torch's dispatcher knows of our operators, on machines with and without a GPU."""

import pytest
import torch
from simt import kernels

from point2mask import _core, ops

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
    compiled = "_cuda.cpp" in torch._C._dispatch_dump(f"point2mask::{operator}")
    assert compiled == bool(_core.cuda_architectures)


# The CUDA key is entered with CPU tensors: refusals and argument checks come before any launch.


@pytest.mark.skipif(not _core.cuda_architectures, reason="built without CUDA kernels")
def test_cuda_kernels_check_shapes_first():
    operator = torch.ops.point2mask.mask_statistics.default
    with pytest.raises(ValueError, match=r"labels must have shape \[B, H, W\], got \[2, 3\]"):
        operator.redispatch(CUDA, torch.zeros(2, 3, dtype=torch.int32), 4)


@pytest.mark.skipif(not _core.cuda_architectures, reason="built without CUDA kernels")
def test_cuda_kernel_of_deformable_attention_checks_the_maps_first():
    operator = torch.ops.point2mask.deformable_attention_backward.default
    grad, value = torch.zeros(1, 3, 1, 2), torch.zeros(1, 34, 1, 2)

    def call(shapes):
        where = torch.zeros(1, 3, 1, len(shapes), 1, 2)
        operator.redispatch(CUDA, grad, value, where, where[..., 0], torch.tensor(shapes))

    with pytest.raises(ValueError, match=r"shapes must have S=34 cells together, got 6"):
        call([[2, 3]])
    with pytest.raises(ValueError, match=r"shapes must have at most 16 maps on CUDA, got 17"):
        call([[1, 2]] * 17)
