#pragma once

// What the tree kernels share: loops over images and their entries, ordered keys, pointer jumping.

#include "point2mask/simt.cuh"

namespace point2mask::cuda::tree {

// The type of CUDA's 64-bit atomics.
using Word = unsigned long long;

constexpr int kThreads = 128;
// For kernels that hold rows in registers: blocks a multiprocessor, which leaves 128 registers a
// thread. Left to itself the compiler would rather spill than take more than 64.
constexpr int kRowBlocks = 4;

// A grid with a row of blocks an image.
inline dim3 image_grid(std::int64_t entries, std::int64_t images) {
  return dim3(blocks_for(entries, kThreads), blocks_for(images, 1));
}

// Launches a kernel that chases pointers, on such a grid but of no more blocks than run at the same
// time: all others would pass the entries of a thread that still waits for a multiprocessor one by
// one, in as many rounds as a chain is long. How many blocks there are changes the time, not the
// result.
template <typename... Parameters>
cudaError_t launch_chase(void (*kernel)(Parameters...), std::int64_t entries, std::int64_t images,
                         cudaStream_t stream, Parameters... arguments) {
  std::int64_t most = 0;
  const cudaError_t status = resident_blocks(kernel, kThreads, 0, &most);
  if (status != cudaSuccess) return status;
  dim3 grid = image_grid(entries, images);
  if (grid.y > most) grid.y = static_cast<unsigned>(most);
  if (grid.x > most / grid.y) grid.x = static_cast<unsigned>(most / grid.y);
  return launch_together(kernel, grid, dim3(kThreads), 0, stream, arguments...);
}

// body(image, index) for all indices of all images, one a thread.
template <typename Body>
__device__ __forceinline__ void for_each(std::int64_t images, std::int64_t entries, Body&& body) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t image = blockIdx.y; image < images; image += gridDim.y)
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < entries;
         i += step)
      body(image, i);
}

// Numbers as unsigned integers of the same order; -0 counts as +0.
__device__ __forceinline__ Word ordered_bits(float value) {
  const unsigned bits = __float_as_uint(value + 0.0F);
  return bits >> 31 ? ~bits : bits | 0x80000000U;
}
__device__ __forceinline__ Word ordered_bits(double value) {
  const Word bits = static_cast<Word>(__double_as_longlong(value + 0.0));
  return bits >> 63 ? ~bits : bits | (Word{1} << 63);
}

// A pointer to another entry of the same image and what lies on the way there. An entry that points
// to itself with nothing on the way is an end.
__device__ __forceinline__ Word hop(std::int64_t to, std::int64_t sum) {
  return static_cast<Word>(sum) << 32 | static_cast<Word>(to);
}
__device__ __forceinline__ std::int64_t hop_target(Word hop) {
  return static_cast<std::int64_t>(hop & 0xffffffffU);
}
__device__ __forceinline__ std::int64_t hop_sum(Word hop) {
  return static_cast<std::int64_t>(hop >> 32);
}

// Pointer jumping without a barrier, by threads that all run at the same time. A hop is one 64-bit
// word, so whoever reads it gets target and sum of one moment, and an entry that hops over its
// target's hop stays right whichever that is. Each thread moves all its entries, which begin at
// `first`, by one hop a round, so that the ways double in length.
__device__ __forceinline__ void follow(Word* hops, std::int64_t entries, std::int64_t first,
                                       std::int64_t step) {
  for (bool moved = true; moved;) {
    moved = false;
    for (std::int64_t i = first; i < entries; i += step) {
      const Word here = load_relaxed(hops + i);
      const Word there = load_relaxed(hops + hop_target(here));
      if (hop_target(there) == hop_target(here)) continue;
      store_relaxed(hops + i, hop(hop_target(there), hop_sum(here) + hop_sum(there)));
      moved = true;
    }
  }
}

// Makes every entry of [B, entries] point to the end of its chain, with the sum of its way.
cudaError_t follow_hops(Word* hops, std::int64_t images, std::int64_t entries, cudaStream_t stream);

} // namespace point2mask::cuda::tree
