#pragma once

// The K x K system of sinkhorn's gradient, solved by one block: H = diag(m) - lambda M with M >= 0
// symmetric and M 1 = m. See cpp/src/transport_laplacian.hpp, whose steps these are.

#include <cstdint>

#include "transport_device.cuh"

namespace point2mask::cuda {

// Targets that share less than this fraction of their mass do not determine each other's potential.
constexpr double kNegligible = 1e-12;

// All arrays lie in device memory and belong to the block alone.
struct Laplacian {
  double* weight;                           // [n, n] M; destroyed
  double *mass, *z, *excess, *pivot, *mean; // [n]; z: right-hand side, then solution
  std::int32_t* component;                  // [n]
  double lambda, complement;                // lambda1 lambda2 and 1 - lambda1 lambda2
  std::int64_t n;

  __device__ __forceinline__ std::int64_t lane() const { return threadIdx.x % kWarp; }
  __device__ __forceinline__ std::int64_t warp() const { return threadIdx.x / kWarp; }
  __device__ __forceinline__ std::int64_t warps() const { return blockDim.x / kWarp; }

  // Sum of f(l), l in [first, n), the same in every lane of the warp.
  template <typename F>
  __device__ __forceinline__ double row_sum(std::int64_t first, F f) const {
    double sum = 0;
    for (std::int64_t l = first + lane(); l < n; l += kWarp) sum += f(l);
    return warp_sum(sum);
  }

  // Of `parts` matrices from `weight` on, of which the upper triangles count, the sum takes the
  // first one's place, completed; and its row sums.
  __device__ __forceinline__ void add_parts(std::int64_t parts) const {
    for (std::int64_t k = warp(); k < n; k += warps()) {
      for (std::int64_t l = k + lane(); l < n; l += kWarp) {
        double sum = 0;
        for (std::int64_t part = 0; part < parts; ++part) sum += weight[(part * n + k) * n + l];
        weight[k * n + l] = sum;
        weight[l * n + k] = sum;
      }
    }
    __syncthreads();
    for (std::int64_t k = warp(); k < n; k += warps()) {
      const double sum = row_sum(0, [&](std::int64_t l) { return weight[k * n + l]; });
      if (lane() == 0) mass[k] = sum;
    }
    __syncthreads();
  }

  __device__ __forceinline__ bool coupled(std::int64_t k, std::int64_t l) const {
    return weight[k * n + l] > kNegligible * min(mass[k], mass[l]);
  }

  // A component's name is its lowest member: names travel along couplings until none changes,
  // whatever the order. Weights between components become 0.
  __device__ __forceinline__ void split_into_components() const {
    for (std::int64_t k = threadIdx.x; k < n; k += blockDim.x)
      component[k] = static_cast<std::int32_t>(k);
    __syncthreads();
    bool changed = true;
    while (changed) {
      changed = false;
      for (std::int64_t k = threadIdx.x; k < n; k += blockDim.x) {
        const std::int32_t before = load_relaxed(component + k);
        std::int32_t lowest = before;
        for (std::int64_t l = 0; l < n; ++l)
          if (coupled(k, l)) lowest = min(lowest, load_relaxed(component + l));
        if (lowest < before) store_relaxed(component + k, lowest);
        changed = changed || lowest < before;
      }
      changed = __syncthreads_or(changed) != 0;
    }
    for (std::int64_t k = warp(); k < n; k += warps())
      for (std::int64_t l = lane(); l < n; l += kWarp)
        if (component[k] != component[l]) weight[k * n + l] = 0;
    __syncthreads();
  }

  // z -= its mean over each component; weights(l) of the members.
  template <typename F>
  __device__ __forceinline__ void centre(F weights) const {
    for (std::int64_t k = warp(); k < n; k += warps()) {
      const auto member = [&](std::int64_t l) { return component[l] == component[k]; };
      const double sum =
          row_sum(0, [&](std::int64_t l) { return member(l) ? weights(l) * z[l] : 0.0; });
      const double total = row_sum(0, [&](std::int64_t l) { return member(l) ? weights(l) : 0.0; });
      if (lane() == 0) mean[k] = total > 0 ? sum / total : 0;
    }
    __syncthreads();
    for (std::int64_t k = threadIdx.x; k < n; k += blockDim.x) z[k] -= mean[k];
    __syncthreads();
  }

  // L D L^T, with every pivot formed as a sum of positive numbers (Grassmann, Taksar, Heyman 1985).
  // Every warp forms the pivot; a warp takes a row below it.
  __device__ __forceinline__ void eliminate() const {
    for (std::int64_t k = threadIdx.x; k < n; k += blockDim.x) excess[k] = complement * mass[k];
    for (std::int64_t i = threadIdx.x; i < n * n; i += blockDim.x) weight[i] *= lambda;
    __syncthreads();
    for (std::int64_t p = 0; p < n; ++p) {
      const double* const top = weight + p * n;
      const double d = excess[p] + row_sum(p + 1, [&](std::int64_t l) { return top[l]; });
      if (threadIdx.x == 0) pivot[p] = d;
      for (std::int64_t k = p + 1 + warp(); k < n; k += warps()) {
        const double factor = d > 0 ? top[k] / d : 0; // 0 / 0: the last of its component
        for (std::int64_t l = k + 1 + lane(); l < n; l += kWarp)
          weight[k * n + l] += factor * top[l];
        if (lane() != 0) continue;
        excess[k] += factor * excess[p];
        z[k] += factor * z[p];
      }
      __syncthreads();
    }
    if (warp() == 0) {
      for (std::int64_t p = n - 1; p >= 0; --p) {
        const double sum = row_sum(p + 1, [&](std::int64_t l) { return weight[p * n + l] * z[l]; });
        if (lane() == 0) z[p] = pivot[p] > 0 ? (z[p] + sum) / pivot[p] : 0;
        __syncwarp();
      }
    }
    __syncthreads();
  }

  // With both marginals fixed (complement 0) H is singular on every component: z is projected to
  // mean zero there before, and to sum_k m_k z_k = 0 after.
  __device__ __forceinline__ void solve() const {
    const bool singular = !(complement > 0);
    if (singular) {
      split_into_components();
      centre([](std::int64_t) { return 1.0; });
    }
    eliminate();
    if (singular) centre([&](std::int64_t l) { return mass[l]; });
  }
};

} // namespace point2mask::cuda
