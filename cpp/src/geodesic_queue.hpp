#pragma once

#include <cstdint>
#include <vector>

namespace point2mask::geodesic {

// Dijkstra's algorithm from upper bounds: lowers distance [H, W] of one target to the fixed point,
// where only `pixels` may have outgoing steps that lower anything yet.
template <typename T>
void finish_with_queue(const T* edge_cost, std::int64_t height, std::int64_t width,
                       const std::vector<std::int32_t>& pixels, T* distance);

} // namespace point2mask::geodesic
