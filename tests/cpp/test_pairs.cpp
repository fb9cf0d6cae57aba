// The pair operators without torch or Python, for the sanitizers: small awkward shapes, all
// parameters, gradients against finite differences.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "../../cpp/src/vector_math.hpp"
#include "point2mask/pairs.hpp"
#include "point2mask/parallel.hpp"

namespace {

using point2mask::Norm;

// Splits the range into single items, last first: results must not depend on it.
class BackwardExecutor final : public point2mask::Executor {
 public:
  void for_range(std::int64_t count, std::int64_t, point2mask::RangeFunction body) const override {
    for (std::int64_t i = count; i > 0; --i) body(i - 1, i);
  }
};

struct Shape {
  std::int64_t images, channels, height, width;
  std::int64_t pixels() const { return images * height * width; }
};

constexpr Shape kShapes[] = {{1, 1, 1, 1}, {2, 3, 1, 9},  {2, 3, 9, 1},
                             {1, 5, 3, 4}, {2, 7, 33, 5}, {1, 21, 18, 37},
                             {0, 3, 4, 4}, {2, 3, 0, 4},  {2, 3, 4, 0}};

std::mt19937 generator(0);

std::vector<double> random(std::int64_t size, double low, double high) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> values(static_cast<std::size_t>(size));
  for (double& v : values) v = uniform(generator);
  return values;
}

int failures = 0;

void expect(bool good, const char* what, const Shape& s) {
  if (good) return;
  ++failures;
  std::printf("FAILED %s at [%d, %d, %d, %d]\n", what, static_cast<int>(s.images),
              static_cast<int>(s.channels), static_cast<int>(s.height), static_cast<int>(s.width));
}

// One entry of the gradient of the sum of weight * value against the central difference. Values are
// subtracted before they are summed: a sum of thousands, rounded, would differ by the tolerance.
void check_gradient(const char* what, const Shape& s, std::vector<double>& x,
                    const std::vector<double>& grad, const std::vector<double>& weight,
                    const std::function<std::vector<double>()>& values) {
  if (x.empty()) return;
  for (int trial = 0; trial < 5; ++trial) {
    const std::size_t i = generator() % x.size();
    const double before = x[i], step = 1e-6;
    x[i] = before + step;
    const std::vector<double> above = values();
    x[i] = before - step;
    const std::vector<double> below = values();
    x[i] = before;
    double change = 0;
    for (std::size_t j = 0; j < weight.size(); ++j) change += weight[j] * (above[j] - below[j]);
    const double expected = change / (2 * step);
    expect(std::abs(grad[i] - expected) <= 1e-6 * (1 + std::abs(expected)), what, s);
  }
}

void test_difference(const Shape& s, std::int64_t directions, Norm norm) {
  std::vector<double> feature = random(s.pixels() * s.channels, -1, 1);
  const std::vector<double> upstream = random(s.pixels() * directions, 0, 1);
  const auto forward = [&](const point2mask::Executor& executor) {
    std::vector<double> difference(upstream.size());
    point2mask::run(
        point2mask::NeighborDifference<double>{feature.data(), s.images, s.channels, s.height,
                                               s.width, directions, norm, difference.data()},
        executor);
    return difference;
  };
  const std::vector<double> difference = forward(point2mask::SerialExecutor());
  expect(difference == forward(BackwardExecutor()), "neighbor_difference order", s);
  std::vector<double> grad(feature.size());
  point2mask::run(point2mask::NeighborDifferenceBackward<double>{upstream.data(), feature.data(),
                                                                 difference.data(), s.images,
                                                                 s.channels, s.height, s.width,
                                                                 directions, norm, grad.data()},
                  BackwardExecutor());
  check_gradient("neighbor_difference gradient", s, feature, grad, upstream,
                 [&] { return forward(point2mask::SerialExecutor()); });
}

void test_lab(const Shape& s, std::int64_t kernel_size, std::int64_t dilation, double spread) {
  std::vector<double> logits = random(s.pixels() * s.channels, -spread, spread);
  const std::vector<double> lab = random(s.pixels() * 3, 0, 2);
  const auto images = static_cast<std::size_t>(s.images);
  const auto valid = std::make_unique<bool[]>(static_cast<std::size_t>(s.pixels()));
  for (std::int64_t i = 0; i < s.pixels(); ++i) valid[static_cast<std::size_t>(i)] = i % 7 != 0;
  std::vector<std::int64_t> pairs(images);
  const auto forward = [&](const point2mask::Executor& executor) {
    std::vector<double> loss(images);
    point2mask::run(
        point2mask::LabAffinityLoss<double>{logits.data(), lab.data(), valid.get(), s.images,
                                            s.channels, s.height, s.width, kernel_size, dilation,
                                            2.0, 0.6, loss.data(), pairs.data()},
        executor);
    return loss;
  };
  expect(forward(point2mask::SerialExecutor()) == forward(BackwardExecutor()), "lab order", s);
  const std::vector<double> upstream(images, 1.0);
  std::vector<double> grad(logits.size());
  point2mask::run(
      point2mask::LabAffinityLossBackward<double>{
          upstream.data(), logits.data(), lab.data(), valid.get(), pairs.data(), s.images,
          s.channels, s.height, s.width, kernel_size, dilation, 2.0, 0.6, grad.data()},
      BackwardExecutor());
  check_gradient("lab gradient", s, logits, grad, upstream,
                 [&] { return forward(point2mask::SerialExecutor()); });
}

void test_boundary(const Shape& s, std::int64_t kernel_size, std::int64_t dilation) {
  std::vector<double> boundary = random(s.pixels(), 0.01, 0.99);
  std::vector<std::int32_t> instance(boundary.size()), semantic(boundary.size());
  for (std::size_t i = 0; i < boundary.size(); ++i) {
    instance[i] = static_cast<std::int32_t>(generator() % 3) - 1;
    semantic[i] = static_cast<std::int32_t>(generator() % 3) - 1;
  }
  const auto images = static_cast<std::size_t>(s.images);
  std::vector<std::int64_t> pairs(3 * images);
  const auto forward = [&](const point2mask::Executor& executor) {
    std::vector<double> loss(images);
    point2mask::run(
        point2mask::BoundaryLoss<double>{boundary.data(), instance.data(), semantic.data(),
                                         s.images, s.height, s.width, kernel_size, dilation,
                                         loss.data(), pairs.data()},
        executor);
    return loss;
  };
  expect(forward(point2mask::SerialExecutor()) == forward(BackwardExecutor()), "boundary order", s);
  const std::vector<double> upstream(images, 1.0);
  std::vector<double> grad(boundary.size());
  point2mask::run(
      point2mask::BoundaryLossBackward<double>{upstream.data(), boundary.data(), instance.data(),
                                               semantic.data(), pairs.data(), s.images, s.height,
                                               s.width, kernel_size, dilation, grad.data()},
      BackwardExecutor());
  check_gradient("boundary gradient", s, boundary, grad, upstream,
                 [&] { return forward(point2mask::SerialExecutor()); });
}

void test_rejection() {
  const std::vector<float> logits{0, NAN}, lab(6);
  std::vector<float> loss(1);
  std::vector<std::int64_t> pairs(1);
  try {
    point2mask::run(
        point2mask::LabAffinityLoss<float>{logits.data(), lab.data(), nullptr, 1, 1, 1, 2, 3, 1,
                                           2.0, 0.3, loss.data(), pairs.data()},
        point2mask::SerialExecutor());
  } catch (const std::invalid_argument&) {
    return;
  }
  expect(false, "NaN is rejected", {1, 1, 1, 2});
}

// Both functions to 3 * 2^-24 (relative) at most over the range in which the engine uses them.
void test_elementary_functions() {
  constexpr double kUnit = 0x1p-24;
  double worst_exp = 0, worst_log = 0;
  for (float x = -87.0F; x <= 0.0F; x += 0.001F) {
    const double exact = std::exp(static_cast<double>(x));
    worst_exp = std::max(worst_exp, std::abs(point2mask::vector_exp(x) - exact) / exact);
  }
  for (float x = 1e-30F; x <= 2.0F; x *= 1.001F) {
    const double exact = std::log(static_cast<double>(x));
    const double error = std::abs(point2mask::vector_log(x) - exact);
    worst_log = std::max(worst_log, error / (std::abs(exact) + kUnit));
  }
  std::printf("exp %.2f, log %.2f times 2^-24\n", worst_exp / kUnit, worst_log / kUnit);
  expect(worst_exp <= 3 * kUnit && worst_log <= 3 * kUnit, "exp and log", {});
  expect(point2mask::vector_exp(-100.0F) == 0 && point2mask::vector_exp(-INFINITY) == 0 &&
             std::isnan(point2mask::vector_exp(NAN)) && point2mask::vector_log(1.0F) == 0,
         "special values", {});
}

} // namespace

int main() {
  test_elementary_functions();
  for (const Shape& s : kShapes) {
    for (const std::int64_t directions : {2, 4, 8})
      for (const Norm norm : {Norm::kL1, Norm::kL2, Norm::kSquaredL2})
        test_difference(s, directions, norm);
    for (const auto& [kernel_size, dilation] : {std::pair{3, 1}, {3, 2}, {5, 2}, {3, 40}, {9, 1}}) {
      test_lab(s, kernel_size, dilation, 2.0);
      test_lab(s, kernel_size, dilation, 2000.0);
      test_boundary(s, kernel_size, dilation);
    }
  }
  test_rejection();
  std::printf("%d failed\n", failures);
  return failures;
}
