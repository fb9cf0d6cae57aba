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

// Device memory for a launch. torch hands memory out in the order of the stream, so that it may go
// while the kernels still run.
inline Tensor scratch_memory(const Tensor& like, std::int64_t bytes) {
  return torch::stable::new_empty(like, {bytes}, ScalarType::Byte);
}

// Launches `p` with scratch memory of the size it asks for.
template <typename Problem>
void launch_with_scratch(const char* op, const Tensor& like, Problem p,
                         std::int64_t (*bytes)(const Problem&),
                         cudaError_t (*launch)(const Problem&, cudaStream_t)) {
  const Tensor scratch = scratch_memory(like, bytes(p));
  p.scratch = scratch.mutable_data_ptr();
  check_launch(op, launch(p, current_stream(like)));
}

} // namespace point2mask::bindings
