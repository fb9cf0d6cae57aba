#pragma once

#include <array>

namespace point2mask {

struct Offset {
  int dy, dx;
};

// The steps to a pixel's neighbours. Undirected edges of the 4-connected grid are the first two,
// of the 8-connected grid the first four (their reverses are counted at the neighbour); directed
// edges use all eight. The reverse of step d is d ^ 4.
inline constexpr std::array<Offset, 8> kOffsets{
    {{1, 0}, {0, 1}, {1, 1}, {1, -1}, {-1, 0}, {0, -1}, {-1, -1}, {-1, 1}}};

} // namespace point2mask
