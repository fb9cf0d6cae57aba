#pragma once

// What the spanning tree finds out about every pixel and edge of the grid from its surroundings, a
// row at a time.

#include <cstdint>

#include "tree_grid.hpp"

namespace point2mask::tree {

// A row of pixels and one of their slots: takes the lighter edge, the earlier one among equals.
// False if a weight is not finite. Slots are as wide as weights, to be chosen by the same mask.
bool take_lighter(const float* weight, std::int64_t count, std::int32_t slot, float* lightest,
                  std::int32_t* slots);
bool take_lighter(const double* weight, std::int64_t count, std::int64_t slot, double* lightest,
                  std::int64_t* slots);
void narrow(const std::int32_t* slots, std::int64_t count, std::uint8_t* narrowed);
void narrow(const std::int64_t* slots, std::int64_t count, std::uint8_t* narrowed);

// The edges of a square of four pixels by id, with its diagonals down to the right and to the left.
// The heaviest edge on a cycle, the last among equals, is in no minimum tree.
enum SquareEdge : std::uint8_t {
  kLeft = 1,
  kRight = 2,
  kTop = 4,
  kBottom = 8,
  kFalling = 16,
  kRising = 32,
  kNoEdge = 0
};

// The weights of a row of squares, each from its first upper left corner; the next entry of
// `upright` is the right edge. Diagonals are null in the 4-connected grid.
template <typename T>
struct SquareRow {
  const T* upright;
  const T* top;
  const T* bottom;
  const T* falling;
  const T* rising;
};
// The set of edges that are the heaviest of a square or of a triangle in it.
void find_heaviest(const SquareRow<float>& row, std::int64_t count, std::uint8_t* heaviest);
void find_heaviest(const SquareRow<double>& row, std::int64_t count, std::uint8_t* heaviest);

// A row of edges in one direction, the squares that have it as `role` and those that have it as
// `other_role`, and the components at both ends.
struct EdgeRow {
  const std::uint8_t* square;
  const std::uint8_t* other_square;
  SquareEdge role, other_role;
  const std::int32_t* start;
  const std::int32_t* end;
};
// kept[x] = 1 where the edge joins two components and may be in the tree, otherwise 0.
void mark_kept(const EdgeRow& row, std::int64_t count, std::uint8_t* kept);

// The set of tree edges of each pixel when every pixel has taken the edge of its slot: that edge
// and those by which its neighbours took it. Slots are read a step before and behind the pixels.
void collect_steps(const std::uint8_t* slots, const Grid& grid, std::uint8_t* steps);

} // namespace point2mask::tree
