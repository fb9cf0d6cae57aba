"""The CUDA sources and their bindings call nothing that waits for the device: an allow list.

Every call can be captured in a CUDA graph. Memory comes from torch's allocator, in the order of the
stream; nothing is copied to the host.
"""

import re

import pytest
from simt import build

RUNTIME = {
    "cudaDeviceGetAttribute",
    "cudaFuncSetAttribute",
    "cudaGetDevice",
    "cudaGetErrorString",
    "cudaGetLastError",
    "cudaLaunchCooperativeKernel",
    "cudaLaunchKernel",
    "cudaMemsetAsync",
    "cudaOccupancyMaxActiveBlocksPerMultiprocessor",
}
TORCH = {"accelerator", "contiguous", "empty_like", "new_empty", "parallel_for"}
CUDA = sorted((build.ROOT / "cuda").rglob("*.[ch]*"))
BINDINGS = [
    file
    for file in sorted((build.ROOT / "cpp" / "bindings").glob("*.[ch]pp"))
    if not file.name.startswith("numpy_")
]


def calls_that_may_wait(text):
    """Runtime functions, torch functions and tensor methods that are not known not to wait."""
    text = re.sub(r'//[^\n]*|"(?:\\.|[^"\\\n])*"', "", text)
    runtime = set(re.findall(r"\bcu(?:da)?[A-Z]\w*(?<!_t)(?=\s*\()", text)) - RUNTIME
    torch = set(re.findall(r"\btorch::stable::([a-z]\w*)", text)) - TORCH
    c_interface = set(re.findall(r"\b(?:aoti_)?torch_[a-z]\w*(?=\s*\()", text))
    methods = set(re.findall(r"[.>](item|cpu|to|copy_|synchronize)(?=\s*[<(])", text))
    return sorted(runtime | torch | c_interface | methods)


@pytest.mark.parametrize("file", [*CUDA, *BINDINGS], ids=lambda file: file.name)
def test_calls_nothing_that_waits(file):
    assert calls_that_may_wait(file.read_text()) == []


def test_scans_kernels_headers_and_bindings():
    names = {file.name for file in (*CUDA, *BINDINGS)}
    assert {"sinkhorn.cu", "simt.cuh", "cuda.hpp", "cuda_launch.hpp", "solve.hpp"} <= names
    families = ("deformable", "geodesic", "masks", "pairs", "transport", "tree")
    assert {f"torch_{family}.cpp" for family in families} <= names


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("cudaMemcpy(a, b, n, kind);", "cudaMemcpy"),
        ("status = cudaMemcpyAsync(a, b, n, kind, stream);", "cudaMemcpyAsync"),
        ("cudaMemset(a, 0, n);", "cudaMemset"),
        ("cudaStreamSynchronize(stream);", "cudaStreamSynchronize"),
        ("cudaDeviceSynchronize ();", "cudaDeviceSynchronize"),
        ("check(cudaMalloc(&a, n));", "cudaMalloc"),
        ("cudaFree(a);", "cudaFree"),
        ("cuCtxSynchronize();", "cuCtxSynchronize"),
        ("auto b = torch::stable::to(a, device);", "to"),
        ("torch::stable::copy_(a, b);", "copy_"),
        ("const auto n = a.item<int>();", "item"),
        ("aoti_torch_item_int32(a, &n);", "aoti_torch_item_int32"),
    ],
)
def test_notices(text, call):
    assert calls_that_may_wait(text) == [call]
    assert calls_that_may_wait(f"// {text}") == []
