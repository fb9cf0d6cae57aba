// Gradient of transport_plan. With S the softmax of a pixel's row and q = sum_k G_k S_k:
// dP_k = P_k (dx_k - lambda sum_l S_l dx_l), x = (potential - cost) / epsilon, so that
// dL/dx_k = P_k (G_k - lambda q).

#include <algorithm>

#include "point2mask/cuda.hpp"
#include "point2mask/scratch.hpp"
#include "transport_rows.cuh"

namespace point2mask::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

// A block takes 256 pixels of an image, a thread one of them. The potential's gradient is a sum
// over pixels: of 32 targets at a time, first over each warp, then over the block's warps.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    plan_gradient_kernel(TransportPlanBackward<T> p, RowModel<T> model, T inverse_epsilon,
                         std::int64_t chunks, double* parts) {
  POINT2MASK_SHARED(T, warp_sums, kWarps * kWarp); // [warp, target]
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  for (std::int64_t work = blockIdx.x; work < p.images * chunks; work += gridDim.x) {
    const std::int64_t image = work / chunks, chunk = work % chunks;
    const std::int64_t pixel = chunk * kThreads + thread;
    const bool inside = pixel < p.pixels;
    const std::int64_t first = image * p.targets * p.pixels + pixel;
    const T* const potential = p.potential + image * p.targets;
    const auto difference = [&](std::int64_t k) {
      return __ldg(potential + k) - __ldg(p.cost + first + k * p.pixels);
    };
    Row<T> row{T(0), T(0), T(0)};
    T mean = T(0), mass = T(0);
    if (inside) {
      row = row_of(p.targets, model, difference);
#pragma unroll 1
      for (std::int64_t k = 0; k < p.targets; ++k) {
        if (__ldg(potential + k) > -infinity<T>())
          mean += __ldg(p.grad_plan + first + k * p.pixels) * row.share(difference(k), model);
      }
      mass = row.factor * __ldg(p.demand + image * p.pixels + pixel) * inverse_epsilon;
      p.grad_demand[image * p.pixels + pixel] = row.factor * mean;
    }
    for (std::int64_t base = 0; base < p.targets; base += kWarp) {
      T own = T(0); // of target base + lane
      const int count = static_cast<int>(min(p.targets - base, std::int64_t{kWarp}));
      for (int i = 0; i < count; ++i) {
        const std::int64_t k = base + i;
        T gradient = T(0);
        if (inside && __ldg(potential + k) > -infinity<T>())
          gradient = mass * row.share(difference(k), model) *
                     (__ldg(p.grad_plan + first + k * p.pixels) - model.lambda * mean);
        if (inside) p.grad_cost[first + k * p.pixels] = -gradient;
        const T sum = warp_sum(gradient);
        if (lane == i) own = sum;
      }
      warp_sums[warp * kWarp + lane] = own;
      __syncthreads();
      if (thread < count) {
        double sum = 0;
        for (int w = 0; w < kWarps; ++w) sum += static_cast<double>(warp_sums[w * kWarp + thread]);
        parts[(image * p.targets + base + thread) * chunks + chunk] = sum;
      }
      __syncthreads();
    }
  }
}

// A warp adds up the chunks of one target.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    add_chunks_kernel(std::int64_t sums, std::int64_t chunks, const double* parts, T* out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t step = std::int64_t{gridDim.x} * kWarps;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; i < sums;
       i += step) {
    double sum = 0;
    for (std::int64_t chunk = lane; chunk < chunks; chunk += kWarp)
      sum += parts[i * chunks + chunk];
    sum = warp_sum(sum);
    if (lane == 0) out[i] = static_cast<T>(sum);
  }
}

template <typename T>
std::int64_t chunks_of(const TransportPlanBackward<T>& p) {
  return (p.pixels + kThreads - 1) / kThreads;
}

} // namespace

template <typename T>
std::int64_t scratch_bytes(const TransportPlanBackward<T>& p) {
  Scratch memory;
  memory.take<double>(p.images * p.targets * chunks_of(p));
  return memory.bytes();
}

template <typename T>
cudaError_t run(const TransportPlanBackward<T>& p, void* scratch, cudaStream_t stream) {
  const std::int64_t chunks = chunks_of(p), sums = p.images * p.targets;
  double* const parts = static_cast<double*>(scratch);
  cudaError_t status = cudaSuccess;
  if (p.images > 0 && chunks > 0)
    status = launch(plan_gradient_kernel<T>, dim3(blocks_for(p.images * chunks, 1)), dim3(kThreads),
                    0, stream, p, RowModel<T>(p.epsilon, p.demand_relaxation),
                    static_cast<T>(1 / p.epsilon), chunks, parts);
  if (status == cudaSuccess && sums > 0)
    status = launch(add_chunks_kernel<T>, dim3(blocks_for(sums, kWarps)), dim3(kThreads), 0, stream,
                    sums, chunks, parts, p.grad_potential);
  return status;
}

template std::int64_t scratch_bytes(const TransportPlanBackward<float>&);
template std::int64_t scratch_bytes(const TransportPlanBackward<double>&);
template cudaError_t run(const TransportPlanBackward<float>&, void*, cudaStream_t);
template cudaError_t run(const TransportPlanBackward<double>&, void*, cudaStream_t);

} // namespace point2mask::cuda
