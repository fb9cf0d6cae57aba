// The sweeps and the queue behind geodesic_distance against a plain Dijkstra, stopped after any
// number of visits; degenerate sizes. For use under AddressSanitizer and UBSan.

#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <queue>
#include <random>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "geodesic_queue.hpp"
#include "geodesic_sweep.hpp"
#include "point2mask/geodesic.hpp"
#include "point2mask/grid.hpp"
#include "point2mask/parallel.hpp"

namespace {

using namespace point2mask;

int failures = 0;

void expect(bool ok, const char* what) {
  if (ok) return;
  std::printf("failed: %s\n", what);
  ++failures;
}

template <typename T>
std::vector<T> dijkstra(const std::vector<T>& cost, std::int64_t height, std::int64_t width,
                        std::int32_t seed) {
  std::vector<T> distance(static_cast<std::size_t>(height * width),
                          std::numeric_limits<T>::infinity());
  using Entry = std::pair<T, std::int64_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
  distance[static_cast<std::size_t>(seed)] = 0;
  queue.emplace(T(0), seed);
  while (!queue.empty()) {
    const auto [from, u] = queue.top();
    queue.pop();
    if (from > distance[static_cast<std::size_t>(u)]) continue;
    for (std::size_t d = 0; d < 8; ++d) {
      const std::int64_t y = u / width + kOffsets[d].dy, x = u % width + kOffsets[d].dx;
      if (y < 0 || y >= height || x < 0 || x >= width) continue;
      const T through = from + cost[d * distance.size() + static_cast<std::size_t>(u)];
      T& to = distance[static_cast<std::size_t>(y * width + x)];
      if (through < to) queue.emplace(to = through, y * width + x);
    }
  }
  return distance;
}

// Heavy-tailed costs with walls and free steps: many sweeps.
template <typename T>
std::vector<T> random_costs(std::int64_t pixels, std::mt19937& random) {
  std::normal_distribution<double> normal(0, 5);
  std::vector<T> cost(static_cast<std::size_t>(8 * pixels));
  for (T& c : cost) {
    const std::uint32_t kind = random() % 10;
    c = kind == 0   ? T(0)
        : kind == 1 ? std::numeric_limits<T>::infinity()
                    : static_cast<T>(std::exp(normal(random)));
  }
  return cost;
}

template <typename T>
void test_any_budget(std::int64_t height, std::int64_t width) {
  std::mt19937 random(1);
  const std::int64_t pixels = height * width;
  const std::vector<T> cost = random_costs<T>(pixels, random);
  constexpr std::size_t kCount = 3;
  std::vector<std::int32_t> seeds(kCount);
  std::vector<std::span<const std::int32_t>> lanes;
  for (std::int32_t& seed : seeds) {
    seed = static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(pixels));
    lanes.emplace_back(&seed, 1);
  }
  geodesic::Sweeps<T> sweeps(height, width);
  for (std::int64_t mean_visits = 0; mean_visits < 100; ++mean_visits) {
    std::vector<std::vector<T>> maps(kCount, std::vector<T>(static_cast<std::size_t>(pixels)));
    std::vector<T*> out;
    for (std::vector<T>& map : maps) out.push_back(map.data());
    const bool done = sweeps.run(cost.data(), lanes, mean_visits);
    sweeps.copy_to(out);
    const std::vector<std::int32_t> unfinished = sweeps.unfinished();
    expect(!done || unfinished.empty(), "nothing is left when the sweeps are done");
    for (std::size_t i = 0; i < kCount; ++i) {
      if (!done) geodesic::finish_with_queue(cost.data(), height, width, unfinished, out[i]);
      expect(maps[i] == dijkstra(cost, height, width, seeds[i]), "sweeps and queue = Dijkstra");
    }
    if (done) return;
  }
  expect(false, "the sweeps converge");
}

template <typename T>
void test_operator(std::int64_t images, std::int64_t height, std::int64_t width,
                   std::int64_t targets, std::int64_t points) {
  std::mt19937 random(2);
  const std::int64_t pixels = height * width;
  std::vector<T> cost = random_costs<T>(images * pixels, random);
  std::vector<std::int32_t> seeds(static_cast<std::size_t>(images * targets * points), -1);
  for (std::int32_t& seed : seeds)
    if (pixels > 0) seed = static_cast<std::int32_t>(random() % (pixels + 1)) - 1;
  std::vector<T> distance(static_cast<std::size_t>(images * targets * pixels));
  run(GeodesicDistance<T>{cost.data(), seeds.data(), images, height, width, targets, points,
                          distance.data()},
      SerialExecutor());
  const std::vector<T> upstream(distance.size(), T(1));
  std::vector<T> gradient(cost.size());
  run(GeodesicDistanceBackward<T>{upstream.data(), cost.data(), distance.data(), seeds.data(),
                                  images, height, width, targets, points, gradient.data()},
      SerialExecutor());
  // Euler: distances are homogeneous of degree 1 in the costs.
  double total = 0, product = 0;
  for (const T d : distance) total += std::isfinite(d) ? static_cast<double>(d) : 0;
  for (std::size_t i = 0; i < cost.size(); ++i)
    if (gradient[i] != 0)
      product += static_cast<double>(gradient[i]) * static_cast<double>(cost[i]);
  expect(std::abs(product - total) <= 1e-5 * total, "costs times gradient = sum of distances");
}

void test_rejections() {
  std::vector<float> cost(8 * 6, 1.0F), distance(6);
  std::int32_t seed = 6;
  const auto rejected = [&] {
    try {
      run(GeodesicDistance<float>{cost.data(), &seed, 1, 2, 3, 1, 1, distance.data()},
          SerialExecutor());
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  expect(rejected(), "a seed outside is rejected");
  seed = 5;
  expect(!rejected(), "a seed inside is accepted");
  cost[0] = std::numeric_limits<float>::quiet_NaN();
  expect(rejected(), "NaN is rejected");
}

} // namespace

int main() {
  for (const auto& [height, width] :
       {std::pair{1, 1}, {1, 70}, {70, 1}, {2, 33}, {40, 37}, {37, 64}, {90, 31}}) {
    test_any_budget<float>(height, width);
    test_any_budget<double>(height, width);
    test_operator<float>(2, height, width, 19, 2);
    test_operator<double>(1, height, width, 5, 1);
  }
  test_operator<float>(0, 3, 4, 2, 1);
  test_operator<float>(2, 0, 4, 2, 1);
  test_operator<float>(2, 3, 0, 2, 1);
  test_operator<float>(2, 3, 4, 0, 1);
  test_operator<float>(2, 3, 4, 2, 0);
  test_rejections();
  return failures;
}
