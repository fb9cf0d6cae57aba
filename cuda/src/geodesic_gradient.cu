#include <algorithm>
#include <type_traits>

#include "point2mask/cuda.hpp"
#include "point2mask/grid.cuh"
#include "point2mask/scratch.hpp"
#include "point2mask/simt.cuh"
#include "point2mask/warp.cuh"

namespace point2mask::cuda {
namespace {

constexpr int kThreads = 256;
constexpr unsigned char kNoEntry = 8; // a seed, or a pixel that no forest reaches
constexpr std::int64_t kBytesPerPixel = 18;
// How a pixel was reached: 8 * level + direction of the step into it. The least of them decides.
using Key = unsigned long long;
constexpr Key kUnreached = ~Key{0};

// The forests of the targets [first, first + count) of every image, one after the other. Flows
// take the place of the keys once these have done their work.
struct Forests {
  std::int64_t first, count;
  double* sum;          // [B, 8, H, W] the sums of the rounds before
  void* keys;           // [B, count, H, W] of Key, then flows in double
  std::int32_t* order;  // [B, count, H, W] pixels by level
  std::int32_t* starts; // [B, count, H * W + 1] where a level's pixels begin
  unsigned char* tight; // [B, count, H, W] bit d: the step d from here is tight
  unsigned char* entry; // [B, count, H, W] direction of the step that enters the pixel
};

// One thread a pixel: its costs are read once for all targets.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    mark_tight_kernel(GeodesicDistanceBackward<T> p, Forests f) {
  constexpr Steps steps = kSteps;
  const std::int64_t pixels = p.height * p.width, step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t image = blockIdx.y; image < p.images; image += gridDim.y)
    for (std::int64_t u = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; u < pixels;
         u += step) {
      const std::int64_t y = u / p.width, x = u % p.width;
      T cost[8];
      bool inside[8];
#pragma unroll
      for (int d = 0; d < 8; ++d) {
        const std::int64_t to_y = y + steps.to[d].dy, to_x = x + steps.to[d].dx;
        inside[d] = to_y >= 0 && to_y < p.height && to_x >= 0 && to_x < p.width;
        cost[d] = inside[d] ? __ldg(p.edge_cost + (image * 8 + d) * pixels + u) : T(0);
      }
      for (std::int64_t k = 0; k < f.count; ++k) {
        const T* const here = p.distance + (image * p.targets + f.first + k) * pixels + u;
        const T distance = __ldg(here);
        unsigned bits = 0;
#pragma unroll
        for (int d = 0; d < 8; ++d) {
          if (!inside[d]) continue;
          const T there = __ldg(here + steps.to[d].dy * p.width + steps.to[d].dx);
          const T through = distance + cost[d];
          bits |= through == there && there < static_cast<T>(INFINITY) ? 1U << d : 0U;
        }
        const std::int64_t out = (image * f.count + k) * pixels + u;
        static_cast<Key*>(f.keys)[out] = kUnreached;
        f.tight[out] = static_cast<unsigned char>(bits);
        f.entry[out] = kNoEntry;
      }
    }
}

// One target's forest.
struct Forest {
  Key* keys;
  double* flow; // where the keys are
  std::int32_t* order;
  std::int32_t* starts;
  const unsigned char* tight;
  unsigned char* entry;
  int width;
};

// Breadth-first levels over tight steps, a barrier a level. A pixel's key is final when its level
// begins; so is its entry, whatever the order in which its level was listed. Returns the number of
// levels.
__device__ __forceinline__ int find_levels(const Forest& f, const std::int32_t* seeds,
                                           std::int64_t points, std::int64_t pixels, int* counts) {
  constexpr Steps steps = kSteps;
  if (threadIdx.x < 3) counts[threadIdx.x] = 0; // of this level, the next, the one after
  __syncthreads();
  for (std::int64_t i = threadIdx.x; i < points; i += blockDim.x) {
    const std::int32_t seed = seeds[i];
    if (seed < 0 || seed >= pixels) continue;
    if (atomicMin(f.keys + seed, Key{0}) == kUnreached) f.order[atomicAdd(counts, 1)] = seed;
  }
  __syncthreads();
  for (int level = 0, begin = 0;; ++level) {
    const int end = begin + counts[level % 3];
    if (threadIdx.x == 0) {
      counts[(level + 2) % 3] = 0;
      f.starts[level] = begin;
    }
    if (begin == end) return level;
    for (int i = begin + static_cast<int>(threadIdx.x); i < end;
         i += static_cast<int>(blockDim.x)) {
      const std::int32_t u = f.order[i];
      if (level > 0) f.entry[u] = static_cast<unsigned char>(load_relaxed(f.keys + u) & 7U);
      const unsigned tight = f.tight[u];
#pragma unroll
      for (int d = 0; d < 8; ++d) {
        if (!(tight >> d & 1U)) continue;
        const std::int32_t v = u + steps.to[d].dy * f.width + steps.to[d].dx;
        const Key key = static_cast<Key>(level + 1) * 8 + static_cast<Key>(d);
        if (load_relaxed(f.keys + v) <= key) continue; // most often entered before
        if (atomicMin(f.keys + v, key) == kUnreached)
          f.order[end + atomicAdd(counts + (level + 1) % 3, 1)] = v;
      }
    }
    __syncthreads();
    begin = end;
  }
}

// Flows from the last level to the first: a pixel adds those of its successors, in decreasing
// order of their index, when all are complete.
template <typename T>
__device__ __forceinline__ void gather_flows(const Forest& f, const T* grad_distance, int levels) {
  constexpr Steps steps = kSteps;
  constexpr int decreasing[8] = {2, 0, 3, 1, 5, 7, 4, 6}; // directions by the pixel they lead to
  int end = f.starts[levels];
  for (int level = levels - 1; level >= 0; --level) {
    const int begin = f.starts[level];
    for (int i = begin + static_cast<int>(threadIdx.x); i < end;
         i += static_cast<int>(blockDim.x)) {
      const std::int32_t u = f.order[i];
      const unsigned tight = f.tight[u];
      auto sum = static_cast<double>(grad_distance[u]);
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const int d = decreasing[j];
        if (!(tight >> d & 1U)) continue;
        const std::int32_t v = u + steps.to[d].dy * f.width + steps.to[d].dx;
        if (f.entry[v] == d) sum += f.flow[v];
      }
      f.flow[u] = sum;
    }
    __syncthreads();
    end = begin;
  }
}

// One block a target.
template <typename T>
__global__ void __launch_bounds__(kThreads, 4)
    grow_forest_kernel(GeodesicDistanceBackward<T> p, Forests all) {
  POINT2MASK_SHARED(int, counts, 3);
  const std::int64_t pixels = p.height * p.width;
  for (std::int64_t i = blockIdx.x; i < p.images * all.count; i += gridDim.x) {
    const std::int64_t target = i / all.count * p.targets + all.first + i % all.count;
    const Forest f{static_cast<Key*>(all.keys) + i * pixels,
                   static_cast<double*>(all.keys) + i * pixels,
                   all.order + i * pixels,
                   all.starts + i * (pixels + 1),
                   all.tight + i * pixels,
                   all.entry + i * pixels,
                   static_cast<int>(p.width)};
    const int levels = find_levels(f, p.seeds + target * p.points, p.points, pixels, counts);
    __syncthreads(); // where levels begin; and all have seen the last count
    gather_flows(f, p.grad_distance + target * pixels, levels);
  }
}

// One thread a pixel: the steps into it, over targets in increasing order.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    sum_flows_kernel(GeodesicDistanceBackward<T> p, Forests f) {
  constexpr Steps steps = kSteps;
  const std::int64_t pixels = p.height * p.width, step = std::int64_t{gridDim.x} * blockDim.x;
  const bool last = f.first + f.count == p.targets;
  for (std::int64_t image = blockIdx.y; image < p.images; image += gridDim.y)
    for (std::int64_t v = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; v < pixels;
         v += step) {
      const std::int64_t y = v / p.width, x = v % p.width;
      bool exists[8];
      double sum[8];
#pragma unroll
      for (int d = 0; d < 8; ++d) {
        const int dy = steps.to[d].dy, dx = steps.to[d].dx;
        const std::int64_t at = (image * 8 + d) * pixels + v;
        exists[d] = y - dy >= 0 && y - dy < p.height && x - dx >= 0 && x - dx < p.width;
        sum[d] = exists[d] && f.first > 0 ? f.sum[at - dy * p.width - dx] : 0.0;
        const bool leaves = y + dy < 0 || y + dy >= p.height || x + dx < 0 || x + dx >= p.width;
        if (leaves && last) p.grad_edge_cost[at] = T(0);
      }
      for (std::int64_t k = 0; k < f.count; ++k) {
        const std::int64_t at = (image * f.count + k) * pixels + v;
        const unsigned entry = f.entry[at];
        if (entry == kNoEntry) continue;
        const double flow = static_cast<const double*>(f.keys)[at];
#pragma unroll
        for (unsigned d = 0; d < 8; ++d) sum[d] = d == entry ? sum[d] + flow : sum[d];
      }
#pragma unroll
      for (int d = 0; d < 8; ++d) {
        if (!exists[d]) continue;
        const std::int64_t at =
            (image * 8 + d) * pixels + v - steps.to[d].dy * p.width - steps.to[d].dx;
        if (last)
          p.grad_edge_cost[at] = static_cast<T>(sum[d]);
        else
          f.sum[at] = sum[d];
      }
    }
}

// As many targets of every image as the scratch memory that a launch may take has room for.
template <typename T>
std::int64_t targets_at_once(const GeodesicDistanceBackward<T>& p) {
  const std::int64_t bytes = p.images * p.height * p.width * kBytesPerPixel;
  const std::int64_t fit = bytes > 0 ? scratch_limit() / bytes : p.targets;
  return fit >= p.targets && p.targets > 0 ? p.targets : fit > 0 ? fit : 1;
}

template <typename T>
Forests forests_in(Scratch& memory, const GeodesicDistanceBackward<T>& p) {
  const std::int64_t pixels = p.height * p.width, at_once = targets_at_once(p);
  const std::int64_t trees = p.images * at_once;
  Forests f;
  f.keys = memory.take<double>(trees * pixels);
  f.order = memory.take<std::int32_t>(trees * pixels);
  f.starts = memory.take<std::int32_t>(trees * (pixels + 1));
  f.tight = memory.take<unsigned char>(trees * pixels);
  f.entry = memory.take<unsigned char>(trees * pixels);
  if constexpr (std::is_same_v<T, double>)
    f.sum = p.grad_edge_cost;
  else // one round needs no sums of those before
    f.sum = memory.take<double>(at_once < p.targets ? p.images * 8 * pixels : 0);
  return f;
}

} // namespace

template <typename T>
std::int64_t scratch_bytes(const GeodesicDistanceBackward<T>& p) {
  Scratch memory;
  forests_in(memory, p);
  return memory.bytes();
}

template <typename T>
cudaError_t run(const GeodesicDistanceBackward<T>& p, void* scratch, cudaStream_t stream) {
  const std::int64_t pixels = p.height * p.width;
  if (p.images == 0 || pixels == 0) return cudaSuccess;
  const dim3 pixel_grid(blocks_for(pixels, kThreads), blocks_for(p.images, 1));
  // About as many warps as a level of so many pixels can occupy.
  constexpr std::int64_t kPixelsPerWarp = 1024, kMostWarps = kThreads / kWarp;
  const std::int64_t warps = (pixels + kPixelsPerWarp - 1) / kPixelsPerWarp;
  const dim3 forest_block(static_cast<unsigned>((warps < kMostWarps ? warps : kMostWarps) * kWarp));
  cudaError_t status = cudaSuccess;
  Scratch memory(scratch);
  Forests f = forests_in(memory, p);
  const std::int64_t at_once = targets_at_once(p);
  f.first = 0;
  do { // without targets, once: the gradient is zero then
    f.count = std::min(p.targets - f.first, at_once);
    if (f.count > 0) {
      status = launch(mark_tight_kernel<T>, pixel_grid, dim3(kThreads), 0, stream, p, f);
      if (status == cudaSuccess)
        status = launch(grow_forest_kernel<T>, dim3(blocks_for(p.images * f.count, 1)),
                        forest_block, 0, stream, p, f);
    }
    if (status == cudaSuccess)
      status = launch(sum_flows_kernel<T>, pixel_grid, dim3(kThreads), 0, stream, p, f);
    f.first += at_once;
  } while (status == cudaSuccess && f.first < p.targets);
  return status;
}

template std::int64_t scratch_bytes(const GeodesicDistanceBackward<float>&);
template std::int64_t scratch_bytes(const GeodesicDistanceBackward<double>&);
template cudaError_t run(const GeodesicDistanceBackward<float>&, void*, cudaStream_t);
template cudaError_t run(const GeodesicDistanceBackward<double>&, void*, cudaStream_t);

} // namespace point2mask::cuda
