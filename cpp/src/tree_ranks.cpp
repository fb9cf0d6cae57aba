#include "tree_ranks.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "point2mask/multiarch.hpp"

namespace point2mask::tree {
namespace {

// Its highest bit is set if the entry is below 0 or above its bound. To be compiled with its
// caller's instruction set.
POINT2MASK_INLINE std::uint32_t signs(std::int32_t entry, std::int32_t highest) {
  return static_cast<std::uint32_t>(entry) |
         (static_cast<std::uint32_t>(highest) - static_cast<std::uint32_t>(entry));
}

// Without a branch in its loops.
POINT2MASK_MULTIARCH bool all_within(const std::int32_t* order, const std::int32_t* parent,
                                     std::int32_t pixels) {
  std::uint32_t outside = signs(parent[0], 0);
  for (std::int32_t i = 0; i < pixels; ++i) outside |= signs(order[i], pixels - 1);
  for (std::int32_t i = 1; i < pixels; ++i) outside |= signs(parent[i], i - 1);
  return outside >> 31U == 0;
}

bool within_range(const Orders& o, std::int64_t image) {
  return o.pixels <= std::numeric_limits<std::int32_t>::max() &&
         all_within(o.order + image * o.pixels, o.parent + image * o.pixels,
                    static_cast<std::int32_t>(o.pixels));
}

// Says what is wrong with an image, of which something is.
[[noreturn]] void reject(const Orders& o, std::int64_t image) {
  const std::int32_t* order = o.order + image * o.pixels;
  const std::int32_t* parent = o.parent + image * o.pixels;
  const auto complain = [&](const char* what, std::int32_t got) {
    throw std::invalid_argument(std::string(o.op) + ": " + what + ", got " + std::to_string(got) +
                                " in image " + std::to_string(image));
  };
  std::vector<bool> seen(static_cast<std::size_t>(o.pixels));
  for (std::int64_t i = 0;; ++i) {
    const std::int32_t pixel = order[i];
    if (pixel < 0 || pixel >= o.pixels || seen[static_cast<std::size_t>(pixel)])
      complain("order must hold every pixel once", pixel);
    if (parent[i] < 0 || parent[i] >= std::max<std::int64_t>(i, 1))
      complain("parent must be a rank below its child's", parent[i]);
    seen[static_cast<std::size_t>(pixel)] = true;
  }
}

} // namespace

// As many pixels as ranks: where one comes twice, another does not come.
void check_order(const Orders& o, std::int64_t image) {
  if (!within_range(o, image)) reject(o, image);
  const std::int32_t* order = o.order + image * o.pixels;
  std::vector<std::uint8_t> seen(static_cast<std::size_t>(o.pixels));
  for (std::int64_t i = 0; i < o.pixels; ++i) seen[static_cast<std::size_t>(order[i])] = 1;
  if (std::count(seen.begin(), seen.end(), 1) != o.pixels) reject(o, image);
}

std::vector<std::int32_t> ranks_of(const Orders& o, const Executor& executor) {
  std::vector<std::int32_t> ranks(static_cast<std::size_t>(o.images * o.pixels), -1);
  executor.for_range(o.images, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t image = begin; image < end; ++image) {
      if (!within_range(o, image)) reject(o, image);
      const std::int32_t* order = o.order + image * o.pixels;
      std::int32_t* rank = ranks.data() + image * o.pixels;
      for (std::int64_t i = 0; i < o.pixels; ++i) rank[order[i]] = static_cast<std::int32_t>(i);
      std::int32_t least = 0; // negative if a pixel has no rank
      for (std::int64_t p = 0; p < o.pixels; ++p) least = std::min(least, rank[p]);
      if (least < 0) reject(o, image);
    }
  });
  return ranks;
}

} // namespace point2mask::tree
