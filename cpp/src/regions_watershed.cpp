// The watershed: pixels wait in a queue, the lowest level first, then the earliest. Ties are broken
// as scikit-image breaks them, so that its labels are ours. Markers all enter at time 0: those of
// one level leave as a binary heap of all that waits happens to hold them, so where there are such
// markers the queue is that heap. Else the order is total, and a quicker queue gives the same.

#include <algorithm>
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

// All of a pixel in a quarter of a cache line: pixels come in no order that a cache foresees.
struct Cell {
  std::uint32_t level; // of its edge
  std::int32_t label;
  std::uint32_t time; // of entry, where it waits; so is the next pixel of its list
  std::uint32_t next;
};

struct Item {
  std::uint64_t order; // level, then the time of entry
  std::uint32_t pixel;
};

POINT2MASK_INLINE std::uint64_t order_of(std::uint32_t level, std::uint32_t time) {
  return static_cast<std::uint64_t>(level) << 32U | time;
}

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

// A heap of the lowest levels alone. The others, which are most, wait in lists, one for each range
// of levels: levels never fall. What waits in a list waits at its own level.
class Buckets {
 public:
  Buckets(std::uint32_t lowest, std::uint32_t highest, Cell* cells)
      : lowest_(lowest),
        shift_(std::max<unsigned>(std::bit_width(highest - lowest), kBucketBits) - kBucketBits),
        first_(((highest - lowest) >> shift_) + std::size_t{1}, kNone),
        cells_(cells) {}

  bool empty() const { return lowest_levels_.empty() && count_ == 0; }

  POINT2MASK_INLINE void push(Item item) {
    const std::size_t bucket = (static_cast<std::uint32_t>(item.order >> 32U) - lowest_) >> shift_;
    if (bucket <= bucket_) return lowest_levels_.push(item);
    cells_[item.pixel].time = static_cast<std::uint32_t>(item.order);
    cells_[item.pixel].next = first_[bucket];
    first_[bucket] = item.pixel;
    ++count_;
  }

  POINT2MASK_INLINE Item pop() {
    while (lowest_levels_.empty())
      for (std::uint32_t p = first_[++bucket_]; p != kNone; p = cells_[p].next, --count_)
        lowest_levels_.push({.order = order_of(cells_[p].level, cells_[p].time), .pixel = p});
    return lowest_levels_.pop();
  }

 private:
  static constexpr unsigned kBucketBits = 16;
  static constexpr std::uint32_t kNone = UINT32_MAX;
  std::uint32_t lowest_;
  unsigned shift_;
  std::vector<std::uint32_t> first_; // pixel
  Cell* cells_;
  std::size_t bucket_ = 0, count_ = 0;
  Heap lowest_levels_;
};

// Unsigned numbers in the order of the values; -0 is 0.
std::uint32_t level_of(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value + 0.0F);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

void check(const Watershed& w) {
  // Numbers of pixels, border included, are below kNone; told without the product, which may be
  // beyond an int64 where one side is 0.
  if ((w.height + 2) > (UINT32_MAX - 1LL) / (w.width + 2))
    throw std::invalid_argument(
        "watershed: edge must have (H + 2) (W + 2) below 4294967295, got H=" +
        std::to_string(w.height) + ", W=" + std::to_string(w.width));
  for (std::int64_t i = 0; i < w.height * w.width; ++i) {
    if (std::isnan(w.edge[i])) throw std::invalid_argument("watershed: edge must not be NaN");
    if (w.markers[i] < kFree)
      throw std::invalid_argument("watershed: markers must be at least -1, got " +
                                  std::to_string(w.markers[i]));
  }
}

// The image within a border that counts as flooded, so that no step leaves it.
struct Field {
  std::size_t pitch;
  std::vector<Cell> cells;
  std::vector<Item> markers; // in the order of their pixels

  explicit Field(const Watershed& w)
      : pitch(static_cast<std::size_t>(w.width) + 2),
        cells(pitch * (static_cast<std::size_t>(w.height) + 2)) {
    for (std::int64_t y = 0, i = 0; y < w.height; ++y)
      for (std::int64_t x = 0; x < w.width; ++x, ++i) {
        const std::size_t at = place(y, x);
        cells[at] = {.level = level_of(w.edge[i]), .label = w.markers[i], .time = 0, .next = 0};
        if (cells[at].label != kFree)
          markers.push_back(
              {.order = order_of(cells[at].level, 0), .pixel = static_cast<std::uint32_t>(at)});
      }
  }
  std::size_t place(std::int64_t y, std::int64_t x) const {
    return (static_cast<std::size_t>(y) + 1) * pitch + static_cast<std::size_t>(x) + 1;
  }
};

template <typename Queue>
void flood(Field& f, Queue queue) {
  Cell* cells = f.cells.data();
  for (const Item& marker : f.markers) queue.push(marker);
  for (std::uint32_t time = 0; !queue.empty();) {
    const Item item = queue.pop();
    const std::size_t at = item.pixel;
    const auto reached = static_cast<std::uint32_t>(item.order >> 32U);
    for (const std::size_t next : {at - f.pitch, at - 1, at + 1, at + f.pitch}) {
      if (cells[next].label != kFree) continue;
      cells[next].label = cells[at].label;
      queue.push({.order = order_of(std::max(cells[next].level, reached), ++time),
                  .pixel = static_cast<std::uint32_t>(next)});
    }
  }
}

bool has_ties(const std::vector<Item>& markers) {
  std::vector<std::uint64_t> orders(markers.size());
  std::transform(markers.begin(), markers.end(), orders.begin(),
                 [](const Item& marker) { return marker.order; });
  std::sort(orders.begin(), orders.end());
  return std::adjacent_find(orders.begin(), orders.end()) != orders.end();
}

} // namespace

void watershed(const Watershed& w) {
  check(w);
  Field field(w);
  if (field.markers.empty() || has_ties(field.markers)) {
    flood(field, Heap());
  } else {
    std::uint32_t lowest = UINT32_MAX, highest = 0;
    for (const Item& marker : field.markers)
      lowest = std::min(lowest, static_cast<std::uint32_t>(marker.order >> 32U));
    for (const Cell& cell : field.cells) highest = std::max(highest, cell.level);
    flood(field, Buckets(lowest, highest, field.cells.data()));
  }
  for (std::int64_t y = 0; y < w.height; ++y)
    for (std::int64_t x = 0; x < w.width; ++x)
      w.labels[y * w.width + x] = field.cells[field.place(y, x)].label;
}

} // namespace point2mask
