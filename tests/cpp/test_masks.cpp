// mask_statistics without torch or Python: runs under sanitizers in milliseconds.

#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <vector>

#include "point2mask/masks.hpp"
#include "point2mask/parallel.hpp"

int main() {
  int failed = 0;
  const std::vector<std::int32_t> labels{0, 0, -1, 2, //
                                         0, 2, 2,  2};
  std::vector<std::int64_t> area(4);
  std::vector<float> centroid(8);
  std::vector<std::int32_t> box(16);
  point2mask::MaskStatistics s{.labels = labels.data(),
                               .images = 1,
                               .height = 2,
                               .width = 4,
                               .targets = 4,
                               .area = area.data(),
                               .centroid = centroid.data(),
                               .box = box.data()};
  point2mask::run(s, point2mask::SerialExecutor());
  failed += area != std::vector<std::int64_t>{3, 0, 4, 0};
  failed += centroid[4] != 0.75F || centroid[5] != 2.25F;
  failed += box != std::vector<std::int32_t>{0, 0, 2, 2, 0, 0, 0, 0, 1, 0, 4, 2, 0, 0, 0, 0};

  s.targets = 2; // label 2 is now out of range
  try {
    point2mask::run(s, point2mask::SerialExecutor());
    ++failed;
  } catch (const std::invalid_argument&) {
  }
  std::printf("%d failed\n", failed);
  return failed;
}
