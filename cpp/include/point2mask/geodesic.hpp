#pragma once

#include <cstdint>

namespace point2mask {

class Executor;

// Shortest paths on the directed 8-connected grid, from the seeds of every target to every pixel.
// distance is the unique fixed point of D[v] = min_u fl(D[u] + cost(u -> v)) with D[seed] = 0 that
// is reached from +inf by lowering: rounded addition is monotone, so any order of relaxations (a
// sweep, a queue, a GPU's race) ends in the same bits as Dijkstra's algorithm.
template <typename T>
struct GeodesicDistance {
  const T* edge_cost;        // [B, 8, H, W] cost of the step kOffsets[d] from (y, x), >= 0 or +inf
  const std::int32_t* seeds; // [B, K, P] pixels, -1 = padding
  std::int64_t images, height, width, targets, points;
  T* distance; // [B, K, H, W], +inf where no seed reaches
};

// Throws std::invalid_argument for a NaN or negative cost inside the image, or a seed outside
// [-1, H * W).
template <typename T>
void run(const GeodesicDistance<T>& g, const Executor& executor);

// Gradient along the forest of shortest paths. A step u -> v is tight if fl(D[u] + cost) == D[v];
// hops(v) is the breadth-first level of v over tight steps from the seeds; the predecessor of v is
// entered by the tight step of smallest direction index from level hops(v) - 1. So the forest is
// unique, and steps of zero cost close no cycle. The flow of v is its grad_distance plus the flows
// of its successors in decreasing pixel index; a step's gradient is the flow of the pixel it
// enters, summed over targets in increasing order. Sums are in double.
template <typename T>
struct GeodesicDistanceBackward {
  const T* grad_distance;    // [B, K, H, W]
  const T* edge_cost;        // [B, 8, H, W]
  const T* distance;         // [B, K, H, W] the result of geodesic_distance
  const std::int32_t* seeds; // [B, K, P]
  std::int64_t images, height, width, targets, points;
  T* grad_edge_cost; // [B, 8, H, W]
};

template <typename T>
void run(const GeodesicDistanceBackward<T>& g, const Executor& executor);

} // namespace point2mask
