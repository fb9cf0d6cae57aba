#include "point2mask/cuda.hpp"
#include "point2mask/simt.cuh"
#include "transport_cost.cuh"
#include "transport_device.cuh"

namespace point2mask::cuda {
namespace {

constexpr int kThreads = 256;

// One thread a pixel; neighbouring threads read neighbouring costs of one target after the other.
// A target that takes no part has cost - potential = inf, which is never less.
template <typename T, typename Stored>
__global__ void __launch_bounds__(kThreads) transport_labels_kernel(TransportLabels<T, Stored> p) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t image = blockIdx.y; image < p.images; image += gridDim.y) {
    const T* const potential = p.potential + image * p.targets;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < p.pixels;
         i += step) {
      const std::int64_t pixel = image * p.pixels + i;
      std::int32_t label = -1;
      if (__ldg(p.demand + pixel) > T(0)) {
        const Stored* cost = p.cost + image * p.targets * p.pixels + i;
        T least = infinity<T>();
#pragma unroll 4
        for (std::int64_t k = 0; k < p.targets; ++k, cost += p.pixels) {
          const T value = load_cost(cost) - __ldg(potential + k);
          if (value < least) {
            least = value;
            label = static_cast<std::int32_t>(k);
          }
        }
      }
      p.labels[pixel] = label;
    }
  }
}

template <typename T>
struct PlanScale {
  T inverse_epsilon, excess; // excess = 1 - lambda
};

// One thread a pixel. The second pass runs backwards, to begin with what the caches still hold. In
// double the compiler must leave 64 registers (4 blocks a multiprocessor), or it spills.
template <typename T, typename Stored>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 4 ? 0 : 4)
    transport_plan_kernel(TransportPlan<T, Stored> p, PlanScale<T> scale) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t image = blockIdx.y; image < p.images; image += gridDim.y) {
    const T* const potential = p.potential + image * p.targets;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < p.pixels;
         i += step) {
      const std::int64_t first = image * p.targets * p.pixels + i;
      const T demand = __ldg(p.demand + image * p.pixels + i);
      const auto exponent = [&](std::int64_t k) {
        return (__ldg(potential + k) - load_cost(p.cost + first + k * p.pixels)) *
               scale.inverse_epsilon;
      };
      LogSum<T> total;
      if (demand > T(0)) {
#pragma unroll 4
        for (std::int64_t k = 0; k < p.targets; ++k) total.add(exponent(k));
      }
      const bool empty = total.sum == T(0);
      const T factor =
          empty ? T(0) : demand * exp(scale.excess * (total.largest + log(total.sum))) / total.sum;
#pragma unroll 4
      for (std::int64_t k = p.targets - 1; k >= 0; --k)
        p.plan[first + k * p.pixels] = empty ? T(0) : factor * exp(exponent(k) - total.largest);
    }
  }
}

dim3 pixel_grid(std::int64_t pixels, std::int64_t images) {
  return dim3(blocks_for(pixels, kThreads), blocks_for(images, 1));
}

} // namespace

template <typename T, typename Stored>
cudaError_t run(const TransportLabels<T, Stored>& p, void* /*scratch*/, cudaStream_t stream) {
  if (p.images == 0 || p.pixels == 0) return cudaSuccess;
  return launch(transport_labels_kernel<T, Stored>, pixel_grid(p.pixels, p.images), dim3(kThreads),
                0, stream, p);
}

template <typename T, typename Stored>
cudaError_t run(const TransportPlan<T, Stored>& p, void* /*scratch*/, cudaStream_t stream) {
  if (p.images == 0 || p.pixels == 0 || p.targets == 0) return cudaSuccess;
  const double excess = p.epsilon / (p.demand_relaxation + p.epsilon);
  const PlanScale<T> scale{static_cast<T>(1.0 / p.epsilon), static_cast<T>(excess)};
  return launch(transport_plan_kernel<T, Stored>, pixel_grid(p.pixels, p.images), dim3(kThreads), 0,
                stream, p, scale);
}

#define POINT2MASK_INSTANTIATE(T, Stored)                                           \
  template cudaError_t run(const TransportLabels<T, Stored>&, void*, cudaStream_t); \
  template cudaError_t run(const TransportPlan<T, Stored>&, void*, cudaStream_t);
POINT2MASK_FOR_COSTS(POINT2MASK_INSTANTIATE)
#undef POINT2MASK_INSTANTIATE

} // namespace point2mask::cuda
