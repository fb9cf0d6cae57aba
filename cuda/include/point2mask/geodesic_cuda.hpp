#pragma once

// Host launchers of the geodesic kernels, for float and double. Pointers are device pointers on the
// current device; the launches are asynchronous on `stream`. C++17, torch-free.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace point2mask::cuda {

// Shortest paths on the directed 8-connected grid, from the seeds of every target to every pixel:
// the bits of the CPU engine, since the fixed point does not depend on the order of relaxations.
// Values are not checked: a step whose cost is negative or NaN counts as a wall, a seed outside
// [0, H * W) as padding.
template <typename T>
struct GeodesicDistance {
  const T* edge_cost;        // [B, 8, H, W] cost of the step kOffsets[d] from (y, x)
  const std::int32_t* seeds; // [B, K, P] pixels, -1 = padding
  std::int64_t images, height, width, targets, points;
  std::int32_t* scratch; // of geodesic_distance_scratch_bytes(), null where that is 0
  T* distance;           // [B, K, H, W], +inf where no seed reaches
};

// Shared memory that every device grants a block, less what the kernel takes for itself.
inline constexpr std::size_t kGeodesicSharedBytes = 48000;

// Bytes of scratch memory; 0 where so much shared memory suffices: by default up to 540000 pixels
// of float, 270000 of double.
template <typename T>
std::size_t geodesic_distance_scratch_bytes(std::int64_t images, std::int64_t targets,
                                            std::int64_t height, std::int64_t width,
                                            std::size_t shared_bytes = kGeodesicSharedBytes);

template <typename T>
cudaError_t geodesic_distance(const GeodesicDistance<T>& p, cudaStream_t stream);

// Gradient along the forest of shortest paths that the CPU engine defines
// (point2mask/geodesic.hpp), with the same bits. Seeds outside [0, H * W) count as padding.
template <typename T>
struct GeodesicDistanceGradient {
  const T* grad_distance;    // [B, K, H, W]
  const T* edge_cost;        // [B, 8, H, W]
  const T* distance;         // [B, K, H, W] the result of geodesic_distance
  const std::int32_t* seeds; // [B, K, P]
  std::int64_t images, height, width, targets, points;
  std::int64_t
      targets_at_once; // of every image, in [1, K]; their forests lie in the scratch memory
  void* scratch;       // geodesic_gradient_scratch_bytes(), aligned to 8
  T* grad_edge_cost;   // [B, 8, H, W], 0 for steps that leave the image
};

// As many targets of every image as about 256 MB of scratch memory hold, but at least one.
std::int64_t geodesic_gradient_targets_at_once(std::int64_t images, std::int64_t targets,
                                               std::int64_t height, std::int64_t width);

template <typename T>
std::size_t geodesic_gradient_scratch_bytes(std::int64_t images, std::int64_t targets,
                                            std::int64_t height, std::int64_t width,
                                            std::int64_t targets_at_once);

template <typename T>
cudaError_t geodesic_distance_gradient(const GeodesicDistanceGradient<T>& p, cudaStream_t stream);

} // namespace point2mask::cuda
