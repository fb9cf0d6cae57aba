#include "point2mask/cuda.hpp"
#include "point2mask/simt.cuh"
#include "point2mask/warp.cuh"

namespace point2mask::cuda {
namespace {

constexpr int kThreads = 256;
// A block reads a tile, small enough for its sums to fit 32 bits, and adds it up in shared memory
// for so many targets at once; with more targets the labels are read several times.
constexpr int kTileHeight = 16, kTileWidth = 256, kTargetsAtOnce = 512;
constexpr std::int32_t kNothing = 0x7fffffff; // begin of an empty box

// What a block knows of its tile, target by target; coordinates are relative to the tile.
enum Field { kArea, kSumY, kSumX, kX0, kY0, kX1, kY1, kFields };

__device__ __forceinline__ std::int32_t initial(int field) {
  return field == kX0 || field == kY0 ? kNothing : 0;
}

__device__ __forceinline__ void add(std::int64_t* sum, std::int64_t value) {
  // CUDA has the 64-bit addition for unsigned numbers only; modulo 2^64 it is the same one.
  atomicAdd(reinterpret_cast<unsigned long long*>(sum), static_cast<unsigned long long>(value));
}

// Sum of the positions of the set bits.
__device__ __forceinline__ int sum_of_positions(unsigned bits) {
  return __popc(bits & 0xaaaaaaaaU) + 2 * __popc(bits & 0xccccccccU) +
         4 * __popc(bits & 0xf0f0f0f0U) + 8 * __popc(bits & 0xff00ff00U) +
         16 * __popc(bits & 0xffff0000U);
}

struct Tile {
  std::int64_t image, y, x, first_target;
  int targets;
};

struct Tiles {
  std::int64_t rows, columns, passes, count;
};

__device__ __forceinline__ Tile tile_at(const MaskStatistics& p, const Tiles& tiles,
                                        std::int64_t index) {
  Tile tile;
  tile.first_target = index % tiles.passes * kTargetsAtOnce;
  index /= tiles.passes;
  tile.x = index % tiles.columns * kTileWidth;
  index /= tiles.columns;
  tile.y = index % tiles.rows * kTileHeight;
  tile.image = index / tiles.rows;
  const std::int64_t left = p.targets - tile.first_target;
  tile.targets = static_cast<int>(left < kTargetsAtOnce ? left : kTargetsAtOnce);
  return tile;
}

// Each warp takes rows of the tile, 32 pixels at a time. Of the lanes with equal labels the first
// one adds for all, so that a segment of one label costs seven atomics.
__device__ __forceinline__ void add_tile(const MaskStatistics& p, const Tile& tile,
                                         std::int32_t* sums) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int dy = warp; dy < kTileHeight && tile.y + dy < p.height; dy += kThreads / kWarp) {
    const std::int32_t* row = p.labels + (tile.image * p.height + tile.y + dy) * p.width + tile.x;
#pragma unroll 4
    for (int dx = 0; dx < kTileWidth; dx += kWarp) {
      const bool inside = tile.x + dx + lane < p.width;
      const std::int64_t target = (inside ? __ldg(row + dx + lane) : -1) - tile.first_target;
      const bool counts = inside && target >= 0 && target < tile.targets;
      const unsigned group = __match_any_sync(kFullWarp, counts ? static_cast<int>(target) : -1);
      const int first = __ffs(static_cast<int>(group)) - 1;
      if (!counts || lane != first) continue;
      std::int32_t* const sum = sums + target * kFields;
      const int area = __popc(group);
      atomicAdd(sum + kArea, area);
      atomicAdd(sum + kSumY, area * dy);
      atomicAdd(sum + kSumX, area * dx + sum_of_positions(group));
      atomicMin(sum + kX0, dx + first);
      atomicMin(sum + kY0, dy);
      atomicMax(sum + kX1, dx + kWarp - __clz(static_cast<int>(group)));
      atomicMax(sum + kY1, dy + 1);
    }
  }
}

// Adds the block's sums to the image's and leaves the block's as they were at the start.
__device__ __forceinline__ void flush_tile(const MaskStatistics& p, std::int64_t* coordinate_sum,
                                           const Tile& tile, std::int32_t* sums) {
  for (int k = static_cast<int>(threadIdx.x); k < tile.targets; k += kThreads) {
    std::int32_t* const sum = sums + k * kFields;
    const std::int64_t area = sum[kArea];
    if (area == 0) continue;
    const std::int64_t out = tile.image * p.targets + tile.first_target + k;
    const auto x = static_cast<std::int32_t>(tile.x), y = static_cast<std::int32_t>(tile.y);
    add(p.area + out, area);
    add(coordinate_sum + 2 * out, area * tile.y + sum[kSumY]);
    add(coordinate_sum + 2 * out + 1, area * tile.x + sum[kSumX]);
    atomicMin(p.box + 4 * out, x + sum[kX0]);
    atomicMin(p.box + 4 * out + 1, y + sum[kY0]);
    atomicMax(p.box + 4 * out + 2, x + sum[kX1]);
    atomicMax(p.box + 4 * out + 3, y + sum[kY1]);
    for (int field = 0; field < kFields; ++field) sum[field] = initial(field);
  }
}

__global__ void __launch_bounds__(kThreads)
    clear_statistics_kernel(MaskStatistics p, std::int64_t* coordinate_sum) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
       i < p.images * p.targets; i += step) {
    p.area[i] = coordinate_sum[2 * i] = coordinate_sum[2 * i + 1] = 0;
    p.box[4 * i] = p.box[4 * i + 1] = kNothing;
    p.box[4 * i + 2] = p.box[4 * i + 3] = 0;
  }
}

__global__ void __launch_bounds__(kThreads)
    add_tiles_kernel(MaskStatistics p, std::int64_t* coordinate_sum, Tiles tiles) {
  POINT2MASK_SHARED(std::int32_t, sums, kTargetsAtOnce* kFields);
  for (int i = static_cast<int>(threadIdx.x); i < kTargetsAtOnce * kFields; i += kThreads)
    sums[i] = initial(i % kFields);
  __syncthreads();
  for (std::int64_t index = blockIdx.x; index < tiles.count; index += gridDim.x) {
    const Tile tile = tile_at(p, tiles, index);
    add_tile(p, tile, sums);
    __syncthreads();
    flush_tile(p, coordinate_sum, tile, sums);
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads)
    finish_statistics_kernel(MaskStatistics p, const std::int64_t* coordinate_sum) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
       i < p.images * p.targets; i += step) {
    const bool empty = p.area[i] == 0;
    const auto area = static_cast<double>(p.area[i]);
    for (int c = 0; c < 2; ++c) {
      const auto sum = static_cast<double>(coordinate_sum[2 * i + c]);
      p.centroid[2 * i + c] = empty ? 0.0F : static_cast<float>(sum / area);
      if (empty) p.box[4 * i + c] = 0;
    }
  }
}

} // namespace

std::int64_t scratch_bytes(const MaskStatistics& p) {
  return p.images * p.targets * 2 * static_cast<std::int64_t>(sizeof(std::int64_t));
}

cudaError_t run(const MaskStatistics& p, void* scratch, cudaStream_t stream) {
  const std::int64_t entries = p.images * p.targets;
  if (entries == 0) return cudaSuccess;
  auto* const coordinate_sum = static_cast<std::int64_t*>(scratch); // [B, K, 2] of y and x
  const dim3 entry_grid(blocks_for(entries, kThreads)), block(kThreads);
  Tiles tiles;
  tiles.rows = (p.height + kTileHeight - 1) / kTileHeight;
  tiles.columns = (p.width + kTileWidth - 1) / kTileWidth;
  tiles.passes = (p.targets + kTargetsAtOnce - 1) / kTargetsAtOnce;
  tiles.count = p.images * tiles.rows * tiles.columns * tiles.passes;
  cudaError_t status =
      launch(clear_statistics_kernel, entry_grid, block, 0, stream, p, coordinate_sum);
  if (status == cudaSuccess && tiles.count > 0)
    status = launch(add_tiles_kernel, dim3(blocks_for(tiles.count, 1)), block, 0, stream, p,
                    coordinate_sum, tiles);
  if (status == cudaSuccess)
    status = launch(finish_statistics_kernel, entry_grid, block, 0, stream, p, coordinate_sum);
  return status;
}

} // namespace point2mask::cuda
