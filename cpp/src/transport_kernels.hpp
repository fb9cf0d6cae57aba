#pragma once

// The inner loops of sinkhorn, over one chunk of one image.

#include <cstdint>

#include "transport_tile.hpp"

namespace point2mask::transport {

// Checks values, and which targets the chunk's pixels can be matched with.
template <typename T, typename Stored>
struct Inspection {
  const Stored* cost; // [K, N], at the chunk's first pixel
  const T* demand;    // [pixels]
  std::int64_t targets, stride, pixels;
  double total;            // of the demand
  bool bad_demand;         // a NaN, negative or infinite one
  bool bad_cost;           // a NaN or -inf
  std::uint8_t* reachable; // [K] a pixel with demand and a finite cost exists
};

#define POINT2MASK_DECLARE(T, Stored) void inspect_chunk(Inspection<T, Stored>& s);
POINT2MASK_FOR_COSTS(POINT2MASK_DECLARE)
#undef POINT2MASK_DECLARE

// Builds the kernel Q = exp((reference - cost - row_max) / epsilon), row maximum 1, in tiles.
template <typename T, typename Stored>
struct Absorption {
  Columns<Stored> cost; // data at the chunk's first pixel
  std::int64_t pixels;
  const T* reference; // [columns]
  T scale;            // log2(e) / epsilon
  T* kernel;          // [tiles, columns, 32]
  T* row_max;         // [tiles * 32] units of cost
  T* mass;            // [tiles * 32] set to 0 where no cost is finite
  T largest;          // of row_max, over pixels with mass
};

#define POINT2MASK_DECLARE(T, Stored) void absorb_chunk(Absorption<T, Stored>& s);
POINT2MASK_FOR_COSTS(POINT2MASK_DECLARE)
#undef POINT2MASK_DECLARE

// weight = mass exp((row_max - shift) / (rho1 + epsilon)): the part of a relaxed row that does not
// depend on the scaling.
template <typename T>
struct RowWeights {
  const T* mass;    // [count]
  const T* row_max; // [count] units of cost
  std::int64_t count;
  T shift; // units of cost
  T scale; // log2(e) / (rho1 + epsilon)
  T* weight;
};

void weigh_rows(const RowWeights<float>& s);
void weigh_rows(const RowWeights<double>& s);

// One iteration: s = Q v, r = weight s^-lambda1, column sums of Q r; the last column holds sum r.
template <typename T>
struct Scaling {
  const T* kernel; // [tiles, columns, 32]
  std::int64_t tiles, columns;
  const T* scaling; // [columns] v
  const T* weight;  // [tiles * 32]
  bool relaxed;
  T lambda;     // lambda1, 1 if not relaxed
  T* lane_sums; // [columns + 1, 8]
};

void scale_chunk(const Scaling<float>& s);
void scale_chunk(const Scaling<double>& s);

// The same iteration in the log domain, safe for columns whose sums underflow:
// a column's sum is 2^column_max times the sum of its lanes.
template <typename T, typename Stored>
struct LogStep {
  Columns<Stored> cost; // data at the chunk's first pixel
  std::int64_t pixels;
  const T* reference; // [columns]
  const T* scaling;   // [columns] exp((potential - reference) / epsilon), near 1
  const T* mass;      // [tiles * 32]
  T scale;            // log2(e) / epsilon
  T row_scale;        // log2(e) / (rho1 + epsilon), 0 if not relaxed
  T lambda;           // lambda1
  T* tile;            // [columns, 32] scratch
  T* log_rows;        // [tiles * 32] scratch
  T* row_max;         // [tiles * 32] scratch
  T* column_max;      // [columns] log2
  T* lanes;           // [columns, 8]
};

#define POINT2MASK_DECLARE(T, Stored) void log_step_chunk(const LogStep<T, Stored>& s);
POINT2MASK_FOR_COSTS(POINT2MASK_DECLARE)
#undef POINT2MASK_DECLARE

} // namespace point2mask::transport
