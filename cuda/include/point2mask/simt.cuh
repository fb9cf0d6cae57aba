#pragma once

// The CUDA dialect our kernels are written in: what nvcc compiles for the GPU, a host compiler
// runs on the CPU (tests/simt; every CUDA thread a fiber, races reported). Kernels launch through
// launch(), declare shared memory through the two macros, read and write what other threads
// change at the same time through load_relaxed / store_relaxed, and name warp masks explicitly.

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <tuple>

// T* name: `count` (a constant) or dynamically many T in shared memory, not initialised.
#define POINT2MASK_SHARED(T, name, count) __shared__ T name[count]
#define POINT2MASK_DYNAMIC_SHARED(T, name)                             \
  extern __shared__ __align__(16) unsigned char point2mask_dynamic_[]; \
  T* const name = reinterpret_cast<T*>(point2mask_dynamic_)

namespace point2mask::cuda {

// Largest extent of a grid in every direction; kernels stride over what lies beyond it.
inline std::int64_t max_blocks() { return 65535; }

// Shared memory that a block has on any device, without asking for more.
inline std::size_t granted_shared_memory() { return 48 << 10; }

// Scratch memory, in bytes, that a launch may take to save itself rounds.
inline std::int64_t scratch_limit() { return std::int64_t{256} << 20; }

// What a call of the runtime returned. A failure is reported once: the runtime also keeps it for
// whoever asks for the last error, so that it would come back with a later call that is healthy.
inline cudaError_t taken(cudaError_t status) {
  if (status != cudaSuccess) static_cast<void>(cudaGetLastError());
  return status;
}

// Returns what comes of this launch alone, whatever others have left behind.
template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   cudaStream_t stream, Arguments... arguments) {
  return [&](Parameters... values) {
    void* pointers[] = {&values...};
    return taken(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers,
                                  shared_bytes, stream));
  }(static_cast<Parameters>(arguments)...);
}

// As launch(), for blocks that wait for each other: all of them run at the same time, or none.
template <typename... Parameters>
cudaError_t launch_together(void (*kernel)(Parameters...), dim3 grid, dim3 block,
                            std::size_t shared_bytes, cudaStream_t stream,
                            Parameters... arguments) {
  void* pointers[] = {&arguments...};
  return taken(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel), grid, block,
                                           pointers, shared_bytes, stream));
}

// Fills memory of the device with zeros.
inline cudaError_t fill_with_zeros(void* memory, std::size_t bytes, cudaStream_t stream) {
  return taken(cudaMemsetAsync(memory, 0, bytes, stream));
}

// What ask(device, &answer) says of the current device, a kernel and a shape of its blocks. The
// runtime takes microseconds for an answer that never changes, so it is asked once.
template <typename Ask>
cudaError_t ask_once(const void* kernel, unsigned threads, std::size_t shared_bytes,
                     std::int64_t* answer, Ask ask) {
  static std::mutex mutex;
  static std::map<std::tuple<int, const void*, unsigned, std::size_t>, std::int64_t> answers;
  int device = 0;
  cudaError_t status = taken(cudaGetDevice(&device));
  if (status != cudaSuccess) return status;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto known = answers.find({device, kernel, threads, shared_bytes});
  if (known != answers.end()) {
    *answer = known->second;
    return cudaSuccess;
  }
  status = taken(ask(device, answer));
  if (status == cudaSuccess) answers[{device, kernel, threads, shared_bytes}] = *answer;
  return status;
}

// Lets the kernel use all the shared memory that a block of the current device can have, and
// says how much that is.
template <typename... Parameters>
cudaError_t allow_shared_memory(void (*kernel)(Parameters...), std::size_t* bytes) {
  const void* const function = reinterpret_cast<const void*>(kernel);
  const auto allow = [function](int device, std::int64_t* answer) {
    int most = 0;
    cudaError_t status =
        cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (status == cudaSuccess)
      status = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
    *answer = most;
    return status;
  };
  std::int64_t most = 0;
  const cudaError_t status = ask_once(function, 0, 0, &most, allow);
  *bytes = static_cast<std::size_t>(most);
  return status;
}

// How many blocks of the kernel the current device runs at the same time.
template <typename... Parameters>
cudaError_t resident_blocks(void (*kernel)(Parameters...), unsigned threads,
                            std::size_t shared_bytes, std::int64_t* blocks) {
  const void* const function = reinterpret_cast<const void*>(kernel);
  const auto count = [=](int device, std::int64_t* answer) {
    int processors = 0, each = 0;
    cudaError_t status =
        cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
    if (status == cudaSuccess)
      status = cudaOccupancyMaxActiveBlocksPerMultiprocessor(
          &each, function, static_cast<int>(threads), shared_bytes);
    *answer = std::int64_t{processors} * each;
    return status;
  };
  return ask_once(function, threads, shared_bytes, blocks, count);
}

// The number whose bits in IEEE 754 binary16 these are.
__device__ __forceinline__ float half_to_float(std::uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}

template <typename T>
__device__ __forceinline__ T load_relaxed(const T* address) {
  return *const_cast<const volatile T*>(address);
}

template <typename T>
__device__ __forceinline__ void store_relaxed(T* address, T value) {
  *const_cast<volatile T*>(address) = value;
}

// What the lanes to the left and to the right hold; the outermost lanes get their own.
template <typename T, int kCount>
__device__ __forceinline__ void shuffle_beside(unsigned mask, const T (&here)[kCount],
                                               T (&left)[kCount], T (&right)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    left[i] = __shfl_up_sync(mask, here[i], 1);
    right[i] = __shfl_down_sync(mask, here[i], 1);
  }
}

} // namespace point2mask::cuda

#else

#include "simt_emulator.hpp"

#endif

namespace point2mask::cuda {

// Blocks that give each of `count` items a thread of its own, as far as the grid reaches.
inline unsigned blocks_for(std::int64_t count, std::int64_t items_per_block) {
  const std::int64_t blocks = (count + items_per_block - 1) / items_per_block;
  const std::int64_t most = max_blocks();
  return static_cast<unsigned>(blocks < most ? blocks : most);
}

} // namespace point2mask::cuda
