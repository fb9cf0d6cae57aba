#pragma once

// What the kernels of deformable attention share: where the maps lie, and the cells around a point.

#include <stdexcept>
#include <string>

#include "point2mask/cuda.hpp"
#include "point2mask/simt.cuh"
#include "point2mask/warp.cuh"

namespace point2mask::cuda::deformable {

constexpr int kThreads = 256;
// Blocks a multiprocessor, which leaves 64 registers a thread. Left to itself the compiler would
// rather spill than take more than 48.
constexpr int kBlocks = 4;

inline void check_levels(const char* op, std::int64_t levels) {
  if (levels > kMostDeformableLevels)
    throw std::invalid_argument(std::string(op) + ": shapes must have at most " +
                                std::to_string(kMostDeformableLevels) + " maps on CUDA, got " +
                                std::to_string(levels));
}

struct Map {
  std::int64_t height, width;
  std::int64_t first; // its first cell
};

// By value to the kernels.
struct Maps {
  Map at[kMostDeformableLevels];

  Maps(const std::int64_t* shapes, std::int64_t levels) : at{} {
    std::int64_t first = 0;
    for (std::int64_t l = 0; l < levels; ++l) {
      at[l] = {shapes[2 * l], shapes[2 * l + 1], first};
      first += at[l].height * at[l].width;
    }
  }
};

// Positions are rounded as on the CPU, without fused multiply-adds: both read the same cells.
__device__ __forceinline__ float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double rounded_product(double a, double b) { return __dmul_rn(a, b); }

// A point in cells of a map: row and column of the cell to the upper left, from -1, and how far to
// the right and down the point lies from its centre, in [0, 1] but for rounding.
template <typename T>
struct Position {
  std::int64_t i, j;
  T down, right;
  bool inside; // whether any of the four cells around it is; if not, the rest is 0
};

template <typename T>
__device__ __forceinline__ Position<T> position_of(T x, T y, const Map& map) {
  const T width = static_cast<T>(map.width), height = static_cast<T>(map.height);
  const T column = rounded_product(x, width) - T(0.5), row = rounded_product(y, height) - T(0.5);
  const bool inside =
      column > T(-1) && column < width && row > T(-1) && row < height; // false for NaN
  if (!inside) return {0, 0, T(0), T(0), false};
  // Shifted by one cell the numbers are positive and truncation is floor.
  const auto i = static_cast<std::int64_t>(row + T(1)) - 1;
  const auto j = static_cast<std::int64_t>(column + T(1)) - 1;
  return {i, j, row - static_cast<T>(i), column - static_cast<T>(j), true};
}

// Offset of corner k (0, 1 above, 2, 3 below) in its map, or -1 outside.
template <typename T>
__device__ __forceinline__ std::int64_t corner(const Position<T>& at, const Map& map, int k) {
  const std::int64_t i = at.i + k / 2, j = at.j + k % 2;
  return i >= 0 && i < map.height && j >= 0 && j < map.width ? i * map.width + j : -1;
}

template <typename T>
__device__ __forceinline__ T corner_weight(const Position<T>& at, int k) {
  return (k / 2 ? at.down : T(1) - at.down) * (k % 2 ? at.right : T(1) - at.right);
}

} // namespace point2mask::cuda::deformable
