#pragma once

// The inner loops of the geodesic sweeps. Distances lie [pixel][lane], a lane a target: every
// relaxation is one edge cost added to a vector of distances, and a vector minimum.

#include <cstdint>

namespace point2mask::geodesic {

template <typename T>
inline constexpr std::int64_t kLanes = 32 / sizeof(T); // targets a vector: 8 float32, 4 float64

// What a pass over some columns of a row has lowered: any of them, the first, the last.
inline constexpr unsigned kAny = 1, kFirst = 2, kLast = 4;

// Costs of steps into a row, each indexed by the column the step leaves.
template <typename T>
struct StepsIntoRow {
  const T* straight;   // from the neighbouring row, same column
  const T* from_left;  // from the neighbouring row, entering column x from column x - 1
  const T* from_right; // from the neighbouring row, entering column x from column x + 1
  const T* along;      // within the row, entering column x from column x - 1
};

// Lowers columns [begin, end) of `row`, left to right, by all these steps.
unsigned pull(float* row, const float* neighbour, const StepsIntoRow<float>& steps,
              std::int64_t begin, std::int64_t end, std::int64_t width);
unsigned pull(double* row, const double* neighbour, const StepsIntoRow<double>& steps,
              std::int64_t begin, std::int64_t end, std::int64_t width);

// Lowers columns [begin, end) of `row` from left to right by the steps (0, 1); begin >= 1.
unsigned scan_right(float* row, const float* cost, std::int64_t begin, std::int64_t end);
unsigned scan_right(double* row, const double* cost, std::int64_t begin, std::int64_t end);

// Lowers columns [begin, end) of `row` from right to left by the steps (0, -1); end < width.
unsigned scan_left(float* row, const float* cost, std::int64_t begin, std::int64_t end);
unsigned scan_left(double* row, const double* cost, std::int64_t begin, std::int64_t end);

} // namespace point2mask::geodesic
