// The launcher of the mask kernels under a C name, for ctypes.

#include "with_scratch.hpp"

using namespace point2mask;
using std::int32_t;
using std::int64_t;

extern "C" int mask_statistics(const int32_t* labels, int64_t images, int64_t height, int64_t width,
                               int64_t targets, int64_t* area, float* centroid, int32_t* box) {
  return with_scratch(MaskStatistics{labels, images, height, width, targets, area, centroid, box});
}
