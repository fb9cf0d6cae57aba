#pragma once

#include <cstdint>

namespace point2mask {

class Executor;

// Area, centroid and bounding box of every target of every image, in one pass over the labels.
struct MaskStatistics {
  const std::int32_t* labels; // [B, H, W], -1 = no target; entries outside [-1, K) are rejected
  std::int64_t images, height, width, targets;
  std::int64_t* area; // [B, K] pixels
  float* centroid;    // [B, K, 2] mean (y, x) in pixels; (0, 0) where area is 0
  std::int32_t* box;  // [B, K, 4] x0, y0, x1, y1, ends exclusive; zeros where area is 0
};

// Throws std::invalid_argument for a label outside [-1, K).
void run(const MaskStatistics& s, const Executor& executor);

} // namespace point2mask
