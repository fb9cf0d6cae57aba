#pragma once

// The unit of work of the transport kernels: 32 pixels of all targets, pixels innermost. A loop
// over a tile's pixels needs no horizontal sums, whatever K, and a tile lies contiguously, so that
// the planes of a cost with a power-of-two N do not fall into the same cache sets.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "point2mask/multiarch.hpp"
#include "transport_cost.hpp"
#include "transport_math.hpp"

namespace point2mask::transport {

inline constexpr std::int64_t kTile = 32;    // pixels
inline constexpr std::int64_t kLanes = 8;    // partial sums a column keeps, added at the end
inline constexpr std::int64_t kChunk = 2048; // pixels a partial sum covers, whatever the threads

inline constexpr std::int64_t chunks_of(std::int64_t pixels) {
  return (pixels + kChunk - 1) / kChunk;
}

inline constexpr std::int64_t whole_lanes(std::int64_t columns) {
  return (columns + kLanes - 1) / kLanes * kLanes;
}

// A column's lanes, a quarter of a tile's row, at any address. gcc keeps such vectors in registers,
// which it does not do with small arrays.
template <typename T>
struct Vector {
  typedef T Type __attribute__((vector_size(sizeof(T) * kLanes)));
};
template <typename T>
struct [[gnu::packed, gnu::may_alias]] Lanes {
  typename Vector<T>::Type v;
};

template <typename T>
inline constexpr T kInfinity = std::numeric_limits<T>::infinity();

template <typename T>
inline constexpr std::int64_t kLine = 64 / sizeof(T); // values a cache line holds

// The targets of one image that take part, as columns of its cost [K, N].
template <typename Stored>
struct Columns {
  const Stored* data;
  std::int64_t stride;       // N
  const std::int64_t* index; // [count]
  std::int64_t count;
};

// tiles[t, k, j] = potential - cost of pixels [begin, begin + pixels), -inf for the last tile's
// other pixels. Target by target: planes a power of two apart would evict each other's lines.
template <typename T, typename Stored>
POINT2MASK_INLINE void differences(const Columns<Stored>& cost, const T* potential,
                                   std::int64_t begin, std::int64_t pixels, T* tiles) {
  for (std::int64_t k = 0; k < cost.count; ++k) {
    const T u = potential[k];
    const std::int64_t next = (cost.index[k + 1 < cost.count ? k + 1 : k]) * cost.stride + begin;
    for (std::int64_t i = 0; i < pixels; i += kTile) {
      for (std::int64_t j = 0; j < kTile; j += kLine<Stored>)
        __builtin_prefetch(cost.data + next + std::min(i + j, pixels - 1));
      const Stored* __restrict c = cost.data + cost.index[k] * cost.stride + begin + i;
      T* __restrict t = tiles + i * cost.count + k * kTile;
      const std::int64_t lanes = std::min(kTile, pixels - i);
      if (lanes == kTile) {
        for (std::int64_t j = 0; j < kTile; ++j) t[j] = u - read_cost(c[j]);
      } else {
        for (std::int64_t j = 0; j < lanes; ++j) t[j] = u - read_cost(c[j]);
        for (std::int64_t j = lanes; j < kTile; ++j) t[j] = -kInfinity<T>;
      }
    }
  }
}

// row_max[j] = the largest of a tile's differences, 0 where all are -inf.
template <typename T>
POINT2MASK_INLINE void row_maxima(const T* tile, std::int64_t columns, T* __restrict row_max) {
  const auto* t = reinterpret_cast<const Lanes<T>*>(tile);
  typename Vector<T>::Type m0 = -kInfinity<T> - typename Vector<T>::Type{};
  typename Vector<T>::Type m1 = m0, m2 = m0, m3 = m0;
  for (std::int64_t k = 0; k < columns; ++k, t += 4) {
    m0 = t[0].v > m0 ? t[0].v : m0;
    m1 = t[1].v > m1 ? t[1].v : m1;
    m2 = t[2].v > m2 ? t[2].v : m2;
    m3 = t[3].v > m3 ? t[3].v : m3;
  }
  auto* out = reinterpret_cast<Lanes<T>*>(row_max);
  out[0].v = m0, out[1].v = m1, out[2].v = m2, out[3].v = m3;
  for (std::int64_t j = 0; j < kTile; ++j) row_max[j] = row_max[j] > -kInfinity<T> ? row_max[j] : 0;
}

// Both for a single tile.
template <typename T, typename Stored>
POINT2MASK_INLINE void difference_tile(const Columns<Stored>& cost, const T* potential,
                                       std::int64_t begin, std::int64_t lanes, T* tile,
                                       T* row_max) {
  differences(cost, potential, begin, lanes, tile);
  row_maxima(tile, cost.count, row_max);
}

// t = 2^t for one column of a tile. Far from its pixels a target has no weight: most columns of
// most tiles at a small epsilon, which then cost no exponential.
template <typename T>
POINT2MASK_INLINE void exponential_column(T* t) {
  const auto* v = reinterpret_cast<const Lanes<T>*>(t);
  typename Vector<T>::Type low = v[0].v > v[1].v ? v[0].v : v[1].v;
  const typename Vector<T>::Type high = v[2].v > v[3].v ? v[2].v : v[3].v;
  low = low > high ? low : high;
  T largest = low[0];
  for (std::int64_t lane = 1; lane < kLanes; ++lane)
    largest = low[lane] > largest ? low[lane] : largest;
  if (largest < kFlush<T>) {
    for (std::int64_t quarter = 0; quarter < 4; ++quarter)
      reinterpret_cast<Lanes<T>*>(t)[quarter].v = typename Vector<T>::Type{};
  } else {
    for (std::int64_t j = 0; j < kTile; ++j) t[j] = exp2_flushed(t[j]);
  }
}

// The differences of a tile become exp((difference - row_max) / epsilon), scale = log2(e) /
// epsilon. Subtracting before scaling keeps the exponents of near ties exact at any epsilon.
template <typename T>
POINT2MASK_INLINE void exponential_tile(std::int64_t columns, T scale, const T* __restrict row_max,
                                        T* __restrict tile) {
  for (std::int64_t k = 0; k < columns; ++k) {
    T* __restrict t = tile + k * kTile;
    for (std::int64_t j = 0; j < kTile; ++j) t[j] = (t[j] - row_max[j]) * scale;
    exponential_column(t);
  }
}

// sums[j] = sum_k weight[k] tile[k, j], four columns at a time.
template <typename T>
POINT2MASK_INLINE void row_sums(const T* tile, std::int64_t columns, const T* weight, T* sums) {
  const auto* t = reinterpret_cast<const Lanes<T>*>(tile);
  typename Vector<T>::Type s0 = {}, s1 = {}, s2 = {}, s3 = {};
  std::int64_t k = 0;
  for (; k + 4 <= columns; k += 4, t += 16) {
    const T w0 = weight[k], w1 = weight[k + 1], w2 = weight[k + 2], w3 = weight[k + 3];
    for (std::int64_t next = 0; next < 16; next += 4) __builtin_prefetch(t + 4 * columns + next);
    s0 += (t[0].v * w0 + t[4].v * w1) + (t[8].v * w2 + t[12].v * w3);
    s1 += (t[1].v * w0 + t[5].v * w1) + (t[9].v * w2 + t[13].v * w3);
    s2 += (t[2].v * w0 + t[6].v * w1) + (t[10].v * w2 + t[14].v * w3);
    s3 += (t[3].v * w0 + t[7].v * w1) + (t[11].v * w2 + t[15].v * w3);
  }
  for (; k < columns; ++k, t += 4) {
    s0 += t[0].v * weight[k];
    s1 += t[1].v * weight[k];
    s2 += t[2].v * weight[k];
    s3 += t[3].v * weight[k];
  }
  auto* out = reinterpret_cast<Lanes<T>*>(sums);
  out[0].v = s0, out[1].v = s1, out[2].v = s2, out[3].v = s3;
}

template <typename T>
POINT2MASK_INLINE void row_sums(const T* __restrict tile, std::int64_t columns,
                                T* __restrict sums) {
  for (std::int64_t j = 0; j < kTile; ++j) sums[j] = 0;
  for (std::int64_t k = 0; k < columns; ++k)
    for (std::int64_t j = 0; j < kTile; ++j) sums[j] += tile[k * kTile + j];
}

// sums[k, lane] += sum_j tile[k, j] row[j] over the pixels of that lane. The tile lies in L1: what
// comes from further away meanwhile is the next one.
template <typename T>
POINT2MASK_INLINE void add_products(const T* tile, std::int64_t columns, const T* row, T* sums) {
  const auto* t = reinterpret_cast<const Lanes<T>*>(tile);
  const auto* r = reinterpret_cast<const Lanes<T>*>(row);
  auto* s = reinterpret_cast<Lanes<T>*>(sums);
  const typename Vector<T>::Type r0 = r[0].v, r1 = r[1].v, r2 = r[2].v, r3 = r[3].v;
  for (std::int64_t k = 0; k < columns; ++k, t += 4) {
    __builtin_prefetch(t + 4 * columns + 2);
    s[k].v += (t[0].v * r0 + t[1].v * r1) + (t[2].v * r2 + t[3].v * r3);
  }
}

// sums[k, l] += sum_j mass[j] rows[j, k] rows[j, l], of which l >= k is filled. Pixels outermost in
// `rows` [32, width]: the sums then run over targets as lanes, without horizontal sums.
template <typename T>
POINT2MASK_INLINE void add_couplings(const T* __restrict rows, const T* __restrict mass,
                                     std::int64_t columns, std::int64_t width, T* __restrict sums) {
  for (std::int64_t k = 0; k < columns; ++k) {
    T* __restrict out = sums + k * width;
    for (std::int64_t j = 0; j < kTile; j += 4) {
      const T* __restrict r = rows + j * width;
      const T p0 = r[k] * mass[j], p1 = r[k + width] * mass[j + 1];
      const T p2 = r[k + 2 * width] * mass[j + 2], p3 = r[k + 3 * width] * mass[j + 3];
      // Far from its pixels a target couples with nothing: most entries at a small epsilon.
      if (p0 + p1 + p2 + p3 == 0) continue;
      for (std::int64_t l = k / kLanes * kLanes; l < width; ++l)
        out[l] += (p0 * r[l] + p1 * r[l + width]) + (p2 * r[l + 2 * width] + p3 * r[l + 3 * width]);
    }
  }
}

// sums[lane] += the row's values of that lane.
template <typename T>
POINT2MASK_INLINE void add_row(const T* row, T* sums) {
  const auto* r = reinterpret_cast<const Lanes<T>*>(row);
  reinterpret_cast<Lanes<T>*>(sums)->v += (r[0].v + r[1].v) + (r[2].v + r[3].v);
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
template <typename T, typename Stored>
POINT2MASK_INLINE void softmax_tile(const Columns<Stored>& cost, const T* potential,
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
