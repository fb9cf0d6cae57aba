// deformable_attention without torch or Python: runs under sanitizers in milliseconds.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>

#include "point2mask/deformable.hpp"
#include "point2mask/parallel.hpp"

int main() {
  // One query that reads three points of a 2 x 3 map and one of a 1 x 1 map, one channel.
  const std::vector<double> value{1, 2, 4, 8, 16, 32, 64};
  const std::int64_t shapes[] = {2, 3, 1, 1};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> where{0.5, 0.5, nan, 0.5, 1.0, 1.0, 9.0, -9.0};
  const std::vector<double> weight{1, 10, 2, 100};
  std::vector<double> output(1), grad_value(7), grad_where(8), grad_weight(4);
  const double one = 1;
  using namespace point2mask;
  run(DeformableAttention<double>{.value = value.data(),
                                  .where = where.data(),
                                  .weight = weight.data(),
                                  .shapes = shapes,
                                  .images = 1,
                                  .cells = 7,
                                  .queries = 1,
                                  .heads = 1,
                                  .channels = 1,
                                  .levels = 2,
                                  .points = 2,
                                  .output = output.data()},
      SerialExecutor());
  // (2 + 16) / 2 in the middle of the map, nothing for NaN, a quarter of the one cell, nothing.
  int failed = output[0] != 9 + 2 * 16;
  run(DeformableAttentionBackward<double>{.grad_output = &one,
                                          .value = value.data(),
                                          .where = where.data(),
                                          .weight = weight.data(),
                                          .shapes = shapes,
                                          .images = 1,
                                          .cells = 7,
                                          .queries = 1,
                                          .heads = 1,
                                          .channels = 1,
                                          .levels = 2,
                                          .points = 2,
                                          .grad_value = grad_value.data(),
                                          .grad_where = grad_where.data(),
                                          .grad_weight = grad_weight.data()},
      SerialExecutor());
  failed += grad_value != std::vector<double>{0, 0.5, 0, 0, 0.5, 0, 0.5};
  failed += grad_weight != std::vector<double>{9, 0, 16, 0};
  failed += grad_where[2] != 0 || grad_where[6] != 0 || grad_where[1] != 2 * (16 - 2);
  std::printf("%d failed\n", failed);
  return failed;
}
