#include "geodesic_sweep.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>

namespace point2mask::geodesic {
namespace {

constexpr std::int64_t kBlock = 32; // columns: 1 KiB of distances

} // namespace

template <typename T>
Sweeps<T>::Sweeps(std::int64_t height, std::int64_t width)
    : height_(height),
      width_(width),
      blocks_((width + kBlock - 1) / kBlock),
      distance_(static_cast<std::size_t>(height * width * kLanes<T>)),
      from_above_(static_cast<std::size_t>(height * blocks_)),
      from_below_(static_cast<std::size_t>(height * blocks_)),
      lowered_(static_cast<std::size_t>(blocks_)) {}

template <typename T>
std::int64_t Sweeps<T>::begin(std::int64_t block) const {
  return block * kBlock;
}

template <typename T>
std::int64_t Sweeps<T>::end(std::int64_t block) const {
  return std::min(width_, (block + 1) * kBlock);
}

template <typename T>
bool Sweeps<T>::run(const T* edge_cost, std::span<const std::span<const std::int32_t>> seeds,
                    std::int64_t mean_visits) {
  edge_cost_ = edge_cost;
  std::fill(distance_.begin(), distance_.end(), std::numeric_limits<T>::infinity());
  std::fill(from_above_.begin(), from_above_.end(), 0);
  std::fill(from_below_.begin(), from_below_.end(), 0);
  for (std::size_t lane = 0; lane < seeds.size(); ++lane)
    for (const std::int32_t seed : seeds[lane])
      if (seed >= 0) distance_[static_cast<std::size_t>(seed) * kLanes<T> + lane] = 0;
  for (const std::span<const std::int32_t> points : seeds)
    for (const std::int32_t seed : points)
      if (seed >= 0) plant(seed);
  // Even an idle sweep reads the flags of every row: it counts, so that mazes come to an end too.
  for (visits_ = 0;; visits_ += height_ / 8) {
    const bool down = sweep(true);
    const bool up = sweep(false);
    if (!down && !up) return true;
    if (visits_ > mean_visits * height_ * blocks_) return false;
  }
}

// Spreads a seed along its row.
template <typename T>
void Sweeps<T>::plant(std::int64_t pixel) {
  const std::int64_t y = pixel / width_, seeded = pixel % width_ / kBlock;
  lowered_[seeded] = kAny | kFirst | kLast;
  for (std::int64_t b = seeded; b < blocks_ && (b == seeded || lowered_[b - 1] & kLast); ++b)
    lowered_[b] |= right(y, b);
  carry_left(y);
  notify(y);
}

template <typename T>
bool Sweeps<T>::sweep(bool down) {
  const Flags& flags = down ? from_above_ : from_below_;
  bool any = false;
  for (std::int64_t i = 0; i < height_; ++i) {
    const std::int64_t y = down ? i : height_ - 1 - i;
    const auto first = flags.begin() + y * blocks_;
    if (std::find(first, first + blocks_, 1) == first + blocks_) continue;
    visit(y, down);
    any = true;
  }
  return any;
}

template <typename T>
void Sweeps<T>::visit(std::int64_t y, bool down) {
  unsigned char* flags = (down ? from_above_ : from_below_).data() + y * blocks_;
  const std::int64_t from = down ? y - 1 : y + 1;
  const StepsIntoRow<T> steps{.straight = cost(down ? 0 : 4, from),
                              .from_left = cost(down ? 2 : 7, from),
                              .from_right = cost(down ? 3 : 6, from),
                              .along = cost(1, y)};
  for (std::int64_t b = 0; b < blocks_; ++b) {
    if (flags[b]) {
      flags[b] = 0;
      ++visits_;
      lowered_[b] = pull(row(y), row(from), steps, begin(b), end(b), width_);
    } else if (b > 0 && lowered_[b - 1] & kLast) {
      lowered_[b] = right(y, b);
    }
  }
  carry_left(y);
  notify(y);
}

template <typename T>
void Sweeps<T>::carry_left(std::int64_t y) {
  for (std::int64_t b = blocks_ - 1; b >= 0; --b)
    if (lowered_[b] || (b + 1 < blocks_ && lowered_[b + 1] & kFirst)) lowered_[b] |= left(y, b);
}

// Tells the rows above and below what was lowered in row y.
template <typename T>
void Sweeps<T>::notify(std::int64_t y) {
  const auto mark = [&](unsigned char* flags) {
    for (std::int64_t b = 0; b < blocks_; ++b) {
      if (!lowered_[b]) continue;
      flags[b] = 1;
      if (lowered_[b] & kFirst && b > 0) flags[b - 1] = 1;
      if (lowered_[b] & kLast && b + 1 < blocks_) flags[b + 1] = 1;
    }
  };
  if (y + 1 < height_) mark(from_above_.data() + (y + 1) * blocks_);
  if (y > 0) mark(from_below_.data() + (y - 1) * blocks_);
  std::fill(lowered_.begin(), lowered_.end(), 0);
}

template <typename T>
unsigned Sweeps<T>::right(std::int64_t y, std::int64_t block) {
  const std::int64_t first = std::max<std::int64_t>(begin(block), 1);
  return first < end(block) ? scan_right(row(y), cost(1, y), first, end(block)) : 0;
}

template <typename T>
unsigned Sweeps<T>::left(std::int64_t y, std::int64_t block) {
  const std::int64_t last = std::min(end(block), width_ - 1);
  return begin(block) < last ? scan_left(row(y), cost(5, y), begin(block), last) : 0;
}

template <typename T>
void Sweeps<T>::copy_to(std::span<T* const> distance) const {
  const std::int64_t pixels = height_ * width_;
  for (std::int64_t start = 0; start < pixels; start += kBlock)
    for (std::size_t lane = 0; lane < distance.size(); ++lane)
      for (std::int64_t i = start; i < std::min(pixels, start + kBlock); ++i)
        distance[lane][i] = distance_[static_cast<std::size_t>(i) * kLanes<T> + lane];
}

template <typename T>
std::vector<std::int32_t> Sweeps<T>::unfinished() const {
  std::vector<std::int32_t> pixels;
  // A lowered block marks itself in the rows beside it until they pull. The sweep up comes last and
  // serves the marks it makes for the rows above, so only those for the rows below can be left.
  for (std::int64_t y = 0; y + 1 < height_; ++y)
    for (std::int64_t b = 0; b < blocks_; ++b)
      if (from_above_[static_cast<std::size_t>((y + 1) * blocks_ + b)])
        for (std::int64_t x = begin(b); x < end(b); ++x)
          pixels.push_back(static_cast<std::int32_t>(y * width_ + x));
  return pixels;
}

template class Sweeps<float>;
template class Sweeps<double>;

} // namespace point2mask::geodesic
