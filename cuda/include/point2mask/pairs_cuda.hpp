#pragma once

// Host launchers of the pixel pair kernels, for float and double. Pointers are device pointers on
// the current device; the launches are asynchronous on `stream`. C++17, torch-free.

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

template <typename T>
cudaError_t neighbor_difference(const NeighborDifference<T>& p, cudaStream_t stream);

} // namespace point2mask::cuda
