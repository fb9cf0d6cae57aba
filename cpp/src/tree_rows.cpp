#include "tree_rows.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "point2mask/multiarch.hpp"
#include "tree_vectors.hpp"

namespace point2mask::tree {
namespace {

// Planes are read and written a strip of pixels at a time: where a plane is a power of two long,
// all planes meet in the same few places of the caches, and shorter pieces drive out each other's
// prefetched lines.
template <typename T>
constexpr int kStrip = 1024 / sizeof(T);

// Rows are turned in squares of vectors.
template <typename T>
constexpr int kSide = 16 / sizeof(T);
template <typename T>
using Vector = typename Vectors<T, 16>::Vector;

// How many pixels ahead of its use a row is asked for: rows lie wherever their ranks put them.
constexpr int kAhead = 32;

POINT2MASK_INLINE void transpose(Vector<float> (&v)[4]) {
  const Vector<float> a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
  const Vector<float> b = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
  const Vector<float> c = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
  const Vector<float> d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
  v[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  v[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  v[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  v[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}
POINT2MASK_INLINE void transpose(Vector<double> (&v)[2]) {
  const Vector<double> a = __builtin_shufflevector(v[0], v[1], 0, 2);
  v[1] = __builtin_shufflevector(v[0], v[1], 1, 3);
  v[0] = a;
}

template <int kLanes, typename T>
POINT2MASK_INLINE void strip_to_rows(const T* strip, const std::int32_t* rank, int count, T* rows) {
  constexpr int kBlock = kSide<T>;
  int p = 0;
  if constexpr (kLanes >= kBlock) {
    for (; p + kBlock <= count; p += kBlock) {
      for (int ahead = p + kAhead; ahead < std::min(p + kAhead + kBlock, count); ++ahead)
        __builtin_prefetch(rows + std::int64_t{rank[ahead]} * kLanes, 1);
      for (int c = 0; c < kLanes; c += kBlock) {
        Vector<T> square[kBlock];
        for (int i = 0; i < kBlock; ++i)
          std::memcpy(&square[i], strip + (c + i) * kStrip<T> + p, sizeof square[i]);
        transpose(square);
        for (int i = 0; i < kBlock; ++i)
          std::memcpy(rows + std::int64_t{rank[p + i]} * kLanes + c, &square[i], sizeof square[i]);
      }
    }
  }
  for (; p < count; ++p)
    for (int c = 0; c < kLanes; ++c)
      rows[std::int64_t{rank[p]} * kLanes + c] = strip[c * kStrip<T> + p];
}

template <int kLanes, typename T>
POINT2MASK_INLINE void rows_to_strip(const T* rows, const std::int32_t* rank, int count, T* strip) {
  constexpr int kBlock = kSide<T>;
  int p = 0;
  if constexpr (kLanes >= kBlock) {
    for (; p + kBlock <= count; p += kBlock) {
      for (int ahead = p + kAhead; ahead < std::min(p + kAhead + kBlock, count); ++ahead)
        __builtin_prefetch(rows + std::int64_t{rank[ahead]} * kLanes);
      for (int c = 0; c < kLanes; c += kBlock) {
        Vector<T> square[kBlock];
        for (int i = 0; i < kBlock; ++i)
          std::memcpy(&square[i], rows + std::int64_t{rank[p + i]} * kLanes + c, sizeof square[i]);
        transpose(square);
        for (int i = 0; i < kBlock; ++i)
          std::memcpy(strip + (c + i) * kStrip<T> + p, &square[i], sizeof square[i]);
      }
    }
  }
  for (; p < count; ++p)
    for (int c = 0; c < kLanes; ++c)
      strip[c * kStrip<T> + p] = rows[std::int64_t{rank[p]} * kLanes + c];
}

template <int kLanes, typename T>
POINT2MASK_INLINE void to_rows(const PixelsToRows<T>& a) {
  T strip[kLanes * kStrip<T>] = {};
  for (std::int64_t begin = 0; begin < a.pixels; begin += kStrip<T>) {
    const int count = static_cast<int>(std::min<std::int64_t>(kStrip<T>, a.pixels - begin));
    for (int c = 0; c < kLanes && c < a.planes.count; ++c) {
      const T* plane = a.planes.plane[static_cast<std::size_t>(c)];
      T* line = strip + c * kStrip<T>;
      if (plane == nullptr)
        std::fill_n(line, count, T(1));
      else
        std::copy_n(plane + begin, count, line);
      if (a.divisor != nullptr)
        for (int p = 0; p < count; ++p) line[p] /= a.divisor[begin + p];
    }
    strip_to_rows<kLanes>(strip, a.rank + begin, count, a.rows);
  }
}

template <int kLanes, typename T>
POINT2MASK_INLINE void to_pixels(const RowsToPixels<T>& a) {
  T strip[kLanes * kStrip<T>];
  for (std::int64_t begin = 0; begin < a.pixels; begin += kStrip<T>) {
    const int count = static_cast<int>(std::min<std::int64_t>(kStrip<T>, a.pixels - begin));
    rows_to_strip<kLanes>(a.rows, a.rank + begin, count, strip);
    for (int c = 0; c < kLanes && c < a.planes.count; ++c) {
      T* plane = a.planes.plane[static_cast<std::size_t>(c)] + begin;
      const T* line = strip + c * kStrip<T>;
      if (a.divisor == nullptr || a.divisor + begin == plane)
        std::copy_n(line, count, plane);
      else
        for (int p = 0; p < count; ++p) plane[p] = line[p] / a.divisor[begin + p];
    }
  }
}

} // namespace

int lanes_for(std::int64_t count) {
  return static_cast<int>(
      std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(count, kMinLanes))));
}

int block_lanes(std::int64_t pixels, std::size_t entry) {
  constexpr std::int64_t kCached = 2'097'152; // 2 MiB
  const std::int64_t row = static_cast<std::int64_t>(entry) * pixels;
  return row * kMaxLanes > kCached && row * kMaxLanes / 2 <= kCached ? kMaxLanes / 2 : kMaxLanes;
}

POINT2MASK_MULTIARCH void pixels_to_rows(const PixelsToRows<float>& a) {
  with_lanes(a.lanes, [&]<int kLanes>() __attribute__((always_inline)) { to_rows<kLanes>(a); });
}
POINT2MASK_MULTIARCH void pixels_to_rows(const PixelsToRows<double>& a) {
  with_lanes(a.lanes, [&]<int kLanes>() __attribute__((always_inline)) { to_rows<kLanes>(a); });
}
POINT2MASK_MULTIARCH void rows_to_pixels(const RowsToPixels<float>& a) {
  with_lanes(a.lanes, [&]<int kLanes>() __attribute__((always_inline)) { to_pixels<kLanes>(a); });
}
POINT2MASK_MULTIARCH void rows_to_pixels(const RowsToPixels<double>& a) {
  with_lanes(a.lanes, [&]<int kLanes>() __attribute__((always_inline)) { to_pixels<kLanes>(a); });
}

} // namespace point2mask::tree
