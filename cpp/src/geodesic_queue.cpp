#include "geodesic_queue.hpp"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <utility>

#include "point2mask/grid.hpp"

namespace point2mask::geodesic {

template <typename T>
void finish_with_queue(const T* edge_cost, std::int64_t height, std::int64_t width,
                       const std::vector<std::int32_t>& pixels, T* distance) {
  using Entry = std::pair<T, std::int32_t>;
  std::vector<Entry> queue;
  for (const std::int32_t i : pixels)
    if (distance[i] < std::numeric_limits<T>::infinity()) queue.emplace_back(distance[i], i);
  std::make_heap(queue.begin(), queue.end(), std::greater<>());
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const auto [from, i] = queue.back();
    queue.pop_back();
    if (from > distance[i]) continue;
    const std::int64_t y = i / width, x = i % width;
    for (std::size_t d = 0; d < 8; ++d) {
      const std::int64_t ty = y + kOffsets[d].dy, tx = x + kOffsets[d].dx;
      if (ty < 0 || ty >= height || tx < 0 || tx >= width) continue;
      const T through = from + edge_cost[static_cast<std::int64_t>(d) * height * width + i];
      T& to = distance[ty * width + tx];
      if (!(through < to)) continue;
      to = through;
      queue.emplace_back(through, static_cast<std::int32_t>(ty * width + tx));
      std::push_heap(queue.begin(), queue.end(), std::greater<>());
    }
  }
}

template void finish_with_queue(const float* edge_cost, std::int64_t height, std::int64_t width,
                                const std::vector<std::int32_t>& pixels, float* distance);
template void finish_with_queue(const double* edge_cost, std::int64_t height, std::int64_t width,
                                const std::vector<std::int32_t>& pixels, double* distance);

} // namespace point2mask::geodesic
