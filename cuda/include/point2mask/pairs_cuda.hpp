#pragma once

// Host launchers of the pixel pair kernels, for float and double. Pointers are device pointers on
// the current device; the launches are asynchronous on `stream`. Values are not checked. C++17,
// torch-free.

#include <cuda_runtime_api.h>

#include <cstdint>

namespace point2mask::cuda {

enum class Norm { kL1, kL2, kSquaredL2 };

// Norm over the channels of the difference between every pixel and its neighbours, along the first
// D of the grid steps (point2mask/grid.hpp).
template <typename T>
struct NeighborDifference {
  const T* feature; // [B, C, H, W]
  std::int64_t images, channels, height, width;
  int directions; // D: 2, 4 or 8
  Norm norm;
  T* difference; // [B, D, H, W], 0 where the neighbour lies outside
};

// The gradient with respect to the feature; 0 where the norm has none (l1 and l2 at zero).
template <typename T>
struct NeighborDifferenceBackward {
  const T* grad_difference; // [B, D, H, W]
  const T* feature;         // [B, C, H, W]
  const T* difference;      // [B, D, H, W] what the forward returned; read for l2 only
  std::int64_t images, channels, height, width;
  int directions;
  Norm norm;
  T* grad_feature; // [B, C, H, W]
};

template <typename T>
cudaError_t neighbor_difference(const NeighborDifference<T>& p, cudaStream_t stream);
template <typename T>
cudaError_t neighbor_difference_backward(const NeighborDifferenceBackward<T>& p,
                                         cudaStream_t stream);

// The mean over pairs of pixels of like colour of -log(sum_c p_ic p_jc), p the softmax of the
// logits; see point2mask/pairs.hpp. Where a logit of a valid pixel is not finite, the loss of its
// image means nothing; a colour that is not finite is like no other.
template <typename T>
struct LabAffinityLoss {
  const T* logits;   // [B, C, H, W], C >= 1
  const T* lab;      // [B, 3, H, W]
  const bool* valid; // [B, H, W], or null: all
  std::int64_t images, channels, height, width;
  std::int64_t kernel_size, dilation; // odd and >= 3, >= 1
  double theta, threshold;            // > 0 and finite, in (0, 1]
  void* scratch;                      // lab_affinity_loss_scratch_bytes, aligned to 16
  T* loss;                            // [B]
  std::int64_t* pairs;                // [B] near unordered pairs
};

// The gradient with respect to the logits. Arguments as above.
template <typename T>
struct LabAffinityLossBackward {
  const T* grad_loss;        // [B]
  const T* logits;           // [B, C, H, W]
  const T* lab;              // [B, 3, H, W]
  const bool* valid;         // [B, H, W] or null
  const std::int64_t* pairs; // [B] from the forward
  std::int64_t images, channels, height, width;
  std::int64_t kernel_size, dilation;
  double theta, threshold;
  void* scratch;  // lab_affinity_loss_backward_scratch_bytes, aligned to 16
  T* grad_logits; // [B, C, H, W]
};

template <typename T>
std::int64_t lab_affinity_loss_scratch_bytes(std::int64_t images, std::int64_t height,
                                             std::int64_t width);
template <typename T>
std::int64_t lab_affinity_loss_backward_scratch_bytes(std::int64_t images, std::int64_t height,
                                                      std::int64_t width);
template <typename T>
cudaError_t lab_affinity_loss(const LabAffinityLoss<T>& p, cudaStream_t stream);
template <typename T>
cudaError_t lab_affinity_loss_backward(const LabAffinityLossBackward<T>& p, cudaStream_t stream);

// Teaches a boundary map to separate what the masks separate; see point2mask/pairs.hpp.
template <typename T>
struct BoundaryLoss {
  const T* boundary;            // [B, H, W] in [0, 1]
  const std::int32_t* instance; // [B, H, W] >= -1
  const std::int32_t* semantic; // [B, H, W] >= -1
  std::int64_t images, height, width;
  std::int64_t kernel_size, dilation; // odd and >= 3, >= 1
  void* scratch;                      // boundary_loss_scratch_bytes, aligned to 16
  T* loss;                            // [B]
  std::int64_t* pairs;                // [B, 3] unordered pairs: thing, stuff, apart
};

// The gradient with respect to the boundary; at a tie both pixels take half.
template <typename T>
struct BoundaryLossBackward {
  const T* grad_loss;           // [B]
  const T* boundary;            // [B, H, W]
  const std::int32_t* instance; // [B, H, W]
  const std::int32_t* semantic; // [B, H, W]
  const std::int64_t* pairs;    // [B, 3] from the forward
  std::int64_t images, height, width;
  std::int64_t kernel_size, dilation;
  T* grad_boundary; // [B, H, W]
};

std::int64_t boundary_loss_scratch_bytes(std::int64_t images, std::int64_t height,
                                         std::int64_t width);
template <typename T>
cudaError_t boundary_loss(const BoundaryLoss<T>& p, cudaStream_t stream);
template <typename T>
cudaError_t boundary_loss_backward(const BoundaryLossBackward<T>& p, cudaStream_t stream);

} // namespace point2mask::cuda
