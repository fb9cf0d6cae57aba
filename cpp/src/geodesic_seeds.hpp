#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace point2mask::geodesic {

// Throws unless all seeds [images, per_image] lie in [-1, pixels).
inline void check_seeds(const char* op, const std::int32_t* seeds, std::int64_t images,
                        std::int64_t per_image, std::int64_t pixels) {
  for (std::int64_t i = 0; i < images * per_image; ++i)
    if (seeds[i] < -1 || seeds[i] >= pixels)
      throw std::invalid_argument(std::string(op) + ": seeds must lie in [-1, " +
                                  std::to_string(pixels) + "), got " + std::to_string(seeds[i]) +
                                  " in image " + std::to_string(i / per_image));
}

} // namespace point2mask::geodesic
