#pragma once

// The grid steps where device code may index them (std::array's operator[] is a host function):
// copy kSteps into a constexpr local first.

#include "point2mask/grid.hpp"

namespace point2mask::cuda {

struct Steps {
  Offset to[8];
};

inline constexpr Steps kSteps{{kOffsets[0], kOffsets[1], kOffsets[2], kOffsets[3], kOffsets[4],
                               kOffsets[5], kOffsets[6], kOffsets[7]}};

} // namespace point2mask::cuda
