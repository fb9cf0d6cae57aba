#pragma once

// Host launchers of the mask kernels. Pointers are device pointers on the current device; the
// launches are asynchronous on `stream`. C++17, torch-free.

#include <cuda_runtime_api.h>

#include <cstdint>

namespace point2mask::cuda {

// Area, centroid and bounding box of every target of every image. Labels outside [0, K) count for
// nothing: to reject them, as the CPU engine does, the host would have to wait for the device.
struct MaskStatistics {
  const std::int32_t* labels; // [B, H, W], -1 = no target
  std::int64_t images, height, width, targets;
  std::int64_t* coordinate_sum; // [B, K, 2] workspace: sums of y and x
  std::int64_t* area;           // [B, K] pixels
  float* centroid;              // [B, K, 2] mean (y, x) in pixels; (0, 0) where area is 0
  std::int32_t* box;            // [B, K, 4] x0, y0, x1, y1, ends exclusive; zeros where area is 0
};

cudaError_t mask_statistics(const MaskStatistics& p, cudaStream_t stream);

} // namespace point2mask::cuda
