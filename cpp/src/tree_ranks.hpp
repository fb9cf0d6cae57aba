#pragma once

// Orders and parents as they come from outside, checked: what the passes need to stay in bounds.

#include <cstdint>
#include <vector>

#include "point2mask/parallel.hpp"

namespace point2mask::tree {

// Order and parent [B, N] of a batch, and the operator that they are arguments of.
struct Orders {
  const char* op;
  const std::int32_t *order, *parent;
  std::int64_t images, pixels;
};

// Throws std::invalid_argument unless the image's order is a permutation and every parent stands
// before its child.
void check_order(const Orders& o, std::int64_t image);

// The same for all images, and the rank of every pixel, [B, N].
std::vector<std::int32_t> ranks_of(const Orders& o, const Executor& executor);

} // namespace point2mask::tree
