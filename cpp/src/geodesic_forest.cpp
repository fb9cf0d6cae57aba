#include "geodesic_forest.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <limits>

#include "point2mask/grid.hpp"
#include "point2mask/multiarch.hpp"

namespace point2mask::geodesic {
namespace {

// Directions by decreasing index of the pixel they lead to.
constexpr std::array<unsigned char, 8> kDecreasing{2, 0, 3, 1, 5, 7, 4, 6};

// Steps from a run of pixels to as many others, all in one direction: sets its bit where
// fl(from + cost) == to and finite.
template <typename T>
POINT2MASK_INLINE void mark_row(const T* from, const T* cost, const T* to, std::int64_t count,
                                unsigned char bit, unsigned char* tight) {
  for (std::int64_t i = 0; i < count; ++i) {
    const T through = from[i] + cost[i];
    const bool equal = through == to[i] && to[i] < std::numeric_limits<T>::infinity();
    const unsigned set = equal ? bit : 0U;
    tight[i] = static_cast<unsigned char>(tight[i] | set);
  }
}

POINT2MASK_MULTIARCH void mark(const float* from, const float* cost, const float* to,
                               std::int64_t count, unsigned char bit, unsigned char* tight) {
  mark_row(from, cost, to, count, bit, tight);
}
POINT2MASK_MULTIARCH void mark(const double* from, const double* cost, const double* to,
                               std::int64_t count, unsigned char bit, unsigned char* tight) {
  mark_row(from, cost, to, count, bit, tight);
}

} // namespace

template <typename T>
Forest<T>::Forest(std::int64_t height, std::int64_t width)
    : height_(height),
      width_(width),
      tight_(static_cast<std::size_t>(height * width)),
      hops_(tight_.size()) {}

template <typename T>
void Forest<T>::solve(const T* edge_cost, const T* distance, const T* grad_distance,
                      const std::int32_t* seeds, std::int64_t points, Flow& out) {
  find_tight(edge_cost, distance);
  search(seeds, points, out);
  out.flow.assign(grad_distance, grad_distance + tight_.size());
  // Breadth first, all successors of a pixel come after it: backwards, their flows are complete.
  for (std::size_t i = order_.size(); i-- > 0;) gather(order_[i], out);
}

template <typename T>
void Forest<T>::find_tight(const T* edge_cost, const T* distance) {
  std::fill(tight_.begin(), tight_.end(), 0);
  for (std::size_t d = 0; d < kOffsets.size(); ++d) {
    const auto [dy, dx] = kOffsets[d];
    const std::int64_t x0 = std::max(0, -dx), count = width_ - (dx != 0);
    for (std::int64_t y = std::max(0, -dy); y < height_ - std::max(0, dy); ++y) {
      const std::int64_t at = y * width_ + x0;
      mark(distance + at, edge_cost + static_cast<std::int64_t>(d) * height_ * width_ + at,
           distance + at + dy * width_ + dx, count, static_cast<unsigned char>(1U << d),
           tight_.data() + at);
    }
  }
}

// Breadth-first levels over tight steps; of the steps that enter a pixel from the level before, the
// one of smallest direction stays.
template <typename T>
void Forest<T>::search(const std::int32_t* seeds, std::int64_t points, Flow& out) {
  std::fill(hops_.begin(), hops_.end(), -1);
  out.entry.assign(tight_.size(), kNoEntry);
  order_.clear();
  for (std::int64_t i = 0; i < points; ++i) {
    if (seeds[i] < 0 || hops_[static_cast<std::size_t>(seeds[i])] == 0) continue;
    hops_[static_cast<std::size_t>(seeds[i])] = 0;
    order_.push_back(seeds[i]);
  }
  for (std::size_t next = 0; next < order_.size(); ++next) {
    const std::int32_t u = order_[next];
    const std::int32_t hops = hops_[static_cast<std::size_t>(u)] + 1;
    for (unsigned bits = tight_[static_cast<std::size_t>(u)]; bits != 0; bits &= bits - 1) {
      const auto d = static_cast<unsigned char>(std::countr_zero(bits));
      const auto v = static_cast<std::size_t>(u + kOffsets[d].dy * width_ + kOffsets[d].dx);
      if (hops_[v] < 0) {
        hops_[v] = hops;
        order_.push_back(static_cast<std::int32_t>(v));
      }
      if (hops_[v] == hops) out.entry[v] = std::min(out.entry[v], d);
    }
  }
}

template <typename T>
void Forest<T>::gather(std::int32_t pixel, Flow& out) const {
  double sum = out.flow[static_cast<std::size_t>(pixel)];
  const unsigned tight = tight_[static_cast<std::size_t>(pixel)];
  for (const unsigned char d : kDecreasing) {
    if (!(tight >> d & 1U)) continue;
    const auto v = static_cast<std::size_t>(pixel + kOffsets[d].dy * width_ + kOffsets[d].dx);
    if (out.entry[v] == d) sum += out.flow[v];
  }
  out.flow[static_cast<std::size_t>(pixel)] = sum;
}

template class Forest<float>;
template class Forest<double>;

} // namespace point2mask::geodesic
