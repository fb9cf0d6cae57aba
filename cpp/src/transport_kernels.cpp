#include "transport_kernels.hpp"

#include <cmath>

namespace point2mask::transport {
namespace {

constexpr std::int64_t kBlock = 8 * kTile; // pixels whose costs are read at a time

template <typename T, typename Stored>
POINT2MASK_INLINE void inspect(Inspection<T, Stored>& s) {
  double lanes[kLanes] = {};
  unsigned bad = 0;
  for (std::int64_t i = 0; i < s.pixels; ++i)
    bad |= (s.demand[i] >= 0 ? 0U : 1U) | (s.demand[i] < kInfinity<T> ? 0U : 1U);
  for (std::int64_t i = 0; i < s.pixels; i += kLanes)
    for (std::int64_t j = 0; j < std::min(kLanes, s.pixels - i); ++j)
      lanes[j] += static_cast<double>(s.demand[i + j]);
  s.total = 0;
  for (const double lane : lanes) s.total += lane;
  s.bad_demand = bad != 0;
  bad = 0;
  for (std::int64_t k = 0; k < s.targets; ++k) {
    const Stored* __restrict c = s.cost + k * s.stride;
    const T* __restrict a = s.demand;
    unsigned reachable = 0;
    for (std::int64_t i = 0; i < s.pixels; ++i) {
      const T value = read_cost(c[i]);
      bad |= value > -kInfinity<T> ? 0U : 1U; // true for NaN too
      reachable |= (value < kInfinity<T> ? 1U : 0U) & (a[i] > 0 ? 1U : 0U);
    }
    s.reachable[k] = static_cast<std::uint8_t>(reachable);
  }
  s.bad_cost = bad != 0;
}

template <typename T, typename Stored>
POINT2MASK_INLINE void absorb(Absorption<T, Stored>& s) {
  T largest[kTile];
  for (std::int64_t j = 0; j < kTile; ++j) largest[j] = -kInfinity<T>;
  for (std::int64_t i = 0; i < s.pixels; i += kTile) {
    if (i % kBlock == 0)
      differences(s.cost, s.reference, i, std::min(kBlock, s.pixels - i),
                  s.kernel + i * s.cost.count);
    T* tile = s.kernel + i * s.cost.count;
    T* __restrict row_max = s.row_max + i;
    T* __restrict mass = s.mass + i;
    row_maxima(tile, s.cost.count, row_max);
    exponential_tile(s.cost.count, s.scale, row_max, tile);
    T sums[kTile];
    row_sums(tile, s.cost.count, sums);
    for (std::int64_t j = 0; j < kTile; ++j) {
      mass[j] = sums[j] > 0 ? mass[j] : 0;
      const T candidate = mass[j] > 0 ? row_max[j] : -kInfinity<T>;
      largest[j] = candidate > largest[j] ? candidate : largest[j];
    }
  }
  s.largest = *std::max_element(largest, largest + kTile);
}

template <typename T>
POINT2MASK_INLINE void weigh(const RowWeights<T>& s) {
  for (std::int64_t i = 0; i < s.count; ++i)
    s.weight[i] = s.mass[i] > 0 ? s.mass[i] * exp2_flushed((s.row_max[i] - s.shift) * s.scale) : 0;
}

template <typename T>
POINT2MASK_INLINE void scale(const Scaling<T>& s) {
  T* __restrict lane_sums = s.lane_sums;
  for (std::int64_t i = 0; i < (s.columns + 1) * kLanes; ++i) lane_sums[i] = 0;
  for (std::int64_t tile = 0; tile < s.tiles; ++tile) {
    const T* q = s.kernel + tile * s.columns * kTile;
    const T* __restrict weight = s.weight + tile * kTile;
    alignas(64) T row[kTile];
    row_sums(q, s.columns, s.scaling, row);
    // A pixel without mass may have the sum 0: the smallest number keeps 0 / 0 away.
    constexpr T kSmallest = std::numeric_limits<T>::min();
    if (s.relaxed) {
      for (std::int64_t j = 0; j < kTile; ++j)
        row[j] = weight[j] * exp2_flushed(-s.lambda * log2_positive(row[j] + kSmallest));
    } else {
      for (std::int64_t j = 0; j < kTile; ++j) row[j] = weight[j] / (row[j] + kSmallest);
    }
    add_products(q, s.columns, row, lane_sums);
    add_row(row, lane_sums + s.columns * kLanes);
  }
}

// tile = log2 of the plan (but for the columns' scaling) of pixels [begin, begin + 32).
template <typename T, typename Stored>
POINT2MASK_INLINE void log_plan_tile(const LogStep<T, Stored>& s, std::int64_t begin, bool first) {
  const std::int64_t lanes = std::min(kTile, s.pixels - begin);
  T* __restrict rows = s.log_rows + begin;
  T* __restrict row_max = s.row_max + begin;
  T* __restrict tile = s.tile;
  difference_tile(s.cost, s.reference, begin, lanes, tile, row_max);
  if (first) {
    exponential_tile(s.cost.count, s.scale, row_max, tile);
    T sums[kTile];
    row_sums(tile, s.cost.count, s.scaling, sums);
    for (std::int64_t j = 0; j < kTile; ++j) {
      const T mass = s.mass[begin + j];
      rows[j] = mass > 0
                    ? std::log2(mass) + s.row_scale * row_max[j] - s.lambda * std::log2(sums[j])
                    : -kInfinity<T>;
    }
    difference_tile(s.cost, s.reference, begin, lanes, tile, row_max);
  }
  for (std::int64_t k = 0; k < s.cost.count; ++k)
    for (std::int64_t j = 0; j < kTile; ++j)
      tile[k * kTile + j] = (tile[k * kTile + j] - row_max[j]) * s.scale + rows[j];
}

template <typename T, typename Stored>
POINT2MASK_INLINE void log_step(const LogStep<T, Stored>& s) {
  const std::int64_t columns = s.cost.count;
  T* __restrict lanes = s.lanes;
  for (std::int64_t i = 0; i < columns * kLanes; ++i) lanes[i] = std::numeric_limits<T>::lowest();
  for (std::int64_t i = 0; i < s.pixels; i += kTile) {
    log_plan_tile(s, i, true);
    for (std::int64_t k = 0; k < columns; ++k)
      for (std::int64_t j = 0; j < kTile; ++j) {
        T& best = lanes[k * kLanes + j % kLanes];
        const T t = s.tile[k * kTile + j];
        best = t > best ? t : best;
      }
  }
  for (std::int64_t k = 0; k < columns; ++k)
    s.column_max[k] = *std::max_element(lanes + k * kLanes, lanes + (k + 1) * kLanes);

  for (std::int64_t i = 0; i < columns * kLanes; ++i) lanes[i] = 0;
  for (std::int64_t i = 0; i < s.pixels; i += kTile) {
    log_plan_tile(s, i, false);
    for (std::int64_t k = 0; k < columns; ++k) {
      T* __restrict t = s.tile + k * kTile;
      for (std::int64_t j = 0; j < kTile; ++j) t[j] -= s.column_max[k];
      exponential_column(t);
      add_row(t, lanes + k * kLanes);
    }
  }
}

} // namespace

#define POINT2MASK_DEFINE(T, Stored)                                                \
  POINT2MASK_MULTIARCH void inspect_chunk(Inspection<T, Stored>& s) { inspect(s); } \
  POINT2MASK_MULTIARCH void absorb_chunk(Absorption<T, Stored>& s) { absorb(s); }   \
  POINT2MASK_MULTIARCH void log_step_chunk(const LogStep<T, Stored>& s) { log_step(s); }
POINT2MASK_FOR_COSTS(POINT2MASK_DEFINE)
#undef POINT2MASK_DEFINE
POINT2MASK_MULTIARCH void weigh_rows(const RowWeights<float>& s) { weigh(s); }
POINT2MASK_MULTIARCH void weigh_rows(const RowWeights<double>& s) { weigh(s); }
POINT2MASK_MULTIARCH void scale_chunk(const Scaling<float>& s) { scale(s); }
POINT2MASK_MULTIARCH void scale_chunk(const Scaling<double>& s) { scale(s); }

} // namespace point2mask::transport
