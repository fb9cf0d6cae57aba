#pragma once

// Host launchers of the deformable attention kernels, for float and double. Pointers are device
// pointers on the current device, but for `shapes`, which the host reads before the launchers
// return; the launches are asynchronous on `stream`. C++17, torch-free.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace point2mask::cuda {

// Maps travel as kernel arguments.
inline constexpr std::int64_t kMostDeformableLevels = 16;

// As on the CPU (point2mask/deformable.hpp): the shapes must have S cells together.
template <typename T>
struct DeformableAttention {
  const T* value;             // [B, S, M, C], the L maps one after the other, row-major
  const T* where;             // [B, Q, M, L, P, 2], x and y
  const T* weight;            // [B, Q, M, L, P]
  const std::int64_t* shapes; // [L, 2], h and w; on the host
  std::int64_t images, cells, queries, heads, channels, levels, points;
  T* output; // [B, Q, M, C]
};

template <typename T>
cudaError_t deformable_attention(const DeformableAttention<T>& p, cudaStream_t stream);

// The gradients of all three inputs. Q·P and the cells of a map with a rim, (h + 1) (w + 1), must
// stay below 2^31.
template <typename T>
struct DeformableAttentionBackward {
  const T* grad_output; // [B, Q, M, C]
  const T* value;
  const T* where;
  const T* weight;
  const std::int64_t* shapes; // on the host
  std::int64_t images, cells, queries, heads, channels, levels, points;
  void* scratch; // of deformable_attention_backward_scratch_bytes()
  T* grad_value;
  T* grad_where;
  T* grad_weight;
};

// Bytes of scratch memory: 4 a sample and 64 a cell, head and image, or a little more.
template <typename T>
std::int64_t deformable_attention_backward_scratch_bytes(const DeformableAttentionBackward<T>& p);

template <typename T>
cudaError_t deformable_attention_backward(const DeformableAttentionBackward<T>& p,
                                          cudaStream_t stream);

} // namespace point2mask::cuda
