#pragma once

// What the passes over a tree share. They run on rows: one row a pixel, in the order of the ranks,
// holding a block of channels side by side. Most parents are the row before, a
// row is loaded and stored as vectors, and a block of rows stays in the cache.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

#include "huge_pages.hpp"
#include "point2mask/multiarch.hpp"

namespace point2mask::tree {

inline constexpr int kMinLanes = 2, kMaxLanes = 16;

// The narrowest row that holds `count` lanes: 2, 4, 8 or 16.
int lanes_for(std::int64_t count);

// The widest rows that are worth it: half of the lanes where these alone stay within the caches.
int block_lanes(std::int64_t pixels, std::size_t entry);

// Calls f.template operator()<kLanes>(), for loops whose length the compiler must know. To be
// compiled with its caller's instruction set, f must be always_inline.
template <typename F>
POINT2MASK_INLINE void with_lanes(int lanes, F&& f) {
  switch (lanes) {
    case kMinLanes:
      return f.template operator()<kMinLanes>();
    case 4:
      return f.template operator()<4>();
    case 8:
      return f.template operator()<8>();
    default:
      return f.template operator()<kMaxLanes>();
  }
}

// Channels of a batch, cut into blocks by their number and the image's size alone: no
// result depends on how many threads share the blocks.
struct Block {
  std::int64_t image, first, count;
};
struct Blocks {
  std::int64_t images, channels, width; // width: channels a block
  std::int64_t per_image() const { return (channels + width - 1) / width; }
  std::int64_t count() const { return images * per_image(); }
  int lanes() const { return lanes_for(std::min(width, channels)); } // of the widest row
  Block operator[](std::int64_t task) const {
    const std::int64_t first = task % per_image() * width;
    return {task / per_image(), first, std::min(width, channels - first)};
  }
};

// Rows that are written before they are read.
template <typename T>
std::unique_ptr<T[]> new_rows(std::int64_t pixels, int lanes) {
  const auto entries = static_cast<std::size_t>(pixels * lanes);
  auto rows = std::make_unique_for_overwrite<T[]>(entries);
  prefer_huge_pages(rows.get(), entries * sizeof(T));
  return rows;
}

// The lanes of a block of rows as images in pixel order.
template <typename T>
struct Planes {
  std::array<T*, kMaxLanes> plane{}; // [N] each
  int count = 0;
  void add(T* p) { plane[static_cast<std::size_t>(count++)] = p; }
};

// rows[rank[p], c] = plane c at pixel p, over divisor[p] if there is one. A null plane stands for
// ones; lanes without a plane are zero.
template <typename T>
struct PixelsToRows {
  Planes<const T> planes;
  const T* divisor; // [N] or nullptr
  const std::int32_t* rank;
  std::int64_t pixels;
  int lanes;
  T* rows; // [N, lanes]
};
void pixels_to_rows(const PixelsToRows<float>& a);
void pixels_to_rows(const PixelsToRows<double>& a);

// plane c at pixel p = rows[rank[p], c], over divisor[p] if there is one. The first plane may be
// the divisor itself, which is written as it is.
template <typename T>
struct RowsToPixels {
  const T* rows; // [N, lanes]
  const std::int32_t* rank;
  std::int64_t pixels;
  int lanes;
  const T* divisor; // [N] or nullptr
  Planes<T> planes;
};
void rows_to_pixels(const RowsToPixels<float>& a);
void rows_to_pixels(const RowsToPixels<double>& a);

} // namespace point2mask::tree
