#include "point2mask/geodesic.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "geodesic_queue.hpp"
#include "geodesic_seeds.hpp"
#include "geodesic_sweep.hpp"
#include "point2mask/grid.hpp"
#include "point2mask/parallel.hpp"

namespace point2mask {
namespace {

// A block of columns is visited about 5 times on natural images, 40 and 125 times on white noise of
// 256 x 256 and 512 x 512. Beyond this mean, sweeps have cost about as much as a queue would have.
constexpr std::int64_t kMeanVisits = 256;

// The first entry inside the image that is not a cost, or -1.
template <typename T>
std::int64_t first_bad_cost(const T* edge_cost, std::int64_t height, std::int64_t width) {
  for (int d = 0; d < 8; ++d) {
    const auto [dy, dx] = kOffsets[static_cast<std::size_t>(d)];
    const std::int64_t x0 = std::max(0, -dx), x1 = width - std::max(0, dx);
    for (std::int64_t y = std::max(0, -dy); y < height - std::max(0, dy); ++y) {
      const std::int64_t row = (d * height + y) * width;
      unsigned bad = 0; // a number, for the compiler to vectorise
      for (std::int64_t x = x0; x < x1; ++x) bad |= edge_cost[row + x] >= 0 ? 0U : 1U;
      if (!bad) continue;
      for (std::int64_t x = x0; x < x1; ++x)
        if (!(edge_cost[row + x] >= 0)) return row + x;
    }
  }
  return -1;
}

template <typename T>
void check(const GeodesicDistance<T>& g, const Executor& executor) {
  const std::int64_t pixels = g.height * g.width;
  // By image first and thrown here: the same message whichever thread is first.
  std::vector<std::int64_t> bad(static_cast<std::size_t>(g.images), -1);
  executor.for_range(g.images, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b)
      bad[static_cast<std::size_t>(b)] =
          first_bad_cost(g.edge_cost + b * 8 * pixels, g.height, g.width);
  });
  for (std::int64_t b = 0; b < g.images; ++b)
    if (const std::int64_t at = bad[static_cast<std::size_t>(b)]; at >= 0)
      throw std::invalid_argument("geodesic_distance: edge_cost must not be negative or NaN, got " +
                                  std::to_string(g.edge_cost[b * 8 * pixels + at]) + " in image " +
                                  std::to_string(b));
  geodesic::check_seeds("geodesic_distance", g.seeds, g.images, g.targets * g.points, pixels);
}

// Up to kLanes targets of one image: positions [begin, end) in the list of seeded targets.
struct Group {
  std::int64_t image, begin, end;
};

template <typename T>
class Distances {
 public:
  explicit Distances(const GeodesicDistance<T>& g) : g_(g) { plan(); }

  void run(const Executor& executor) const {
    const auto groups = static_cast<std::int64_t>(groups_.size());
    executor.for_range(groups, 1, [&](std::int64_t begin, std::int64_t end) {
      geodesic::Sweeps<T> sweeps(g_.height, g_.width);
      for (std::int64_t i = begin; i < end; ++i)
        solve(groups_[static_cast<std::size_t>(i)], sweeps);
    });
  }

 private:
  std::int64_t pixels() const { return g_.height * g_.width; }

  std::span<const std::int32_t> seeds(std::int64_t image, std::int64_t target) const {
    return {g_.seeds + (image * g_.targets + target) * g_.points,
            static_cast<std::size_t>(g_.points)};
  }

  // Groups the targets with seeds by the position of their first seed: lanes that are busy in the
  // same rows share their visits. Targets without seeds are done.
  void plan() {
    for (std::int64_t b = 0; b < g_.images; ++b) {
      std::vector<std::pair<std::int32_t, std::int64_t>> seeded;
      for (std::int64_t k = 0; k < g_.targets; ++k) {
        const auto points = seeds(b, k);
        const auto first =
            std::find_if(points.begin(), points.end(), [](auto s) { return s >= 0; });
        if (first != points.end())
          seeded.emplace_back(*first, k);
        else
          std::fill_n(g_.distance + (b * g_.targets + k) * pixels(), pixels(),
                      std::numeric_limits<T>::infinity());
      }
      std::sort(seeded.begin(), seeded.end());
      const auto start = static_cast<std::int64_t>(targets_.size());
      for (const auto& entry : seeded) targets_.push_back(entry.second);
      const auto stop = static_cast<std::int64_t>(targets_.size());
      for (std::int64_t i = start; i < stop; i += geodesic::kLanes<T>)
        groups_.push_back({b, i, std::min(stop, i + geodesic::kLanes<T>)});
    }
  }

  void solve(const Group& group, geodesic::Sweeps<T>& sweeps) const {
    std::array<std::span<const std::int32_t>, geodesic::kLanes<T>> lanes;
    std::array<T*, geodesic::kLanes<T>> maps{};
    const auto count = static_cast<std::size_t>(group.end - group.begin);
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t k = targets_[static_cast<std::size_t>(group.begin) + i];
      lanes[i] = seeds(group.image, k);
      maps[i] = g_.distance + (group.image * g_.targets + k) * pixels();
    }
    const T* edge_cost = g_.edge_cost + group.image * 8 * pixels();
    const bool done = sweeps.run(edge_cost, {lanes.data(), count}, kMeanVisits);
    sweeps.copy_to({maps.data(), count});
    if (done) return;
    const std::vector<std::int32_t> unfinished = sweeps.unfinished();
    for (std::size_t i = 0; i < count; ++i)
      geodesic::finish_with_queue(edge_cost, g_.height, g_.width, unfinished, maps[i]);
  }

  const GeodesicDistance<T>& g_;
  std::vector<std::int64_t> targets_;
  std::vector<Group> groups_;
};

} // namespace

template <typename T>
void run(const GeodesicDistance<T>& g, const Executor& executor) {
  check(g, executor);
  Distances<T>(g).run(executor);
}

template void run(const GeodesicDistance<float>& g, const Executor& executor);
template void run(const GeodesicDistance<double>& g, const Executor& executor);

} // namespace point2mask
