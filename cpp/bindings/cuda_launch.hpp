#pragma once

// What the bindings of CUDA kernels share. Compiled by the host compiler: <cuda_runtime_api.h> and
// the launcher headers, nothing of libtorch_cuda, so that the library loads beside a CPU torch.

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/headeronly/util/Exception.h>

#include "checks.hpp"
#include "point2mask/cuda.hpp"

namespace point2mask::bindings {

using torch::stable::accelerator::DeviceGuard;

using CurrentStream = AOTITorchError(std::int32_t device, void** stream);

// Every libtorch_cuda with a stable ABI has this function; Stream::nativeHandle is in libtorch_cpu,
// but from torch 2.13 on only. By a handle, since torch loads its libraries locally, where
// RTLD_DEFAULT does not find them. Nothing is loaded by this: where a tensor is on a GPU it is
// there.
inline CurrentStream* find_current_stream() {
  void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
  void* symbol = library ? dlsym(library, "aoti_torch_get_current_cuda_stream") : nullptr;
  return reinterpret_cast<CurrentStream*>(symbol);
}

// torch's current stream on the device of `t`.
inline cudaStream_t current_stream(const Tensor& t) {
  static CurrentStream* const get = find_current_stream();
  STD_TORCH_CHECK(
      get, "point2mask: this torch has no CUDA streams (aoti_torch_get_current_cuda_stream)");
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(get(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

inline void check_launch(const char* op, cudaError_t status) {
  STD_TORCH_CHECK(status == cudaSuccess, op, ": CUDA error: ", cudaGetErrorString(status));
}

// Device memory for a launch. torch hands memory out in the order of the stream, so that it may go
// while the kernels still run.
inline Tensor scratch_memory(const Tensor& like, std::int64_t bytes) {
  return torch::stable::new_empty(like, {bytes}, ScalarType::Byte);
}

// Runs a problem on the GPU of its tensors.
template <typename Problem>
void launch(const char* op, const Tensor& like, const Problem& p) {
  if constexpr (requires { check(p); }) check(p); // those with parameters that can be wrong
  if constexpr (requires { cuda::check_limits(p); }) cuda::check_limits(p);
  const DeviceGuard guard(like.get_device_index());
  const std::int64_t bytes = cuda::scratch_bytes(p);
  const Tensor scratch = bytes > 0 ? scratch_memory(like, bytes) : like;
  void* const memory = bytes > 0 ? scratch.mutable_data_ptr() : nullptr;
  check_launch(op, cuda::run(p, memory, current_stream(like)));
}

} // namespace point2mask::bindings
