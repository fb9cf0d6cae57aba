#pragma once

// The K x K system of sinkhorn's gradient and of Newton's method, solved by a group of blocks: H =
// diag(m) - lambda M with M >= 0 symmetric and M 1 = m. See cpp/src/transport_laplacian.hpp, whose
// steps these are.

#include <cstdint>

#include "point2mask/group_barrier.cuh"
#include "transport_device.cuh"

namespace point2mask::cuda {

// Targets that share less than this fraction of their mass do not determine each other's potential.
constexpr double kNegligible = 1e-12;

// Blocks that a system of n targets keeps busy. One block solves a small system, as a barrier
// between several, one a target, costs more than they save. Of a larger one a block takes
// kRowsOfBlock rows while the first targets are eliminated.
constexpr std::int64_t kTargetsAlone = 96, kRowsOfBlock = 16;
inline std::int64_t useful_blocks(std::int64_t n) {
  return n > kTargetsAlone ? n / kRowsOfBlock : 1;
}

// All arrays lie in device memory and belong to the group alone. A warp works on a row at a time;
// which one it is does not change a bit.
struct Laplacian {
  double* weight;                           // [n, n] M; destroyed
  double *mass, *z, *excess, *pivot, *mean; // [n]; z: right-hand side, then solution
  std::int32_t* component;                  // [n]
  std::int32_t* last_change;                // round in which a component last got another name
  double lambda, complement;                // lambda1 lambda2 and 1 - lambda1 lambda2
  std::int64_t n;
  std::int64_t block; // of the group
  GroupBarrier& barrier;

  // A thread's place among all of the group; a warp's.
  __device__ __forceinline__ std::int64_t thread() const {
    return block * blockDim.x + threadIdx.x;
  }
  __device__ __forceinline__ std::int64_t threads() const { return barrier.blocks * blockDim.x; }
  __device__ __forceinline__ std::int64_t lane() const { return threadIdx.x % kWarp; }
  __device__ __forceinline__ std::int64_t warp() const { return thread() / kWarp; }
  __device__ __forceinline__ std::int64_t warps() const { return threads() / kWarp; }

  // Sum of f(l), l in [first, n), the same in every lane of the warp.
  template <typename F>
  __device__ __forceinline__ double row_sum(std::int64_t first, F f) const {
    double sum = 0;
    for (std::int64_t l = first + lane(); l < n; l += kWarp) sum += f(l);
    return warp_sum(sum);
  }

  // Of `parts` matrices from `weight` on, of which the upper triangles count, the sum takes the
  // first one's place, completed; and its row sums, which others may read behind a barrier.
  __device__ __forceinline__ void add_parts(std::int64_t parts) const {
    for (std::int64_t k = warp(); k < n; k += warps()) {
      for (std::int64_t l = k + lane(); l < n; l += kWarp) {
        double sum = 0;
        for (std::int64_t part = 0; part < parts; ++part) sum += weight[(part * n + k) * n + l];
        weight[k * n + l] = sum;
        weight[l * n + k] = sum;
      }
    }
    barrier.wait();
    for (std::int64_t k = warp(); k < n; k += warps()) {
      const double sum = row_sum(0, [&](std::int64_t l) { return weight[k * n + l]; });
      if (lane() == 0) mass[k] = sum;
    }
  }

  __device__ __forceinline__ bool coupled(std::int64_t k, std::int64_t l) const {
    return weight[k * n + l] > kNegligible * min(mass[k], mass[l]);
  }

  // A component's name is its highest member, the name every target begins with: names travel along
  // couplings until none changes, whatever the order. Weights between components become 0.
  __device__ __forceinline__ void split_into_components() const {
    bool changed = true;
    for (std::int32_t round = 1; changed; ++round) {
      for (std::int64_t k = warp(); k < n; k += warps()) {
        const std::int32_t before = load_relaxed(component + k);
        std::int32_t highest = before;
        for (std::int64_t l = lane(); l < n; l += kWarp)
          if (coupled(k, l)) highest = max(highest, load_relaxed(component + l));
        highest = warp_max(highest);
        if (highest == before || lane() != 0) continue;
        store_relaxed(component + k, highest);
        store_relaxed(last_change, round);
      }
      barrier.wait();
      changed = load_relaxed(last_change) >= round; // others may be a round ahead
    }
    for (std::int64_t k = warp(); k < n; k += warps())
      for (std::int64_t l = lane(); l < n; l += kWarp)
        if (component[k] != component[l]) weight[k * n + l] = 0;
  }

  // z -= its mean over each component; weights(l) of the members. Each thread changes its own z.
  template <typename F>
  __device__ __forceinline__ void centre(F weights) const {
    for (std::int64_t k = warp(); k < n; k += warps()) {
      const auto member = [&](std::int64_t l) { return component[l] == component[k]; };
      const double sum =
          row_sum(0, [&](std::int64_t l) { return member(l) ? weights(l) * z[l] : 0.0; });
      const double total = row_sum(0, [&](std::int64_t l) { return member(l) ? weights(l) : 0.0; });
      if (lane() == 0) mean[k] = total > 0 ? sum / total : 0;
    }
    barrier.wait();
    for (std::int64_t k = thread(); k < n; k += threads()) z[k] -= mean[k];
  }

  // L D L^T, with every pivot formed as a sum of positive numbers (Grassmann, Taksar, Heyman 1985).
  // Every warp forms the pivot; a warp takes a row below it.
  __device__ __forceinline__ void eliminate() const {
    for (std::int64_t k = thread(); k < n; k += threads()) excess[k] = complement * mass[k];
    for (std::int64_t i = thread(); i < n * n; i += threads()) weight[i] *= lambda;
    barrier.wait();
    for (std::int64_t p = 0; p < n; ++p) {
      const double* const top = weight + p * n;
      const double d = excess[p] + row_sum(p + 1, [&](std::int64_t l) { return top[l]; });
      if (thread() == 0) pivot[p] = d;
      for (std::int64_t k = p + 1 + warp(); k < n; k += warps()) {
        const double factor = d > 0 ? top[k] / d : 0; // 0 / 0: the last of its component
        for (std::int64_t l = k + 1 + lane(); l < n; l += kWarp)
          weight[k * n + l] += factor * top[l];
        if (lane() != 0) continue;
        excess[k] += factor * excess[p];
        z[k] += factor * z[p];
      }
      barrier.wait();
    }
  }

  // Back substitution by one block, 32 rows at a time from the last up: its warps add up what lies
  // to the right of these rows, then a lane takes a row of the triangle that is left.
  __device__ __forceinline__ void substitute() const {
    for (std::int64_t first = (n - 1) / kWarp * kWarp; first >= 0; first -= kWarp) {
      const std::int64_t end = min(first + kWarp, n);
      for (std::int64_t k = first + warp(); k < end; k += blockDim.x / kWarp) {
        const double sum = row_sum(end, [&](std::int64_t l) { return weight[k * n + l] * z[l]; });
        if (lane() == 0) z[k] += sum;
      }
      __syncthreads();
      if (warp() == 0) {
        const std::int64_t k = first + lane();
        double own = k < n ? z[k] : 0;
        for (std::int64_t p = end - 1; p >= first; --p) {
          const double right = __shfl_sync(kFullWarp, own, static_cast<int>(p - first));
          const double known = pivot[p] > 0 ? right / pivot[p] : 0;
          if (k < p) own += weight[k * n + p] * known;
          if (k == p) own = known;
        }
        if (k < n) z[k] = own;
      }
      __syncthreads();
    }
  }

  // With both marginals fixed (complement 0) H is singular on every component: z is projected to
  // mean zero there before, and to sum_k m_k z_k = 0 after. A thread may then read the z that it
  // wrote before, which are those from thread() on.
  __device__ __forceinline__ void solve() const {
    const bool singular = !(complement > 0);
    for (std::int64_t k = thread(); k < n; k += threads())
      component[k] = static_cast<std::int32_t>(k);
    if (thread() == 0) *last_change = 0;
    barrier.wait();
    if (singular) {
      split_into_components();
      centre([](std::int64_t) { return 1.0; });
    }
    eliminate();
    if (block == 0) substitute();
    barrier.wait();
    if (singular) centre([&](std::int64_t l) { return mass[l]; });
  }
};

} // namespace point2mask::cuda
