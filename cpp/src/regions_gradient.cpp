#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "point2mask/multiarch.hpp"
#include "point2mask/regions.hpp"

namespace point2mask {
namespace {

// The share of every value that goes to `bin`: linear between the two nearest bin centres.
POINT2MASK_MULTIARCH void bin_share(const float* value, std::int64_t count, float last_bin,
                                    float bin, float* share) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float distance = std::fabs(value[i] * last_bin - bin);
    share[i] = distance < 1 ? 1 - distance : 0;
  }
}

POINT2MASK_MULTIARCH void add(const float* from, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
}

POINT2MASK_MULTIARCH void multiply(const float* factor, float scale, std::int64_t count,
                                   float* values) {
  for (std::int64_t i = 0; i < count; ++i) values[i] *= factor[i] * scale;
}

POINT2MASK_MULTIARCH void add_chi_square(const float* p, const float* q, std::int64_t count,
                                         float* sum) {
  constexpr float kTiny = 1e-6F; // makes 0 / 0 a zero
  for (std::int64_t i = 0; i < count; ++i)
    sum[i] += (p[i] - q[i]) * (p[i] - q[i]) / (p[i] + q[i] + kTiny);
}

POINT2MASK_MULTIARCH void sqrt_of_max(const float* a, const float* b, const float* c,
                                      const float* d, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = std::sqrt(std::max(std::max(a[i], b[i]), std::max(c[i], d[i])));
}

// 1 / (number of pixels of the window around i that lie in [0, count)).
std::vector<float> inverse_window(std::int64_t count, std::int64_t radius) {
  std::vector<float> inverse(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i)
    inverse[static_cast<std::size_t>(i)] =
        1.0F / static_cast<float>(std::min(count - 1, i + radius) -
                                  std::max<std::int64_t>(0, i - radius) + 1);
  return inverse;
}

class WindowHistograms {
 public:
  explicit WindowHistograms(const HistogramGradient& g)
      : g_(g),
        // Pixels beyond the image are none, and centres stay inside: more changes nothing.
        reach_x_(std::min(g.radius, g.width)),
        reach_y_(std::min(g.radius, g.height)),
        pad_(std::min(std::max(g.radius, g.distance), g.width)),
        stride_(g.width + 2 * pad_),
        share_(static_cast<std::size_t>(g.height * stride_)),
        mean_(share_.size()),
        inverse_height_(inverse_window(g.height, reach_y_)),
        inverse_width_(inverse_window(g.width, reach_x_)) {}

  // Window means of the share of one bin of one channel.
  void compute(std::int64_t channel, std::int64_t bin) {
    const std::int64_t width = g_.width;
    std::fill(mean_.begin(), mean_.end(), 0.0F);
    for (std::int64_t y = 0; y < g_.height; ++y) {
      const float* value = g_.channels + (channel * g_.height + y) * width;
      std::vector<float>& row = row_;
      row.assign(static_cast<std::size_t>(stride_), 0.0F);
      bin_share(value, width, static_cast<float>(g_.bins - 1), static_cast<float>(bin),
                row.data() + pad_);
      float* sum = line(share_, y);
      std::fill(sum, sum + width, 0.0F);
      for (std::int64_t dx = -reach_x_; dx <= reach_x_; ++dx)
        add(row.data() + pad_ + dx, width, sum);
    }
    for (std::int64_t y = 0; y < g_.height; ++y) {
      float* mean = line(mean_, y);
      const std::int64_t end = std::min(g_.height - 1, y + reach_y_);
      for (std::int64_t from = std::max<std::int64_t>(0, y - reach_y_); from <= end; ++from)
        add(line(share_, from), width, mean);
      multiply(inverse_width_.data(), inverse_height_[static_cast<std::size_t>(y)], width, mean);
      std::fill(mean - pad_, mean, mean[0]);
      std::fill(mean + width, mean + width + pad_, mean[width - 1]);
    }
  }

  // The row of means `dy` below y, `dx` to the right; centres stay inside the image.
  const float* row(std::int64_t y, std::int64_t dy, std::int64_t dx) {
    return line(mean_, std::clamp<std::int64_t>(y + dy, 0, g_.height - 1)) + dx;
  }

 private:
  float* line(std::vector<float>& plane, std::int64_t y) {
    return plane.data() + y * stride_ + pad_;
  }

  const HistogramGradient& g_;
  std::int64_t reach_x_, reach_y_, pad_, stride_;
  std::vector<float> share_, mean_, row_;
  std::vector<float> inverse_height_, inverse_width_;
};

void check(const HistogramGradient& g) {
  const std::int64_t count = g.channel_count * g.height * g.width;
  for (std::int64_t i = 0; i < count; ++i)
    if (!(g.channels[i] >= 0 && g.channels[i] <= 1))
      throw std::invalid_argument("histogram_gradient: channels must lie in [0, 1], got " +
                                  std::to_string(g.channels[i]));
}

} // namespace

void histogram_gradient(const HistogramGradient& g) {
  check(g);
  const std::int64_t pixels = g.height * g.width;
  if (pixels == 0) return;
  const std::int64_t d = g.distance;
  const auto diagonal =
      static_cast<std::int64_t>(std::lround(static_cast<double>(d) / std::sqrt(2.0)));
  // At most to the other end of the image, where the centres stop.
  const auto down = [&](std::int64_t step) { return std::min(step, g.height); };
  const auto right = [&](std::int64_t step) { return std::min(step, g.width); };
  const std::array<std::array<std::int64_t, 2>, 4> steps{{{0, right(d)},
                                                          {down(d), 0},
                                                          {down(diagonal), right(diagonal)},
                                                          {down(diagonal), -right(diagonal)}}};
  std::vector<float> sums(static_cast<std::size_t>(4 * pixels), 0.0F); // [4, H, W]
  WindowHistograms histograms(g);
  for (std::int64_t channel = 0; channel < g.channel_count; ++channel)
    for (std::int64_t bin = 0; bin < g.bins; ++bin) {
      histograms.compute(channel, bin);
      for (std::size_t o = 0; o < steps.size(); ++o) {
        const auto [dy, dx] = steps[o];
        for (std::int64_t y = 0; y < g.height; ++y)
          add_chi_square(histograms.row(y, dy, dx), histograms.row(y, -dy, -dx), g.width,
                         sums.data() + static_cast<std::int64_t>(o) * pixels + y * g.width);
      }
    }
  const float* s = sums.data();
  sqrt_of_max(s, s + pixels, s + 2 * pixels, s + 3 * pixels, pixels, g.strength);
}

} // namespace point2mask
