#pragma once

// Stands in for the CUDA runtime as the launchers call it: a function that is told to fail does,
// and its error stays until somebody takes it, as in the real one. Nothing is run.

#include <cstddef>

#include "../emulator/cuda_runtime_api.h"

#define __device__
#define __forceinline__ inline

enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin, cudaDevAttrMultiProcessorCount };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

namespace runtime {

inline int calls_until_failure = 0; // 0: no call fails
inline cudaError_t last_error = cudaSuccess;
inline const void* launched_kernel = nullptr;
inline int first_argument = 0;
inline int device = 0;
inline int calls = 0;

inline cudaError_t answer() {
  ++calls;
  if (calls_until_failure == 0 || --calls_until_failure > 0) return cudaSuccess;
  last_error = cudaErrorLaunchFailure;
  return last_error;
}

inline cudaError_t note_launch(const void* kernel, void** arguments) {
  launched_kernel = kernel;
  first_argument = *static_cast<int*>(arguments[0]);
  return answer();
}

} // namespace runtime

inline cudaError_t cudaGetLastError() {
  const cudaError_t error = runtime::last_error;
  runtime::last_error = cudaSuccess;
  return error;
}
inline cudaError_t cudaLaunchKernel(const void* kernel, dim3, dim3, void** arguments, std::size_t,
                                    cudaStream_t) {
  return runtime::note_launch(kernel, arguments);
}
inline cudaError_t cudaLaunchCooperativeKernel(const void* kernel, dim3, dim3, void** arguments,
                                               std::size_t, cudaStream_t) {
  return runtime::note_launch(kernel, arguments);
}
inline cudaError_t cudaMemsetAsync(void*, int, std::size_t, cudaStream_t) {
  return runtime::answer();
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = runtime::device;
  return runtime::answer();
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 3;
  return runtime::answer();
}
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) {
  return runtime::answer();
}
inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int,
                                                                 std::size_t) {
  *blocks = 2;
  return runtime::answer();
}
