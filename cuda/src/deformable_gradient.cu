#include <limits>
#include <stdexcept>
#include <string>

#include "deformable_maps.cuh"
#include "point2mask/scratch.hpp"

namespace point2mask::cuda {
namespace deformable {
namespace {

constexpr int kWarps = kThreads / kWarp;
// Into how many runs of samples the sort of an image, head and level is cut, a warp each. The
// result does not depend on it.
constexpr int kRuns = 16;

// The samples of every image, head and level, sorted by the cell to their upper left; those of a
// cell in increasing order. A map has (h + 1) (w + 1) such cells, for they begin at -1: its bins.
struct Bins {
  std::int64_t first[kMostDeformableLevels]; // bin of every level
  std::int64_t count;                        // of an image and head
  std::int64_t samples;                      // of an image, head and level: Q * P
  std::int32_t* ends;  // [B, M, L, kRuns, bins of the level]: counts first, then begins, then ends
  std::int32_t* order; // [B, M, L, Q * P]: numbers q * P + p
  std::int64_t bytes;  // of both

  template <typename T>
  Bins(const DeformableAttentionBackward<T>& p, void* scratch)
      : first{}, count(0), samples(p.queries * p.points) {
    for (std::int64_t l = 0; l < p.levels; ++l) {
      first[l] = count;
      count += (p.shapes[2 * l] + 1) * (p.shapes[2 * l + 1] + 1);
    }
    Scratch memory(scratch);
    ends = memory.take<std::int32_t>(p.images * p.heads * count * kRuns);
    order = memory.take<std::int32_t>(p.images * p.heads * p.levels * samples);
    bytes = memory.bytes();
  }

  // Bins of a level from run to run; `head` counts over all images, m + M b.
  __device__ __forceinline__ std::int32_t* ends_of(std::int64_t head, std::int64_t level) const {
    return ends + (head * count + first[level]) * kRuns;
  }
};

__device__ __forceinline__ std::int64_t bins_of(const Map& map) {
  return (map.height + 1) * (map.width + 1);
}

// Position of sample q * P + p of an image, head and level in the arrays of samples.
template <typename T>
__device__ __forceinline__ std::int64_t sample_at(const DeformableAttentionBackward<T>& p,
                                                  std::int64_t head, std::int64_t level,
                                                  std::int64_t number) {
  const auto points = static_cast<std::uint32_t>(p.points);
  const std::uint32_t query = static_cast<std::uint32_t>(number) / points;
  const std::int64_t image = head / p.heads, m = head % p.heads;
  return (((image * p.queries + query) * p.heads + m) * p.levels + level) * p.points +
         static_cast<std::uint32_t>(number) % points;
}

template <typename T>
__device__ __forceinline__ Position<T> position_of_sample(const DeformableAttentionBackward<T>& p,
                                                          std::int64_t sample, const Map& map) {
  return position_of(__ldg(p.where + 2 * sample), __ldg(p.where + 2 * sample + 1), map);
}

// body(bin, group, number) for the samples of a run, 32 at a time; `bin` is -1 for those that lie
// outside, `group` the lanes with this lane's bin.
template <typename T, typename Body>
__device__ __forceinline__ void for_each_sample(const DeformableAttentionBackward<T>& p,
                                                const Bins& bins, const Map& map, std::int64_t head,
                                                std::int64_t level, int run, Body&& body) {
  const std::int64_t length = (bins.samples + kRuns * kWarp - 1) / (kRuns * kWarp) * kWarp;
  const std::int64_t begin = run * length, lane = threadIdx.x % kWarp;
  const std::int64_t end = begin + length < bins.samples ? begin + length : bins.samples;
  for (std::int64_t number = begin + lane; number - lane < end; number += kWarp) {
    int bin = -1;
    if (number < end) {
      const Position<T> at = position_of_sample(p, sample_at(p, head, level, number), map);
      // A side above 2^24 may be rounded up in float32: then points lie behind the last cell.
      if (at.inside && at.i < map.height && at.j < map.width)
        bin = static_cast<int>((at.i + 1) * (map.width + 1) + at.j + 1);
    }
    body(bin, __match_any_sync(kFullWarp, bin), number);
  }
}

// body(head, level, run) for all runs, a warp each.
template <typename T, typename Body>
__device__ __forceinline__ void for_each_run(const DeformableAttentionBackward<T>& p, Body&& body) {
  const std::int64_t count = p.images * p.heads * p.levels * kRuns;
  const std::int64_t step = std::int64_t{gridDim.x} * kWarps;
  for (std::int64_t r = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; r < count;
       r += step) {
    const std::int64_t segment = r / kRuns;
    body(segment / p.levels, segment % p.levels, static_cast<int>(r % kRuns));
  }
}

// How many samples of its run each bin has. Only this warp writes there, the first lane of a group
// for all of it.
template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    count_kernel(DeformableAttentionBackward<T> p, Maps maps, Bins bins) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for_each_run(p, [&](std::int64_t head, std::int64_t level, int run) {
    const Map& map = maps.at[level];
    std::int32_t* const counts = bins.ends_of(head, level) + run * bins_of(map);
    for (std::int64_t bin = lane; bin < bins_of(map); bin += kWarp) counts[bin] = 0;
    __syncwarp();
    for_each_sample(p, bins, map, head, level, run, [&](int bin, unsigned group, std::int64_t) {
      if (bin >= 0 && lane == __ffs(static_cast<int>(group)) - 1) counts[bin] += __popc(group);
      __syncwarp();
    });
  });
}

// Sum of the lanes below, and of all lanes.
__device__ __forceinline__ std::int32_t sum_below(std::int32_t own, std::int32_t* all) {
  const unsigned lane = threadIdx.x % kWarp;
  std::int32_t sum = own;
#pragma unroll
  for (unsigned by = 1; by < kWarp; by *= 2) {
    const std::int32_t below = __shfl_up_sync(kFullWarp, sum, by);
    if (lane >= by) sum += below;
  }
  *all = __shfl_sync(kFullWarp, sum, kWarp - 1);
  return sum - own;
}

// Counts to begins: a block an image, head and level, a thread a bin. A bin's runs follow one
// another, and the bins do.
__global__ void __launch_bounds__(kThreads, kBlocks)
    begins_kernel(std::int64_t heads, std::int64_t levels, Maps maps, Bins bins) {
  POINT2MASK_SHARED(std::int32_t, totals, kWarps);
  for (std::int64_t segment = blockIdx.x; segment < heads * levels; segment += gridDim.x) {
    const std::int64_t level = segment % levels, count = bins_of(maps.at[level]);
    std::int32_t* const ends = bins.ends_of(segment / levels, level);
    std::int32_t before = 0; // samples in the bins of earlier rounds
    for (std::int64_t start = 0; start < count; start += kThreads) {
      const std::int64_t bin = start + threadIdx.x;
      std::int32_t counts[kRuns], own = 0, all;
#pragma unroll
      for (int run = 0; run < kRuns; ++run) counts[run] = bin < count ? ends[run * count + bin] : 0;
#pragma unroll
      for (int run = 0; run < kRuns; ++run) own += counts[run];
      std::int32_t begin = before + sum_below(own, &all);
      if (threadIdx.x % kWarp == 0) totals[threadIdx.x / kWarp] = all;
      __syncthreads();
#pragma unroll
      for (int warp = 0; warp < kWarps; ++warp) {
        const std::int32_t total = totals[warp];
        if (warp < static_cast<int>(threadIdx.x) / kWarp) begin += total;
        before += total;
      }
      __syncthreads();
      if (bin >= count) continue;
#pragma unroll
      for (int run = 0; run < kRuns; ++run) {
        ends[run * count + bin] = begin;
        begin += counts[run];
      }
    }
  }
}

// Writes the samples where they belong; the begins become ends.
template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    sort_kernel(DeformableAttentionBackward<T> p, Maps maps, Bins bins) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for_each_run(p, [&](std::int64_t head, std::int64_t level, int run) {
    const Map& map = maps.at[level];
    std::int32_t* const ends = bins.ends_of(head, level) + run * bins_of(map);
    std::int32_t* const order = bins.order + (head * p.levels + level) * bins.samples;
    for_each_sample(p, bins, map, head, level, run,
                    [&](int bin, unsigned group, std::int64_t number) {
                      const std::int32_t begin = bin >= 0 ? ends[bin] : 0;
                      __syncwarp();
                      if (bin >= 0) {
                        const unsigned below = group & ((1U << lane) - 1U);
                        order[begin + __popc(below)] = static_cast<std::int32_t>(number);
                        if (below == 0) ends[bin] = begin + __popc(group);
                      }
                      __syncwarp();
                    });
  });
}

// A warp a cell and head, a lane a channel: the samples of the four bins whose corner the cell is,
// row by row, column by column. Their shares are found a lane a sample.
template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    value_gradient_kernel(DeformableAttentionBackward<T> p, Maps maps, Bins bins) {
  const std::int64_t step = std::int64_t{gridDim.x} * kWarps;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (std::int64_t out = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
       out < p.images * p.cells * p.heads; out += step) {
    const std::int64_t m = out % p.heads, image = out / p.heads / p.cells;
    const std::int64_t head = image * p.heads + m, cell = out / p.heads % p.cells;
    std::int64_t level = 0;
    while (level + 1 < p.levels && cell >= maps.at[level + 1].first) ++level;
    const Map& map = maps.at[level];
    const std::int64_t i = (cell - map.first) / map.width, j = (cell - map.first) % map.width;
    // Behind the last run, a bin's samples end where the next bin's begin.
    const std::int32_t* const ends = bins.ends_of(head, level) + (kRuns - 1) * bins_of(map);
    const std::int32_t* const order = bins.order + (head * p.levels + level) * bins.samples;
    for (std::int64_t from = 0; from < p.channels; from += kWarp) {
      const std::int64_t c = from + lane;
      T sum = T(0);
      for (int above = 1; above >= 0; --above) {
        const std::int64_t bin = (i + 1 - above) * (map.width + 1) + j; // then bin + 1
        const std::int32_t begin = bin ? ends[bin - 1] : 0, middle = ends[bin];
        const std::int32_t end = ends[bin + 1];
        for (std::int32_t start = begin; start < end; start += kWarp) {
          const std::int32_t own = start + lane;
          T share = T(0);
          std::int64_t row = 0; // of grad_output
          if (own < end) {
            const std::int64_t sample = sample_at(p, head, level, order[own]);
            const Position<T> at = position_of_sample(p, sample, map);
            share = __ldg(p.weight + sample) * corner_weight(at, 2 * above + (own < middle));
            row = sample / (p.levels * p.points) * p.channels;
          }
          const int count = end - start < kWarp ? end - start : kWarp;
          for (int k = 0; k < count; ++k) {
            const T factor = __shfl_sync(kFullWarp, share, k);
            const std::int64_t grad = __shfl_sync(kFullWarp, row, k);
            if (c < p.channels) sum += factor * __ldg(p.grad_output + grad + c);
          }
        }
      }
      if (c < p.channels) p.grad_value[out * p.channels + c] = sum;
    }
  }
}

// Sums over the lanes, for all of them. Each half of the warp takes two of the sums over, each
// quarter one.
template <typename T>
__device__ __forceinline__ void sum_over_lanes(T (&d)[4]) {
  const bool lower = threadIdx.x & 16, right = threadIdx.x & 8;
  const T even = __shfl_xor_sync(kFullWarp, lower ? d[0] : d[2], 16) + (lower ? d[2] : d[0]);
  const T odd = __shfl_xor_sync(kFullWarp, lower ? d[1] : d[3], 16) + (lower ? d[3] : d[1]);
  T own = __shfl_xor_sync(kFullWarp, right ? even : odd, 8) + (right ? odd : even);
#pragma unroll
  for (int apart = 4; apart > 0; apart /= 2) own += __shfl_xor_sync(kFullWarp, own, apart);
#pragma unroll
  for (int k = 0; k < 4; ++k) d[k] = __shfl_sync(kFullWarp, own, 8 * k);
}

// A warp a query and head, a lane a channel: the scalar products of the gradient with the values at
// the corners of every sample.
template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    sample_gradient_kernel(DeformableAttentionBackward<T> p, Maps maps) {
  const std::int64_t step = std::int64_t{gridDim.x} * kWarps;
  const std::int64_t stride = p.heads * p.channels;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (std::int64_t query = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
       query < p.images * p.queries * p.heads; query += step) {
    const T* const grad = p.grad_output + query * p.channels;
    const T* const value =
        p.value + query / (p.queries * p.heads) * p.cells * stride + query % p.heads * p.channels;
    std::int64_t sample = query * p.levels * p.points;
    for (std::int64_t l = 0; l < p.levels; ++l) {
      const Map& map = maps.at[l];
      for (std::int64_t n = 0; n < p.points; ++n, ++sample) {
        const Position<T> at = position_of_sample(p, sample, map);
        T d[4] = {};
        if (at.inside)
          for (std::int64_t c = lane; c < p.channels; c += kWarp) {
            const T g = __ldg(grad + c);
#pragma unroll
            for (int k = 0; k < 4; ++k) {
              const std::int64_t cell = corner(at, map, k);
              if (cell >= 0) d[k] += g * __ldg(value + (map.first + cell) * stride + c);
            }
          }
        sum_over_lanes(d);
        if (lane != 0) continue;
        T w[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) w[k] = at.inside ? corner_weight(at, k) : T(0);
        const T weight = __ldg(p.weight + sample);
        const T x = (T(1) - at.down) * (d[1] - d[0]) + at.down * (d[3] - d[2]);
        const T y = (T(1) - at.right) * (d[2] - d[0]) + at.right * (d[3] - d[1]);
        p.grad_weight[sample] = (w[0] * d[0] + w[1] * d[1]) + (w[2] * d[2] + w[3] * d[3]);
        p.grad_where[2 * sample] = weight * static_cast<T>(map.width) * x;
        p.grad_where[2 * sample + 1] = weight * static_cast<T>(map.height) * y;
      }
    }
  }
}

} // namespace
} // namespace deformable

template <typename T>
void check_limits(const DeformableAttentionBackward<T>& p) {
  constexpr const char* kOp = "deformable_attention_backward";
  deformable::check_levels(kOp, p.levels);
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max(); // the sort counts so far
  if (p.queries * p.points > kMost)
    throw std::invalid_argument(std::string(kOp) +
                                ": where must have fewer than 2^31 points a head and map on CUDA, "
                                "got Q=" +
                                std::to_string(p.queries) + ", P=" + std::to_string(p.points));
  for (std::int64_t l = 0; l < p.levels; ++l) {
    const std::int64_t height = p.shapes[2 * l], width = p.shapes[2 * l + 1];
    if (height >= kMost || width >= kMost || (height + 1) * (width + 1) > kMost)
      throw std::invalid_argument(std::string(kOp) +
                                  ": shapes must have (h + 1) (w + 1) < 2^31 on CUDA, got " +
                                  std::to_string(height) + " x " + std::to_string(width));
  }
}

template <typename T>
std::int64_t scratch_bytes(const DeformableAttentionBackward<T>& p) {
  return deformable::Bins(p, nullptr).bytes;
}

template <typename T>
cudaError_t run(const DeformableAttentionBackward<T>& p, void* scratch, cudaStream_t stream) {
  using namespace deformable;
  const Maps maps(p.shapes, p.levels);
  const Bins bins(p, scratch);
  const dim3 block(kThreads);
  const auto warps = [](std::int64_t count) { return dim3(blocks_for(count, kWarps)); };
  const std::int64_t rows = p.images * p.cells * p.heads, segments = p.images * p.heads * p.levels;
  const std::int64_t queries = p.images * p.queries * p.heads;
  cudaError_t status = cudaSuccess;
  if (queries > 0)
    status = launch(sample_gradient_kernel<T>, warps(queries), block, 0, stream, p, maps);
  if (rows == 0 || p.channels == 0) return status;
  if (status == cudaSuccess)
    status = launch(count_kernel<T>, warps(segments * kRuns), block, 0, stream, p, maps, bins);
  if (status == cudaSuccess)
    status = launch(begins_kernel, dim3(blocks_for(segments, 1)), block, 0, stream,
                    p.images * p.heads, p.levels, maps, bins);
  if (status == cudaSuccess)
    status = launch(sort_kernel<T>, warps(segments * kRuns), block, 0, stream, p, maps, bins);
  if (status == cudaSuccess)
    status = launch(value_gradient_kernel<T>, warps(rows), block, 0, stream, p, maps, bins);
  return status;
}

template void check_limits(const DeformableAttentionBackward<float>&);
template void check_limits(const DeformableAttentionBackward<double>&);
template std::int64_t scratch_bytes(const DeformableAttentionBackward<float>&);
template std::int64_t scratch_bytes(const DeformableAttentionBackward<double>&);
template cudaError_t run(const DeformableAttentionBackward<float>&, void*, cudaStream_t);
template cudaError_t run(const DeformableAttentionBackward<double>&, void*, cudaStream_t);

} // namespace point2mask::cuda
