#include <cmath>
#include <stdexcept>
#include <string>

#include "point2mask/pairs.hpp"

namespace point2mask {
namespace {

template <typename Value>
void check(bool good, const char* op, const char* expectation, Value got) {
  if (good) return;
  throw std::invalid_argument(std::string(op) + ": " + expectation + ", got " +
                              std::to_string(got));
}

} // namespace

Norm norm_from_name(std::string_view name) {
  if (name == "l1") return Norm::kL1;
  if (name == "l2") return Norm::kL2;
  if (name == "squared_l2") return Norm::kSquaredL2;
  throw std::invalid_argument("neighbor_difference: norm must be l1, l2 or squared_l2, got " +
                              std::string(name));
}

void check_directions(const char* op, std::int64_t directions) {
  check(directions == 2 || directions == 4 || directions == 8, op, "directions must be 2, 4 or 8",
        directions);
}

void check_window(const char* op, std::int64_t kernel_size, std::int64_t dilation) {
  check(kernel_size >= 3 && kernel_size % 2 == 1, op, "kernel_size must be odd and at least 3",
        kernel_size);
  check(dilation >= 1, op, "dilation must be at least 1", dilation);
}

void check_lab_parameters(const char* op, std::int64_t channels, double theta, double threshold) {
  check(channels >= 1, op, "logits must have at least one channel", channels);
  check(theta > 0 && std::isfinite(theta), op, "theta must be positive", theta);
  check(threshold > 0 && threshold <= 1, op, "threshold must lie in (0, 1]", threshold);
}

} // namespace point2mask
