#include "pairs_window.cuh"
#include "point2mask/cuda.hpp"
#include "point2mask/grid.cuh"

namespace point2mask::cuda {
namespace {

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
  const T* feature = p.feature + (image * p.channels * p.height + y) * p.width + x;
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
    out[d * plane] = !kAbsolute && p.norm == Norm::kL2 ? sqrt(sum[d]) : sum[d];
}

// Calls work(image, y, x) for the pixels of this thread.
template <typename Arguments, typename Work>
__device__ __forceinline__ void for_pixels(const Arguments& p, Work&& work) {
  const std::int64_t step_x = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t step_y = std::int64_t{gridDim.y} * blockDim.y;
  for (std::int64_t image = blockIdx.z; image < p.images; image += gridDim.z)
    for (std::int64_t y = std::int64_t{blockIdx.y} * blockDim.y + threadIdx.y; y < p.height;
         y += step_y)
      for (std::int64_t x = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; x < p.width;
           x += step_x)
        work(image, y, x);
}

template <typename T, int kDirections, bool kAbsolute>
__global__ void __launch_bounds__(kPatchPixels)
    neighbor_difference_kernel(NeighborDifference<T> p) {
  for_pixels(p, [&](std::int64_t image, std::int64_t y, std::int64_t x) {
    pixel_differences<T, kDirections, kAbsolute>(p, image, y, x);
  });
}

// The pairs of one pixel: where its neighbours lie in a plane, and what a pair's slope is
// multiplied by; 0 where there is no neighbour.
template <typename T>
struct Pairs {
  std::int64_t offset[8];
  T weight[8];
};

// A pair's weight is its upstream gradient (that of both its entries where D is 8) times what does
// not depend on the channel: 2 for squared_l2, 1 / distance for l2.
template <typename T, int kDirections>
__device__ __forceinline__ Pairs<T> weigh_pairs(const NeighborDifferenceBackward<T>& p,
                                                std::int64_t image, std::int64_t y,
                                                std::int64_t x) {
  constexpr Steps steps = kSteps;
  const std::int64_t plane = p.height * p.width;
  const std::int64_t here = image * kDirections * plane + y * p.width + x;
  Pairs<T> pairs;
#pragma unroll
  for (int d = 0; d < 8; ++d) {
    if (d % 4 >= kDirections) continue;
    const std::int64_t ny = y + steps.to[d].dy, nx = x + steps.to[d].dx;
    const bool inside = ny >= 0 && ny < p.height && nx >= 0 && nx < p.width;
    const std::int64_t offset = inside ? steps.to[d].dy * p.width + steps.to[d].dx : 0;
    // The pair's entry lies at the pixel that its edge leaves.
    const std::int64_t leaving = here + d % kDirections * plane;
    const std::int64_t reverse = here + (d + 4) % 8 % kDirections * plane + offset;
    const std::int64_t entry = kDirections == 8 || d < 4 ? leaving : reverse;
    T weight = T(0);
    if (inside) {
      weight = __ldg(p.grad_difference + entry);
      if (kDirections == 8) weight += __ldg(p.grad_difference + reverse);
      if (p.norm == Norm::kSquaredL2) weight *= T(2);
      if (p.norm == Norm::kL2) {
        const T distance = __ldg(p.difference + entry);
        weight = distance == T(0) ? T(0) : weight / distance;
      }
    }
    pairs.offset[d] = offset;
    pairs.weight[d] = weight;
  }
  return pairs;
}

// What is left of the derivative is the sign (l1, 0 at 0) or the difference itself.
template <typename T, bool kAbsolute>
__device__ __forceinline__ T slope(T difference, T weight) {
  if (!kAbsolute) return difference * weight;
  return difference == T(0) ? T(0) : copysign(T(1), difference) * weight;
}

// One thread a pixel gathers over its neighbours; both pixels of a pair find its weight.
template <typename T, int kDirections, bool kAbsolute>
__global__ void __launch_bounds__(kPatchPixels, 2)
    neighbor_difference_backward_kernel(NeighborDifferenceBackward<T> p) {
  for_pixels(p, [&](std::int64_t image, std::int64_t y, std::int64_t x) {
    const Pairs<T> pairs = weigh_pairs<T, kDirections>(p, image, y, x);
    const std::int64_t plane = p.height * p.width;
    std::int64_t i = image * p.channels * plane + y * p.width + x;
    for (std::int64_t c = 0; c < p.channels; ++c, i += plane) {
      const T here = __ldg(p.feature + i);
      T grad = T(0);
#pragma unroll
      for (int d = 0; d < 8; ++d) {
        if (d % 4 >= kDirections) continue;
        const T there = __ldg(p.feature + i + pairs.offset[d]);
        if (pairs.offset[d] != 0) grad += slope<T, kAbsolute>(here - there, pairs.weight[d]);
      }
      p.grad_feature[i] = grad;
    }
  });
}

template <typename Arguments>
cudaError_t launch_pixels(void (*kernel)(Arguments), const Arguments& p, cudaStream_t stream) {
  const dim3 grid(blocks_for(p.width, kPatchWidth), blocks_for(p.height, kPatchHeight),
                  blocks_for(p.images, 1));
  return launch(kernel, grid, dim3(kPatchWidth, kPatchHeight), 0, stream, p);
}

template <typename T, int kDirections>
cudaError_t launch_directions(const NeighborDifference<T>& p, cudaStream_t stream) {
  return launch_pixels(p.norm == Norm::kL1 ? neighbor_difference_kernel<T, kDirections, true>
                                           : neighbor_difference_kernel<T, kDirections, false>,
                       p, stream);
}

template <typename T, int kDirections>
cudaError_t launch_directions(const NeighborDifferenceBackward<T>& p, cudaStream_t stream) {
  return launch_pixels(p.norm == Norm::kL1
                           ? neighbor_difference_backward_kernel<T, kDirections, true>
                           : neighbor_difference_backward_kernel<T, kDirections, false>,
                       p, stream);
}

template <template <typename> typename Arguments, typename T>
cudaError_t launch_any(const Arguments<T>& p, cudaStream_t stream) {
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

} // namespace

template <typename T>
cudaError_t run(const NeighborDifference<T>& p, void* /*scratch*/, cudaStream_t stream) {
  return launch_any(p, stream);
}

template <typename T>
cudaError_t run(const NeighborDifferenceBackward<T>& p, void* /*scratch*/, cudaStream_t stream) {
  return launch_any(p, stream);
}

template cudaError_t run(const NeighborDifference<float>&, void*, cudaStream_t);
template cudaError_t run(const NeighborDifference<double>&, void*, cudaStream_t);
template cudaError_t run(const NeighborDifferenceBackward<float>&, void*, cudaStream_t);
template cudaError_t run(const NeighborDifferenceBackward<double>&, void*, cudaStream_t);

} // namespace point2mask::cuda
