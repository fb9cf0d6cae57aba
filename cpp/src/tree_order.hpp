#pragma once

#include <cstddef>
#include <cstdint>

#include "tree_arena.hpp"
#include "tree_grid.hpp"

namespace point2mask::tree {

// A pixel and the slot of the step to its parent in one word, pixel * slots + slot: an image has
// less than 2^31 edges. At the root, pixel 0, the slot means nothing.
using Visit = std::uint32_t;

struct Placed {
  Visit visit;
  std::int32_t parent; // rank
};

std::size_t preorder_bytes(const Grid& grid); // that the arena must have left

// The pixels by rank in heavy-first depth-first preorder (see point2mask/tree.hpp), given each
// pixel's set of tree edges. The result lies in the arena.
const Placed* preorder(const Grid& grid, const std::uint8_t* steps, Arena& arena);

} // namespace point2mask::tree
