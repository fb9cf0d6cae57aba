// Runs every operator of the engine on a problem of a few milliseconds, on one thread and without
// torch or Python, and tells callgrind where the counted call begins and ends. Prints the level of
// the instruction set. instructions.py builds it and runs it; outside valgrind it counts nothing.

#include <valgrind/callgrind.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "point2mask/cpu_level.hpp"
#include "point2mask/deformable.hpp"
#include "point2mask/geodesic.hpp"
#include "point2mask/masks.hpp"
#include "point2mask/pairs.hpp"
#include "point2mask/parallel.hpp"
#include "point2mask/transport.hpp"
#include "point2mask/tree.hpp"

namespace {

using namespace point2mask;

using Floats = std::vector<float>;
using Indices = std::vector<std::int32_t>;

constexpr std::int64_t kSide = 64, kPixels = kSide * kSide;
constexpr std::int64_t kTargets = 20, kChannels = 20;
constexpr double kFixed = std::numeric_limits<double>::infinity(); // a marginal as constraint

// Numbers in [0, 1): the same on every machine.
Floats uniform(std::int64_t count) {
  static std::mt19937 random(0);
  Floats values(static_cast<std::size_t>(count));
  for (float& v : values) v = static_cast<float>(random() >> 8) * 0x1p-24F;
  return values;
}

// Waves and a little noise, three channels.
Floats smooth_picture() {
  Floats picture = uniform(3 * kPixels);
  for (std::int64_t i = 0; i < kPixels; ++i) {
    const float y = static_cast<float>(i / kSide) / 7, x = static_cast<float>(i % kSide) / 7;
    const float waves[] = {std::sin(y) * std::cos(x), std::cos(y + x), std::sin(2 * x - y)};
    for (std::int64_t c = 0; c < 3; ++c) {
      float& v = picture[static_cast<std::size_t>(c * kPixels + i)];
      v = waves[c] + 0.1F * v;
    }
  }
  return picture;
}

// Different pixels, as seeds of a target each.
Indices some_pixels() {
  Indices pixels(static_cast<std::size_t>(kPixels));
  std::iota(pixels.begin(), pixels.end(), 0);
  std::mt19937 random(0);
  for (std::size_t k = 0; k < static_cast<std::size_t>(kTargets); ++k)
    std::swap(pixels[k], pixels[k + random() % (pixels.size() - k)]);
  pixels.resize(static_cast<std::size_t>(kTargets));
  return pixels;
}

template <typename Problem>
void solve(const Problem& p) {
  run(p, SerialExecutor());
}

// Twice, so that the engine's memory is there when the second call is counted.
template <typename Problem>
void count(const char* name, const Problem& p) {
  solve(p);
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
  solve(p);
  CALLGRIND_DUMP_STATS_AT(name);
  CALLGRIND_STOP_INSTRUMENTATION;
}

Floats differences(const Floats& feature, std::int64_t directions, Norm norm) {
  Floats difference(static_cast<std::size_t>(directions * kPixels));
  solve(NeighborDifference<float>{.feature = feature.data(),
                                  .images = 1,
                                  .channels = std::ssize(feature) / kPixels,
                                  .height = kSide,
                                  .width = kSide,
                                  .directions = directions,
                                  .norm = norm,
                                  .difference = difference.data()});
  return difference;
}

void count_trees(const Floats& picture) {
  const Floats weights = differences(picture, 2, Norm::kSquaredL2);
  const Floats feature = uniform(kChannels * kPixels);
  Indices order(kPixels), parent(kPixels), edge(kPixels);
  Floats weight(kPixels), output(feature.size());
  count("spanning_tree", SpanningTree<float>{.edge_weight = weights.data(),
                                             .images = 1,
                                             .directions = 2,
                                             .height = kSide,
                                             .width = kSide,
                                             .order = order.data(),
                                             .parent = parent.data(),
                                             .edge = edge.data(),
                                             .weight = weight.data()});
  for (float& w : weight) w = std::exp(-w / 0.1F);
  count("tree_filter", TreeFilter<float>{.feature = feature.data(),
                                         .order = order.data(),
                                         .parent = parent.data(),
                                         .similarity = weight.data(),
                                         .images = 1,
                                         .channels = kChannels,
                                         .pixels = kPixels,
                                         .normalize = true,
                                         .output = output.data()});
}

// Returns the distances along the smooth picture.
Floats count_geodesics(const Floats& picture) {
  const Indices seeds = some_pixels();
  Floats distance(kTargets * kPixels), noise = uniform(8 * kPixels);
  Floats costs = differences(picture, 8, Norm::kL1);
  for (float& c : costs) c += 0.1F;
  GeodesicDistance<float> g{.edge_cost = noise.data(),
                            .seeds = seeds.data(),
                            .images = 1,
                            .height = kSide,
                            .width = kSide,
                            .targets = kTargets,
                            .points = 1,
                            .distance = distance.data()};
  count("geodesic_distance, noise", g);
  g.edge_cost = costs.data();
  count("geodesic_distance, smooth", g);
  return distance;
}

void count_transport(const Floats& cost) {
  const Floats supply(kTargets, static_cast<float>(kPixels) / kTargets), demand(kPixels, 1.0F);
  Floats potential(kTargets), plan(cost.size());
  Indices iterations(1), labels(kPixels);
  float marginal_error = 0;
  Sinkhorn<float> s{.cost = cost.data(),
                    .supply = supply.data(),
                    .demand = demand.data(),
                    .initial_potential = nullptr,
                    .images = 1,
                    .targets = kTargets,
                    .pixels = kPixels,
                    .epsilon = 1e-3,
                    .max_iterations = 80,
                    .tolerance = 0.0,
                    .supply_relaxation = kFixed,
                    .demand_relaxation = kFixed,
                    .potential = potential.data(),
                    .iterations = iterations.data(),
                    .marginal_error = &marginal_error};
  count("sinkhorn, epsilon 1e-3", s);
  s.epsilon = 0.1;
  count("sinkhorn, epsilon 1e-1", s);
  count("transport_plan", TransportPlan<float>{.cost = cost.data(),
                                               .potential = potential.data(),
                                               .demand = demand.data(),
                                               .images = 1,
                                               .targets = kTargets,
                                               .pixels = kPixels,
                                               .epsilon = s.epsilon,
                                               .demand_relaxation = kFixed,
                                               .plan = plan.data()});
  count("transport_labels", TransportLabels<float>{.cost = cost.data(),
                                                   .potential = potential.data(),
                                                   .demand = demand.data(),
                                                   .images = 1,
                                                   .targets = kTargets,
                                                   .pixels = kPixels,
                                                   .labels = labels.data()});
}

// Stripes of eight rows.
Indices striped_labels() {
  Indices labels(kPixels);
  for (std::size_t i = 0; i < labels.size(); ++i)
    labels[i] = static_cast<std::int32_t>(i / (8 * kSide));
  return labels;
}

void count_pairs(const Floats& picture) {
  const Floats logits = uniform(kChannels * kPixels);
  Floats difference(8 * kPixels), lab = picture;
  for (float& v : lab) v *= 9;
  const Indices labels = striped_labels();
  float loss = 0;
  std::int64_t pairs[3] = {};
  count("neighbor_difference", NeighborDifference<float>{.feature = logits.data(),
                                                         .images = 1,
                                                         .channels = kChannels,
                                                         .height = kSide,
                                                         .width = kSide,
                                                         .directions = 8,
                                                         .norm = Norm::kL1,
                                                         .difference = difference.data()});
  count("lab_affinity_loss", LabAffinityLoss<float>{.logits = logits.data(),
                                                    .lab = lab.data(),
                                                    .valid = nullptr,
                                                    .images = 1,
                                                    .channels = kChannels,
                                                    .height = kSide,
                                                    .width = kSide,
                                                    .kernel_size = 5,
                                                    .dilation = 2,
                                                    .theta = 2.0,
                                                    .threshold = 0.3,
                                                    .loss = &loss,
                                                    .pairs = pairs});
  count("boundary_loss", BoundaryLoss<float>{.boundary = logits.data(),
                                             .instance = labels.data(),
                                             .semantic = labels.data(),
                                             .images = 1,
                                             .height = kSide,
                                             .width = kSide,
                                             .kernel_size = 3,
                                             .dilation = 1,
                                             .loss = &loss,
                                             .pairs = pairs});
}

void count_masks() {
  const Indices labels = striped_labels();
  std::vector<std::int64_t> area(kTargets);
  Floats centroid(2 * kTargets);
  Indices box(4 * kTargets);
  count("mask_statistics", MaskStatistics{.labels = labels.data(),
                                          .images = 1,
                                          .height = kSide,
                                          .width = kSide,
                                          .targets = kTargets,
                                          .area = area.data(),
                                          .centroid = centroid.data(),
                                          .box = box.data()});
}

void count_attention() {
  constexpr std::int64_t kQueries = kPixels / 16, kHeads = 8, kWidth = 32, kPoints = 4;
  const Floats value = uniform(kPixels * kHeads * kWidth);
  const Floats where = uniform(kQueries * kHeads * kPoints * 2);
  const Floats weight = uniform(kQueries * kHeads * kPoints);
  const std::int64_t shapes[] = {kSide, kSide};
  Floats output(kQueries * kHeads * kWidth);
  count("deformable_attention", DeformableAttention<float>{.value = value.data(),
                                                           .where = where.data(),
                                                           .weight = weight.data(),
                                                           .shapes = shapes,
                                                           .images = 1,
                                                           .cells = kPixels,
                                                           .queries = kQueries,
                                                           .heads = kHeads,
                                                           .channels = kWidth,
                                                           .levels = 1,
                                                           .points = kPoints,
                                                           .output = output.data()});
}

} // namespace

int main() {
  const Floats picture = smooth_picture();
  count_trees(picture);
  count_transport(count_geodesics(picture));
  count_pairs(picture);
  count_masks();
  count_attention();
  std::puts(cpu_level());
}
