#pragma once

// The unit of work of the transport kernels: 32 pixels of all targets, pixels innermost. A loop
// over a tile's pixels needs no horizontal sums, whatever K, and a tile lies contiguously, so that
// the planes of a cost with a power-of-two N do not fall into the same cache sets.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "point2mask/multiarch.hpp"
#include "transport_math.hpp"

namespace point2mask::transport {

inline constexpr std::int64_t kTile = 32;    // pixels
inline constexpr std::int64_t kLanes = 8;    // partial sums a column keeps, added at the end
inline constexpr std::int64_t kChunk = 2048; // pixels a partial sum covers, whatever the threads

inline constexpr std::int64_t chunks_of(std::int64_t pixels) {
  return (pixels + kChunk - 1) / kChunk;
}

template <typename T>
inline constexpr T kInfinity = std::numeric_limits<T>::infinity();

// The targets of one image that take part, as columns of its cost [K, N].
template <typename T>
struct Columns {
  const T* data;
  std::int64_t stride;       // N
  const std::int64_t* index; // [count]
  std::int64_t count;
};

// tile[k, j] = potential - cost of pixels [begin, begin + lanes), -inf for the tile's other pixels;
// row_max[j] their largest, 0 where all are -inf.
template <typename T>
POINT2MASK_INLINE void difference_tile(const Columns<T>& cost, const T* potential,
                                       std::int64_t begin, std::int64_t lanes, T* __restrict tile,
                                       T* __restrict row_max) {
  for (std::int64_t j = 0; j < kTile; ++j) row_max[j] = -kInfinity<T>;
  for (std::int64_t k = 0; k < cost.count; ++k) {
    const T* __restrict c = cost.data + cost.index[k] * cost.stride + begin;
    T* __restrict t = tile + k * kTile;
    const T u = potential[k];
    if (lanes == kTile) {
      for (std::int64_t j = 0; j < kTile; ++j) t[j] = u - c[j];
    } else {
      for (std::int64_t j = 0; j < lanes; ++j) t[j] = u - c[j];
      for (std::int64_t j = lanes; j < kTile; ++j) t[j] = -kInfinity<T>;
    }
    for (std::int64_t j = 0; j < kTile; ++j) row_max[j] = t[j] > row_max[j] ? t[j] : row_max[j];
  }
  for (std::int64_t j = 0; j < kTile; ++j) row_max[j] = row_max[j] > -kInfinity<T> ? row_max[j] : 0;
}

// The differences of a tile become exp((difference - row_max) / epsilon), scale = log2(e) /
// epsilon. Subtracting before scaling keeps the exponents of near ties exact at any epsilon.
template <typename T>
POINT2MASK_INLINE void exponential_tile(std::int64_t columns, T scale, const T* __restrict row_max,
                                        T* __restrict tile) {
  for (std::int64_t k = 0; k < columns; ++k) {
    T* __restrict t = tile + k * kTile;
    for (std::int64_t j = 0; j < kTile; ++j) t[j] = exp2_flushed((t[j] - row_max[j]) * scale);
  }
}

// sums[j] = sum_k weight[k] tile[k, j]. Four columns at a time: one load and store of the sums.
template <typename T>
POINT2MASK_INLINE void row_sums(const T* __restrict tile, std::int64_t columns,
                                const T* __restrict weight, T* __restrict sums) {
  for (std::int64_t j = 0; j < kTile; ++j) sums[j] = 0;
  std::int64_t k = 0;
  for (; k + 4 <= columns; k += 4) {
    const T* __restrict t = tile + k * kTile;
    const T w0 = weight[k], w1 = weight[k + 1], w2 = weight[k + 2], w3 = weight[k + 3];
    for (std::int64_t j = 0; j < kTile; ++j)
      sums[j] += (t[j] * w0 + t[j + kTile] * w1) + (t[j + 2 * kTile] * w2 + t[j + 3 * kTile] * w3);
  }
  for (; k < columns; ++k) {
    const T* __restrict t = tile + k * kTile;
    const T w = weight[k];
    for (std::int64_t j = 0; j < kTile; ++j) sums[j] += t[j] * w;
  }
}

template <typename T>
POINT2MASK_INLINE void row_sums(const T* __restrict tile, std::int64_t columns,
                                T* __restrict sums) {
  for (std::int64_t j = 0; j < kTile; ++j) sums[j] = 0;
  for (std::int64_t k = 0; k < columns; ++k)
    for (std::int64_t j = 0; j < kTile; ++j) sums[j] += tile[k * kTile + j];
}

// sums[lane] += sum_j x[j] y[j] over the pixels of that lane.
template <typename T>
POINT2MASK_INLINE void add_product(const T* __restrict x, const T* __restrict y,
                                   T* __restrict sums) {
  for (std::int64_t j = 0; j < kLanes; ++j)
    sums[j] += (x[j] * y[j] + x[j + kLanes] * y[j + kLanes]) +
               (x[j + 2 * kLanes] * y[j + 2 * kLanes] + x[j + 3 * kLanes] * y[j + 3 * kLanes]);
}

// The end of a column's sum in a chunk.
template <typename T>
double sum_lanes(const T* lanes) {
  double sum = 0;
  for (std::int64_t lane = 0; lane < kLanes; ++lane) sum += static_cast<double>(lanes[lane]);
  return sum;
}

// How a pixel's row of the plan follows from the potential; see Sinkhorn.
template <typename T>
struct RowModel {
  T scale;      // log2(e) / epsilon
  T row_scale;  // log2(e) / (rho1 + epsilon), 0 if not relaxed
  T lambda;     // rho1 / (rho1 + epsilon)
  T complement; // 1 - lambda
};

// tile = softmax_k((potential - cost) / epsilon) of a tile's pixels, factor[j] = a row's mass for
// demand 1; both are 0 without a finite potential - cost.
template <typename T>
POINT2MASK_INLINE void softmax_tile(const Columns<T>& cost, const T* potential,
                                    const RowModel<T>& model, std::int64_t begin,
                                    std::int64_t lanes, T* __restrict tile, T* __restrict factor) {
  T row_max[kTile], sums[kTile], inverse[kTile];
  difference_tile(cost, potential, begin, lanes, tile, row_max);
  exponential_tile(cost.count, model.scale, row_max, tile);
  row_sums(tile, cost.count, sums);
  for (std::int64_t j = 0; j < kTile; ++j) {
    inverse[j] = sums[j] > 0 ? 1 / sums[j] : 0;
    factor[j] = sums[j] > 0 ? T(1) : T(0);
  }
  if (model.complement > 0)
    for (std::int64_t j = 0; j < kTile; ++j)
      if (sums[j] > 0)
        factor[j] = std::exp2(model.row_scale * row_max[j] + model.complement * std::log2(sums[j]));
  for (std::int64_t k = 0; k < cost.count; ++k)
    for (std::int64_t j = 0; j < kTile; ++j) tile[k * kTile + j] *= inverse[j];
}

} // namespace point2mask::transport
