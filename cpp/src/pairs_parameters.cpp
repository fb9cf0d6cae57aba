#include <cmath>
#include <stdexcept>
#include <string>

#include "point2mask/pairs.hpp"

namespace point2mask {
namespace {

template <typename Value>
void require(bool good, const char* op, const char* expectation, Value got) {
  if (good) return;
  throw std::invalid_argument(std::string(op) + ": " + expectation + ", got " +
                              std::to_string(got));
}

void check_window(const char* op, std::int64_t kernel_size, std::int64_t dilation) {
  require(kernel_size >= 3 && kernel_size % 2 == 1, op, "kernel_size must be odd and at least 3",
          kernel_size);
  require(dilation >= 1, op, "dilation must be at least 1", dilation);
}

void check_lab_parameters(const char* op, std::int64_t channels, double theta, double threshold) {
  require(channels >= 1, op, "logits must have at least one channel", channels);
  require(theta > 0 && std::isfinite(theta), op, "theta must be positive", theta);
  require(threshold > 0 && threshold <= 1, op, "threshold must lie in (0, 1]", threshold);
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
  require(directions == 2 || directions == 4 || directions == 8, op, "directions must be 2, 4 or 8",
          directions);
}

template <typename T>
void check(const NeighborDifference<T>& p) {
  check_directions("neighbor_difference", p.directions);
}

template <typename T>
void check(const NeighborDifferenceBackward<T>& p) {
  check_directions("neighbor_difference_backward", p.directions);
}

template <typename T>
void check(const LabAffinityLoss<T>& p) {
  check_window("lab_affinity_loss", p.kernel_size, p.dilation);
  check_lab_parameters("lab_affinity_loss", p.channels, p.theta, p.threshold);
}

template <typename T>
void check(const LabAffinityLossBackward<T>& p) {
  check_window("lab_affinity_loss_backward", p.kernel_size, p.dilation);
  check_lab_parameters("lab_affinity_loss_backward", p.channels, p.theta, p.threshold);
}

template <typename T>
void check(const BoundaryLoss<T>& p) {
  check_window("boundary_loss", p.kernel_size, p.dilation);
}

template <typename T>
void check(const BoundaryLossBackward<T>& p) {
  check_window("boundary_loss_backward", p.kernel_size, p.dilation);
}

template void check(const NeighborDifference<float>&);
template void check(const NeighborDifference<double>&);
template void check(const NeighborDifferenceBackward<float>&);
template void check(const NeighborDifferenceBackward<double>&);
template void check(const LabAffinityLoss<float>&);
template void check(const LabAffinityLoss<double>&);
template void check(const LabAffinityLossBackward<float>&);
template void check(const LabAffinityLossBackward<double>&);
template void check(const BoundaryLoss<float>&);
template void check(const BoundaryLoss<double>&);
template void check(const BoundaryLossBackward<float>&);
template void check(const BoundaryLossBackward<double>&);

} // namespace point2mask
