#pragma once

// What the bindings of CUDA kernels share. Compiled by the host compiler: <cuda_runtime_api.h> and
// the launcher headers, nothing of libtorch_cuda, so that the library loads beside a CPU torch.

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/headeronly/util/Exception.h>

#include "checks.hpp"

namespace point2mask::bindings {

using torch::stable::accelerator::DeviceGuard;

inline cudaStream_t current_stream(const Tensor& t) {
  const auto stream = torch::stable::accelerator::getCurrentStream(t.get_device_index());
  return static_cast<cudaStream_t>(stream.nativeHandle());
}

inline void check_launch(const char* op, cudaError_t status) {
  STD_TORCH_CHECK(status == cudaSuccess, op, ": CUDA error: ", cudaGetErrorString(status));
}

} // namespace point2mask::bindings
