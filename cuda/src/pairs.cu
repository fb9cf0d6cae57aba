#include "point2mask/grid.hpp"
#include "point2mask/pairs_cuda.hpp"
#include "point2mask/simt.cuh"

namespace point2mask::cuda {
namespace {

// A block covers a patch of the image, so that most neighbours are in the first-level cache.
constexpr int kPatchWidth = 32, kPatchHeight = 8;

// The grid steps where device code may index them (std::array's operator[] is a host function).
struct Steps {
  Offset to[8];
};
constexpr Steps kSteps{{kOffsets[0], kOffsets[1], kOffsets[2], kOffsets[3], kOffsets[4],
                        kOffsets[5], kOffsets[6], kOffsets[7]}};

// One thread a pixel: reads its channels once and keeps one sum a direction.
template <typename T, int kDirections, bool kAbsolute>
__device__ __forceinline__ void pixel_differences(const NeighborDifference<T>& p,
                                                  std::int64_t image, std::int64_t y,
                                                  std::int64_t x) {
  constexpr Steps steps = kSteps;
  const std::int64_t plane = p.height * p.width;
  bool inside[kDirections];
  T sum[kDirections];
#pragma unroll
  for (int d = 0; d < kDirections; ++d) {
    const std::int64_t ny = y + steps.to[d].dy, nx = x + steps.to[d].dx;
    inside[d] = ny >= 0 && ny < p.height && nx >= 0 && nx < p.width;
    sum[d] = T(0);
  }
  const T* feature = p.feature + image * p.channels * plane + y * p.width + x;
#pragma unroll(8 / kDirections)
  for (std::int64_t c = 0; c < p.channels; ++c, feature += plane) {
    const T here = __ldg(feature);
#pragma unroll
    for (int d = 0; d < kDirections; ++d) {
      const std::int64_t offset = steps.to[d].dy * p.width + steps.to[d].dx;
      const T difference = inside[d] ? __ldg(feature + offset) - here : T(0);
      sum[d] += kAbsolute ? fabs(difference) : difference * difference;
    }
  }
  T* const out = p.difference + image * kDirections * plane + y * p.width + x;
#pragma unroll
  for (int d = 0; d < kDirections; ++d)
    out[d * plane] = p.norm == Norm::kL2 ? sqrt(sum[d]) : sum[d];
}

template <typename T, int kDirections, bool kAbsolute>
__global__ void __launch_bounds__(kPatchWidth* kPatchHeight)
    neighbor_difference_kernel(NeighborDifference<T> p) {
  const std::int64_t step_x = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t step_y = std::int64_t{gridDim.y} * blockDim.y;
  for (std::int64_t image = blockIdx.z; image < p.images; image += gridDim.z)
    for (std::int64_t y = std::int64_t{blockIdx.y} * blockDim.y + threadIdx.y; y < p.height;
         y += step_y)
      for (std::int64_t x = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; x < p.width;
           x += step_x)
        pixel_differences<T, kDirections, kAbsolute>(p, image, y, x);
}

template <typename T, int kDirections>
cudaError_t launch_directions(const NeighborDifference<T>& p, cudaStream_t stream) {
  const dim3 grid(blocks_for(p.width, kPatchWidth), blocks_for(p.height, kPatchHeight),
                  blocks_for(p.images, 1));
  const auto kernel = p.norm == Norm::kL1 ? neighbor_difference_kernel<T, kDirections, true>
                                          : neighbor_difference_kernel<T, kDirections, false>;
  return launch(kernel, grid, dim3(kPatchWidth, kPatchHeight), 0, stream, p);
}

} // namespace

template <typename T>
cudaError_t neighbor_difference(const NeighborDifference<T>& p, cudaStream_t stream) {
  if (p.images == 0 || p.height == 0 || p.width == 0) return cudaSuccess;
  switch (p.directions) {
    case 2:
      return launch_directions<T, 2>(p, stream);
    case 4:
      return launch_directions<T, 4>(p, stream);
    default:
      return launch_directions<T, 8>(p, stream);
  }
}

template cudaError_t neighbor_difference(const NeighborDifference<float>&, cudaStream_t);
template cudaError_t neighbor_difference(const NeighborDifference<double>&, cudaStream_t);

} // namespace point2mask::cuda
