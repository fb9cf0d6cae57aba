#pragma once

namespace point2mask::cuda {

inline constexpr int kWarp = 32;                   // lanes
inline constexpr unsigned kFullWarp = 0xffffffffU; // the mask of all of them

} // namespace point2mask::cuda
