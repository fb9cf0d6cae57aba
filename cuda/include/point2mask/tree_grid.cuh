#pragma once

// The pixel grid as the spanning tree sees it, on the device.

#include "point2mask/grid.hpp"
#include "point2mask/group_barrier.cuh"
#include "point2mask/tree_kernels.cuh"

namespace point2mask::cuda::tree {

constexpr int kNoSlot = 8; // the root's step to its parent

// The components of kOffsets[direction], by arithmetic: indexing a table would need a stack.
constexpr __host__ __device__ __forceinline__ int step_y(int direction) { return direction != 1; }
constexpr __host__ __device__ __forceinline__ int step_x(int direction) {
  return direction == 3 ? -1 : direction != 0;
}
static_assert(step_y(0) == kOffsets[0].dy && step_x(0) == kOffsets[0].dx);
static_assert(step_y(1) == kOffsets[1].dy && step_x(1) == kOffsets[1].dx);
static_assert(step_y(2) == kOffsets[2].dy && step_x(2) == kOffsets[2].dx);
static_assert(step_y(3) == kOffsets[3].dy && step_x(3) == kOffsets[3].dx);

// A pixel's steps sorted by the id of the edge they lead over: slot 2d is the reverse of direction
// d, slot 2d + 1 direction d itself; the reverse of slot s is s ^ 1. A set of slots is a byte.
struct Grid {
  std::int32_t height, width, pixels;
  int slots;

  __device__ __forceinline__ std::int32_t neighbor(std::int32_t pixel, int slot) const {
    const std::int32_t step = step_y(slot / 2) * width + step_x(slot / 2);
    return slot % 2 ? pixel + step : pixel - step;
  }
  __device__ __forceinline__ std::int32_t edge_id(std::int32_t pixel, int slot) const {
    return slot / 2 * pixels + (slot % 2 ? pixel : neighbor(pixel, slot));
  }
  __device__ __forceinline__ bool has_neighbor(std::int32_t pixel, int slot) const {
    const int sign = slot % 2 ? 1 : -1;
    const std::int32_t y = pixel / width + sign * step_y(slot / 2);
    const std::int32_t x = pixel % width + sign * step_x(slot / 2);
    return y >= 0 && y < height && x >= 0 && x < width;
  }
};

// The two pixels of an edge; the second lies behind the first's slot `slot`.
struct Ends {
  std::int32_t first, second;
  int slot;
};
__device__ __forceinline__ Ends ends_of(const Grid& grid, std::int32_t edge) {
  const std::int32_t direction = edge / grid.pixels;
  const std::int32_t first = edge - direction * grid.pixels;
  const int slot = 2 * direction + 1;
  return {first, grid.neighbor(first, slot), slot};
}

// The blocks that work on one image, as one of their threads sees them.
struct Team {
  std::int64_t thread, threads;
  GroupBarrier barrier;

  // body(index) for all indices, one a thread.
  template <typename Body>
  __device__ __forceinline__ void for_each(std::int64_t entries, Body&& body) const {
    for (std::int64_t i = thread; i < entries; i += threads) body(i);
  }
};

// An unrooted spanning tree of an image. Each edge has a number below N, one of the N unused.
struct TreeEdges {
  Grid grid;
  unsigned* slots;      // [N] each pixel's set of tree edges
  std::int32_t* edge;   // [N] edge id of each number; -1 for the unused one
  std::int32_t* number; // [D, H, W] number of each tree edge; others are not written
};

} // namespace point2mask::cuda::tree
