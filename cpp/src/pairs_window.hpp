#pragma once

// The pairs of a dilated square window, and the bands of rows in which they are visited.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "point2mask/pairs.hpp"
#include "point2mask/parallel.hpp"

namespace point2mask {

struct PairOffset {
  std::int64_t dy, dx; // dy >= 0, and dx > 0 where dy is 0
};

// Half of the window, so that every unordered pair is met once, at its first pixel in row-major
// order. Offsets that no pair of pixels of the image has are left out.
struct HalfWindow {
  std::vector<PairOffset> offsets;
  std::int64_t reach_y = 0, reach_x = 0; // the largest |dy| and |dx|

  HalfWindow(std::int64_t kernel_size, std::int64_t dilation, std::int64_t height,
             std::int64_t width) {
    if (height == 0 || width == 0) return;
    const std::int64_t radius = kernel_size / 2;
    const std::int64_t rows = std::min(radius, (height - 1) / dilation);
    const std::int64_t columns = std::min(radius, (width - 1) / dilation);
    for (std::int64_t y = 0; y <= rows; ++y)
      for (std::int64_t x = y == 0 ? 1 : -columns; x <= columns; ++x)
        offsets.push_back({y * dilation, x * dilation});
    reach_y = rows * dilation;
    reach_x = columns * dilation;
  }
};

// Fixed bands of rows, whatever the executor. They grow with the reach of the window, because the
// rows within reach of a band are prepared once more by it.
struct Bands {
  std::int64_t images, height, rows, count; // rows a band, bands an image

  Bands(std::int64_t images_, std::int64_t height_, std::int64_t reach_y)
      : images(images_),
        height(height_),
        rows(std::max<std::int64_t>(16, 4 * reach_y)),
        count((height_ + rows - 1) / rows) {}

  // Calls work(worker, image, first row, last row + 1, band) for all bands of all images, which
  // are numbered over the whole batch; a worker holds the scratch memory of one range of them.
  template <typename MakeWorker, typename Work>
  void run(const Executor& executor, MakeWorker&& make_worker, Work&& work) const {
    executor.for_range(images * count, 1, [&](std::int64_t begin, std::int64_t end) {
      auto worker = make_worker();
      for (std::int64_t band = begin; band < end; ++band) {
        const std::int64_t y = band % count * rows;
        work(worker, band / count, y, std::min(y + rows, height), band);
      }
    });
  }
};

} // namespace point2mask
