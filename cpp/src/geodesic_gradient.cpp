#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "geodesic_forest.hpp"
#include "geodesic_seeds.hpp"
#include "point2mask/geodesic.hpp"
#include "point2mask/grid.hpp"
#include "point2mask/parallel.hpp"

namespace point2mask {
namespace {

using geodesic::Flow;

// Targets whose flows are held at a time, 9 bytes a pixel and target.
constexpr std::int64_t kRound = 16;
constexpr std::int64_t kGrain = 4096; // pixels

// Adds one target's flows to the steps that carried them. A step enters one pixel only, so ranges
// of pixels write to different steps.
void add_flow(const Flow& f, std::int64_t begin, std::int64_t end, std::int64_t pixels,
              std::int64_t width, double* sum) {
  for (std::int64_t v = begin; v < end; ++v) {
    const unsigned char d = f.entry[static_cast<std::size_t>(v)];
    if (d == geodesic::kNoEntry) continue;
    const std::int64_t u = v - kOffsets[d].dy * width - kOffsets[d].dx;
    sum[d * pixels + u] += f.flow[static_cast<std::size_t>(v)];
  }
}

// Sums of the steps' flows [B, 8, H, W] in double, over targets in increasing order.
template <typename T>
void sum_flows(const GeodesicDistanceBackward<T>& g, double* sum, const Executor& executor) {
  const std::int64_t pixels = g.height * g.width, all = g.images * g.targets;
  std::vector<Flow> flows(static_cast<std::size_t>(std::min(kRound, all)));
  for (std::int64_t first = 0; first < all; first += kRound) {
    const std::int64_t last = std::min(all, first + kRound);
    executor.for_range(last - first, 1, [&](std::int64_t begin, std::int64_t end) {
      geodesic::Forest<T> forest(g.height, g.width);
      for (std::int64_t t = first + begin; t < first + end; ++t)
        forest.solve(g.edge_cost + t / g.targets * 8 * pixels, g.distance + t * pixels,
                     g.grad_distance + t * pixels, g.seeds + t * g.points, g.points,
                     flows[static_cast<std::size_t>(t - first)]);
    });
    executor.for_range(pixels, kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = first; t < last; ++t)
        add_flow(flows[static_cast<std::size_t>(t - first)], begin, end, pixels, g.width,
                 sum + t / g.targets * 8 * pixels);
    });
  }
}

} // namespace

template <typename T>
void run(const GeodesicDistanceBackward<T>& g, const Executor& executor) {
  const std::int64_t pixels = g.height * g.width, steps = g.images * 8 * pixels;
  geodesic::check_seeds("geodesic_distance_backward", g.seeds, g.images, g.targets * g.points,
                        pixels);
  if constexpr (std::is_same_v<T, double>) {
    std::fill_n(g.grad_edge_cost, steps, 0.0);
    sum_flows(g, g.grad_edge_cost, executor);
  } else {
    std::vector<double> sum(static_cast<std::size_t>(steps));
    sum_flows(g, sum.data(), executor);
    std::copy(sum.begin(), sum.end(), g.grad_edge_cost);
  }
}

template void run(const GeodesicDistanceBackward<float>& g, const Executor& executor);
template void run(const GeodesicDistanceBackward<double>& g, const Executor& executor);

} // namespace point2mask
