#pragma once

// The pixel grid as the spanning tree sees it.

#include <array>
#include <cstdint>

#include "point2mask/grid.hpp"

namespace point2mask::tree {

// A pixel's steps sorted by the id of the edge they lead over: slot 2d is the reverse of direction
// d, slot 2d + 1 direction d itself; the reverse of slot s is s ^ 1. A set of slots is a byte.
struct Grid {
  std::int64_t height, width;
  std::int32_t pixels;
  unsigned slots;
  std::array<std::int32_t, 8> step; // what a slot adds to the pixel index

  Grid(std::int64_t directions, std::int64_t h, std::int64_t w)
      : height(h),
        width(w),
        pixels(static_cast<std::int32_t>(h * w)),
        slots(static_cast<unsigned>(2 * directions)),
        step() {
    for (unsigned slot = 0; slot < slots; ++slot) {
      const Offset o = offset(slot);
      step[slot] = static_cast<std::int32_t>(o.dy * w + o.dx);
    }
  }

  static Offset offset(unsigned slot) { return kOffsets[slot / 2 + (slot % 2 ? 0 : 4)]; }
  static std::uint8_t bit(unsigned slot) { return static_cast<std::uint8_t>(1U << slot); }
  std::int32_t neighbor(std::int32_t pixel, unsigned slot) const { return pixel + step[slot]; }
  std::int32_t edge_id(std::int32_t pixel, unsigned slot) const {
    return static_cast<std::int32_t>(slot / 2) * pixels +
           (slot % 2 ? pixel : neighbor(pixel, slot));
  }
};

} // namespace point2mask::tree
