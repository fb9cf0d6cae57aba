#include "point2mask/masks.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "point2mask/parallel.hpp"

namespace point2mask {
namespace {

// Sums of 64-bit integers: exact, so the result does not depend on any order of addition.
struct Sums {
  std::int64_t area = 0, y = 0, x = 0;
  std::int32_t x0 = INT32_MAX, y0 = INT32_MAX, x1 = 0, y1 = 0;
};

void add_row(const MaskStatistics& s, std::int64_t image, std::int64_t y, Sums* sums) {
  const std::int32_t* row = s.labels + (image * s.height + y) * s.width;
  const auto yi = static_cast<std::int32_t>(y);
  for (std::int64_t begin = 0; begin < s.width;) {
    // Labels come in runs: one update a run instead of one a pixel.
    const std::int32_t label = row[begin];
    std::int64_t end = begin + 1;
    while (end < s.width && row[end] == label) ++end;
    if (label < -1 || label >= s.targets)
      throw std::invalid_argument("mask_statistics: labels must lie in [-1, " +
                                  std::to_string(s.targets) + "), got " + std::to_string(label) +
                                  " in image " + std::to_string(image));
    if (label >= 0) {
      Sums& t = sums[label];
      const std::int64_t length = end - begin;
      t.area += length;
      t.y += y * length;
      t.x += (begin + end - 1) * length / 2;
      t.x0 = std::min(t.x0, static_cast<std::int32_t>(begin));
      t.x1 = std::max(t.x1, static_cast<std::int32_t>(end));
      t.y0 = std::min(t.y0, yi);
      t.y1 = yi + 1;
    }
    begin = end;
  }
}

void image_statistics(const MaskStatistics& s, std::int64_t image) {
  std::vector<Sums> sums(static_cast<std::size_t>(s.targets));
  for (std::int64_t y = 0; y < s.height; ++y) add_row(s, image, y, sums.data());
  for (std::int64_t k = 0; k < s.targets; ++k) {
    const Sums& t = sums[static_cast<std::size_t>(k)];
    const std::int64_t o = image * s.targets + k;
    const bool empty = t.area == 0;
    const auto n = static_cast<double>(t.area);
    s.area[o] = t.area;
    s.centroid[2 * o] = empty ? 0.0F : static_cast<float>(static_cast<double>(t.y) / n);
    s.centroid[2 * o + 1] = empty ? 0.0F : static_cast<float>(static_cast<double>(t.x) / n);
    s.box[4 * o] = empty ? 0 : t.x0;
    s.box[4 * o + 1] = empty ? 0 : t.y0;
    s.box[4 * o + 2] = t.x1;
    s.box[4 * o + 3] = t.y1;
  }
}

} // namespace

void run(const MaskStatistics& s, const Executor& executor) {
  executor.for_range(s.images, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t image = begin; image < end; ++image) image_statistics(s, image);
  });
}

} // namespace point2mask
