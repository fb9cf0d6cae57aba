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

// The edges of a square of four pixels by id. The heaviest, the last among equals, is in no minimum
// tree: it is the largest on its cycle.
enum SquareEdge : std::uint8_t { kLeft, kRight, kTop, kBottom, kDiagonal, kNoSquare };

// A row of squares: `upright` weighs the edges down from their upper corners, `top` and `bottom`
// those across.
void find_heaviest(const float* upright, const float* top, const float* bottom, std::int64_t count,
                   std::uint8_t* heaviest);
void find_heaviest(const double* upright, const double* top, const double* bottom,
                   std::int64_t count, std::uint8_t* heaviest);

// A row of edges in one direction, the squares on both sides of it and the components at both ends.
struct EdgeRow {
  const std::uint8_t* square; // kNoSquare where there is none
  const std::uint8_t* other_square;
  SquareEdge role, other_role; // which edge of the square this is
  const std::int32_t* start;
  const std::int32_t* end;
};
// kept[x] = 1 where the edge joins two components and may be in the tree, otherwise 0.
void mark_kept(const EdgeRow& row, std::int64_t count, std::uint8_t* kept);

// The set of tree edges of each pixel when every pixel has taken the edge of its slot: that edge
// and those by which its neighbours took it. Slots are read a step before and behind the pixels.
void collect_steps(const std::uint8_t* slots, const Grid& grid, std::uint8_t* steps);

} // namespace point2mask::tree
