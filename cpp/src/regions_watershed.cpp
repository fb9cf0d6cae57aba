// The watershed: one heap of pixels, the lowest level first. Ties are broken as scikit-image breaks
// them, so that its labels are ours; of markers at one level, that is as a binary heap happens to
// hold them, so this is the same heap.

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "point2mask/multiarch.hpp"
#include "point2mask/regions.hpp"

namespace point2mask {
namespace {

constexpr std::int32_t kFree = -1;

struct Item {
  std::uint64_t order; // level, then the time of entry
  std::uint32_t pixel;
};

class Heap {
 public:
  bool empty() const { return items_.empty(); }

  POINT2MASK_INLINE void push(Item item) {
    std::size_t hole = items_.size();
    items_.push_back(item);
    while (hole > 0 && item.order < items_[(hole - 1) / 2].order) {
      items_[hole] = items_[(hole - 1) / 2];
      hole = (hole - 1) / 2;
    }
    items_[hole] = item;
  }

  POINT2MASK_INLINE Item pop() {
    const Item first = items_.front(), last = items_.back();
    items_.pop_back();
    const std::size_t count = items_.size();
    if (count == 0) return first;
    std::size_t hole = 0;
    for (std::size_t child = 1; child < count; child = 2 * hole + 1) {
      if (child + 1 < count) child += items_[child + 1].order < items_[child].order ? 1U : 0U;
      if (!(items_[child].order < last.order)) break;
      items_[hole] = items_[child];
      hole = child;
    }
    items_[hole] = last;
    return first;
  }

 private:
  std::vector<Item> items_;
};

// Unsigned numbers in the order of the values; -0 is 0.
std::uint32_t level(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value + 0.0F);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

void check(const Watershed& w) {
  for (std::int64_t i = 0; i < w.height * w.width; ++i) {
    if (std::isnan(w.edge[i])) throw std::invalid_argument("watershed: edge must not be NaN");
    if (w.markers[i] < kFree)
      throw std::invalid_argument("watershed: markers must be at least -1, got " +
                                  std::to_string(w.markers[i]));
  }
  if (w.height * w.width > INT32_MAX)
    throw std::invalid_argument("watershed: edge must have at most 2147483647 pixels, got " +
                                std::to_string(w.height * w.width));
}

} // namespace

void watershed(const Watershed& w) {
  check(w);
  // With a border that counts as flooded, so that no step leaves the image.
  const auto pitch = static_cast<std::size_t>(w.width) + 2;
  const auto place = [&](std::int64_t y) { return (static_cast<std::size_t>(y) + 1) * pitch + 1; };
  std::vector<std::int32_t> label(pitch * (static_cast<std::size_t>(w.height) + 2), 0);
  std::vector<std::uint32_t> own_level(label.size());
  Heap heap;
  for (std::int64_t y = 0, i = 0; y < w.height; ++y)
    for (std::size_t x = 0, at = place(y); x + 2 < pitch; ++x, ++at, ++i) {
      label[at] = w.markers[i];
      own_level[at] = level(w.edge[i]);
      if (label[at] != kFree)
        heap.push(
            {static_cast<std::uint64_t>(own_level[at]) << 32U, static_cast<std::uint32_t>(at)});
    }
  for (std::uint32_t time = 0; !heap.empty();) {
    const Item item = heap.pop();
    const std::size_t at = item.pixel;
    const auto reached = static_cast<std::uint32_t>(item.order >> 32U);
    for (const std::size_t next : {at - pitch, at - 1, at + 1, at + pitch}) {
      if (label[next] != kFree) continue;
      label[next] = label[at];
      const std::uint64_t higher = own_level[next] < reached ? reached : own_level[next];
      heap.push({higher << 32U | ++time, static_cast<std::uint32_t>(next)});
    }
  }
  for (std::int64_t y = 0; y < w.height; ++y)
    for (std::int64_t x = 0; x < w.width; ++x)
      w.labels[y * w.width + x] = label[place(y) + static_cast<std::size_t>(x)];
}

} // namespace point2mask
