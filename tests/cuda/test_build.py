"""Builds with and without kernels, on machines with and without a GPU."""

from types import SimpleNamespace

import gpu_problems
import pytest
import torch

from point2mask import engine
from point2mask.ops import _library

CUDA = torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)


@pytest.mark.parametrize(
    ("architectures", "expected"),
    [
        (
            "",
            r"built without CUDA kernels; reinstall it where nvcc is found \(POINT2MASK_CUDA=ON\)",
        ),
        ("90", "no CUDA kernel yet; move the tensors to the CPU"),
    ],
)
def test_an_operator_without_a_kernel_says_how_to_get_one(monkeypatch, architectures, expected):
    """The CUDA key is entered with a CPU tensor, so that no GPU is needed."""
    namespace = f"point2mask_test_{architectures}"
    monkeypatch.setattr(_library, "NAMESPACE", namespace)
    monkeypatch.setattr(_library, "engine", SimpleNamespace(cuda_architectures=architectures))
    monkeypatch.setattr(_library, "WITHOUT_CUDA", set())
    torch.library.define(f"{namespace}::double", "(Tensor x) -> Tensor")
    torch.library.impl(f"{namespace}::double", "cpu", lambda x: 2 * x)
    _library.refuse_cuda_tensors("double")
    operator = getattr(torch.ops, namespace).double.default
    assert operator(torch.ones(1)) == 2
    with pytest.raises(NotImplementedError, match=f"double: .*{expected}"):
        operator.redispatch(CUDA, torch.ones(1))
    assert {"double"} == _library.WITHOUT_CUDA


@pytest.mark.parametrize("operator", sorted(gpu_problems.PROBLEMS))
def test_without_kernels_every_operator_refuses_the_cuda_key(operator):
    if engine.cuda_architectures:
        pytest.skip("point2mask was built with CUDA kernels")
    arguments = gpu_problems.arguments(
        operator, gpu_problems.PROBLEMS[operator].sizes["tiny"], "cpu"
    )
    function = getattr(torch.ops.point2mask, operator).default
    with pytest.raises(NotImplementedError, match=f"{operator}: .*POINT2MASK_CUDA=ON"):
        function.redispatch(CUDA, *arguments)


@pytest.mark.cuda
@pytest.mark.parametrize("operator", sorted(gpu_problems.PROBLEMS))
def test_cuda_tensors_without_a_kernel_are_refused(operator):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if operator not in _library.WITHOUT_CUDA:
        pytest.skip(f"{operator} has a CUDA kernel")
    size = gpu_problems.PROBLEMS[operator].sizes["tiny"]
    arguments = [
        x.cuda() if isinstance(x, torch.Tensor) else x
        for x in gpu_problems.arguments(operator, size, "cpu")
    ]
    with pytest.raises(NotImplementedError, match=f"{operator}: (no CUDA kernel|.*reinstall)"):
        getattr(torch.ops.point2mask, operator).default(*arguments)
