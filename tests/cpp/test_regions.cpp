// merge_regions, histogram_gradient and watershed without Python: runs under sanitizers in
// milliseconds.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "point2mask/regions.hpp"

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Merge {
  std::int64_t height, width, region_count;
  std::vector<std::int32_t> regions, seeds;
  std::vector<float> edge;
  std::vector<double> reach;
  std::vector<std::int32_t> bins{}, bin_counts{};
  std::vector<double> weights{};

  std::vector<std::int32_t> run() const {
    std::vector<std::int32_t> labels(regions.size());
    const auto targets = static_cast<std::int64_t>(reach.size());
    point2mask::merge_regions(
        {.regions = regions.data(),
         .edge = edge.data(),
         .bins = bins.data(),
         .seeds = seeds.data(),
         .reach = reach.data(),
         .bin_counts = bin_counts.data(),
         .weights = weights.data(),
         .height = height,
         .width = width,
         .region_count = region_count,
         .features = static_cast<std::int64_t>(weights.size()),
         .targets = targets,
         .points = targets ? static_cast<std::int64_t>(seeds.size()) / targets : 0,
         .size_exponent = 0.05,
         .labels = labels.data()});
    return labels;
  }

  bool rejected() const {
    try {
      run();
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  }
};

// Every pixel a region of its own, random colours, four targets of two seeds.
int random_picture(unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&](std::uint32_t n) { return static_cast<std::int32_t>(random() % n); };
  Merge m{.height = 23,
          .width = 31,
          .region_count = 23 * 31,
          .regions = {},
          .seeds = {},
          .edge = {},
          .reach = {}};
  for (std::int32_t i = 0; i < 23 * 31; ++i) {
    m.regions.push_back(i);
    m.edge.push_back(static_cast<float>(below(100)) / 100);
    m.bins.push_back(below(13));
  }
  m.bin_counts = {13};
  m.weights = {0.5};
  for (std::int32_t k = 0; k < 8; ++k) m.seeds.push_back(k * 88 + below(88));
  m.reach = {1, 10, 100, kInfinity};
  const std::vector<std::int32_t> labels = m.run();
  int failed = labels != m.run();
  failed += std::ranges::any_of(labels, [](std::int32_t label) { return label < 0 || label > 3; });
  for (std::size_t s = 0; s < 8; ++s)
    failed += labels[static_cast<std::size_t>(m.seeds[s])] != static_cast<std::int32_t>(s / 2);
  return failed;
}

int edge_cases() {
  int failed = 0;
  const Merge line{.height = 1,
                   .width = 4,
                   .region_count = 9,
                   .regions = {7, 7, 2, 8},
                   .seeds = {0, 3},
                   .edge = {0, 0, 1, 1},
                   .reach = {kInfinity, kInfinity}};
  failed += line.run() != std::vector<std::int32_t>{0, 0, 0, 1};
  Merge none = line;
  none.seeds = {};
  none.reach = {};
  failed += none.run() != std::vector<std::int32_t>(4, -1);
  failed += !Merge{.height = 0,
                   .width = 4,
                   .region_count = 0,
                   .regions = {},
                   .seeds = {-1},
                   .edge = {},
                   .reach = {1}}
                 .run()
                 .empty();
  Merge bad = line;
  bad.region_count = 8;
  failed += !bad.rejected();
  bad = line;
  bad.seeds = {0, 1}; // in one region
  failed += !bad.rejected();
  bad = line;
  bad.edge[1] = std::numeric_limits<float>::quiet_NaN();
  failed += !bad.rejected();
  return failed;
}

int gradients() {
  int failed = 0;
  for (const std::int64_t side : {1, 2, 9, 40}) {
    std::vector<float> picture(static_cast<std::size_t>(2 * side * side)),
        strength(static_cast<std::size_t>(side * side));
    for (std::size_t i = 0; i < picture.size(); ++i)
      picture[i] = static_cast<std::int64_t>(i) % side < side / 2 ? 0.0F : 1.0F;
    point2mask::histogram_gradient({.channels = picture.data(),
                                    .channel_count = 2,
                                    .height = side,
                                    .width = side,
                                    .bins = 8,
                                    .radius = 3,
                                    .distance = 4,
                                    .strength = strength.data()});
    const auto middle = static_cast<std::size_t>(side / 2);
    failed += side > 8 && strength[middle] < 1.5F; // all of two channels changes bins
    failed += !std::isfinite(strength[middle]);
  }
  return failed;
}

std::vector<std::int32_t> flooded(std::int64_t height, std::int64_t width,
                                  const std::vector<float>& edge,
                                  const std::vector<std::int32_t>& markers) {
  std::vector<std::int32_t> labels(edge.size());
  point2mask::watershed({.edge = edge.data(),
                         .markers = markers.data(),
                         .height = height,
                         .width = width,
                         .labels = labels.data()});
  return labels;
}

int floods() {
  using Labels = std::vector<std::int32_t>;
  int failed = 0;
  // Over the wall of 2 only once both sides are full; 7, from the left, was there first.
  failed += flooded(1, 6, {0, 1, 2, 1, 0, 0}, {7, -1, -1, -1, -1, 3}) != Labels{7, 7, 7, 3, 3, 3};
  failed += flooded(2, 2, {0, 0, 0, 0}, {-1, -1, -1, -1}) != Labels(4, -1);
  failed += !flooded(0, 3, {}, {}).empty() || !flooded(3, 0, {}, {}).empty();
  for (const auto& [edge, marker] : {std::pair{NAN, 0}, {0.0F, -2}}) {
    try {
      flooded(1, 1, {edge}, {marker});
      ++failed;
    } catch (const std::invalid_argument&) {
      continue;
    }
  }
  // More pixels than there are numbers, border included: refused before one is read.
  for (const auto& [height, width] :
       {std::pair{INT64_C(1), INT64_C(2147483647)}, {INT64_C(65534), INT64_C(65534)}}) {
    try {
      point2mask::watershed({.edge = nullptr,
                             .markers = nullptr,
                             .height = height,
                             .width = width,
                             .labels = nullptr});
      ++failed;
    } catch (const std::invalid_argument&) {
      continue;
    }
  }
  return failed;
}

} // namespace

int main() {
  int failed = edge_cases() + gradients() + floods();
  for (unsigned seed = 0; seed < 5; ++seed) failed += random_picture(seed);
  std::printf("%d failed\n", failed);
  return failed;
}
