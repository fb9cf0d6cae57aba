#include "tree_rows.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>

#include "point2mask/multiarch.hpp"

namespace point2mask::tree {
namespace {

// Pixels turned from planes into rows at a time: the rows of a tile are built in the first-level
// cache by shuffles and then copied whole to where their ranks put them.
constexpr int kTile = 16;

template <int kLanes, typename T>
POINT2MASK_INLINE void tile_to_rows(const T* __restrict tile, T* __restrict rows) {
  for (int p = 0; p < kTile; ++p)
    for (int c = 0; c < kLanes; ++c) rows[p * kLanes + c] = tile[c * kTile + p];
}

template <int kLanes, typename T>
POINT2MASK_INLINE void rows_to_tile(const T* __restrict rows, T* __restrict tile) {
  for (int c = 0; c < kLanes; ++c)
    for (int p = 0; p < kTile; ++p) tile[c * kTile + p] = rows[p * kLanes + c];
}

template <int kLanes, typename T>
POINT2MASK_INLINE void to_rows(const PixelsToRows<T>& a) {
  T tile[kLanes * kTile] = {};
  T turned[kLanes * kTile];
  for (std::int64_t begin = 0; begin < a.pixels; begin += kTile) {
    const int count = static_cast<int>(std::min<std::int64_t>(kTile, a.pixels - begin));
    for (int c = 0; c < kLanes && c < a.planes.count; ++c) {
      const T* plane = a.planes.plane[static_cast<std::size_t>(c)];
      T* line = tile + c * kTile;
      if (plane == nullptr)
        std::fill_n(line, kTile, T(1));
      else if (count == kTile)
        std::memcpy(line, plane + begin, kTile * sizeof(T));
      else
        std::copy_n(plane + begin, count, line);
      if (a.divisor != nullptr)
        for (int p = 0; p < count; ++p) line[p] /= a.divisor[begin + p];
    }
    tile_to_rows<kLanes>(tile, turned);
    for (int p = 0; p < count; ++p)
      std::memcpy(a.rows + std::int64_t{a.rank[begin + p]} * kLanes, turned + p * kLanes,
                  kLanes * sizeof(T));
  }
}

template <int kLanes, typename T>
POINT2MASK_INLINE void to_pixels(const RowsToPixels<T>& a) {
  T tile[kLanes * kTile];
  T turned[kLanes * kTile] = {};
  for (std::int64_t begin = 0; begin < a.pixels; begin += kTile) {
    const int count = static_cast<int>(std::min<std::int64_t>(kTile, a.pixels - begin));
    for (int p = 0; p < count; ++p)
      std::memcpy(turned + p * kLanes, a.rows + std::int64_t{a.rank[begin + p]} * kLanes,
                  kLanes * sizeof(T));
    rows_to_tile<kLanes>(turned, tile);
    const T* divisor = tile + a.planes.count * kTile;
    for (int c = 0; c < kLanes && c < a.planes.count; ++c) {
      T* line = tile + c * kTile;
      if (a.divide)
        for (int p = 0; p < count; ++p) line[p] /= divisor[p];
      T* plane = a.planes.plane[static_cast<std::size_t>(c)];
      if (count == kTile)
        std::memcpy(plane + begin, line, kTile * sizeof(T));
      else
        std::copy_n(line, count, plane + begin);
    }
  }
}

void rank_image(const char* op, const std::int32_t* order, const std::int32_t* parent,
                std::int64_t image, std::int64_t pixels, std::int32_t* rank) {
  const auto reject = [&](const char* what, std::int32_t got) {
    throw std::invalid_argument(std::string(op) + ": " + what + ", got " + std::to_string(got) +
                                " in image " + std::to_string(image));
  };
  std::fill_n(rank, pixels, -1);
  for (std::int64_t i = 0; i < pixels; ++i) {
    const std::int32_t pixel = order[i];
    if (pixel < 0 || pixel >= pixels || rank[pixel] >= 0)
      reject("order must hold every pixel once", pixel);
    if (parent[i] < 0 || parent[i] >= std::max<std::int64_t>(i, 1))
      reject("parent must be a rank below its child's", parent[i]);
    rank[pixel] = static_cast<std::int32_t>(i);
  }
}

} // namespace

int lanes_for(std::int64_t count) {
  return static_cast<int>(
      std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(count, 1))));
}

std::vector<std::int32_t> ranks_of(const char* op, const std::int32_t* order,
                                   const std::int32_t* parent, std::int64_t images,
                                   std::int64_t pixels, const Executor& executor) {
  std::vector<std::int32_t> rank(static_cast<std::size_t>(images * pixels));
  executor.for_range(images, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t image = begin; image < end; ++image)
      rank_image(op, order + image * pixels, parent + image * pixels, image, pixels,
                 rank.data() + image * pixels);
  });
  return rank;
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
