// The transport operators without torch or Python: runs under sanitizers in milliseconds. Sizes lie
// around the ends of tiles and chunks; numbers are checked where they are known in closed form.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <vector>

#include "point2mask/parallel.hpp"
#include "point2mask/transport.hpp"
#include "transport_cost.hpp"
#include "transport_math.hpp"

namespace {

using namespace point2mask;

constexpr double kInf = std::numeric_limits<double>::infinity();

// Splits every range, to catch what leans on being called once.
class SplittingExecutor final : public Executor {
 public:
  void for_range(std::int64_t count, std::int64_t grain, RangeFunction body) const override {
    for (std::int64_t i = 0; i < count; i += grain) body(i, std::min(count, i + grain));
  }
};

template <typename T>
struct Case {
  std::int64_t images, targets, pixels;
  std::vector<T> cost, supply, demand, potential, error, plan, grad_cost, grad_supply, grad_demand;
  std::vector<std::int32_t> iterations, labels;

  Case(std::int64_t b, std::int64_t k, std::int64_t n)
      : images(b),
        targets(k),
        pixels(n),
        cost(size(b * k * n)),
        supply(size(b * k)),
        demand(size(b * n), T(1)),
        potential(supply),
        error(size(b)),
        plan(cost),
        grad_cost(cost),
        grad_supply(supply),
        grad_demand(demand),
        iterations(size(b)),
        labels(size(b * n)) {
    std::uint32_t state = 1;
    for (T& c : cost) c = static_cast<T>((state = state * 1664525 + 1013904223) >> 8) / (1 << 24);
    for (T& s : supply) s = static_cast<T>(n) / static_cast<T>(k);
  }
  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

  Sinkhorn<T> problem(double epsilon, double relaxation) {
    return {.cost = cost.data(),
            .supply = supply.data(),
            .demand = demand.data(),
            .initial_potential = nullptr,
            .images = images,
            .targets = targets,
            .pixels = pixels,
            .epsilon = epsilon,
            .max_iterations = 200,
            .tolerance = 1e-4,
            .supply_relaxation = relaxation,
            .demand_relaxation = relaxation,
            .potential = potential.data(),
            .iterations = iterations.data(),
            .marginal_error = error.data()};
  }
};

// Solves, differentiates, and compares the plan's marginals. Returns the number of failures.
template <typename T>
int check(std::int64_t images, std::int64_t targets, std::int64_t pixels, double relaxation) {
  Case<T> c(images, targets, pixels);
  if (!c.cost.empty() && targets > 1) {
    c.cost[0] = static_cast<T>(kInf); // forbidden
    for (std::int64_t i = 0; i < pixels; ++i) c.cost[static_cast<std::size_t>(i + pixels)] += 3;
  }
  const SplittingExecutor executor;
  run(c.problem(0.01, relaxation), executor);
  run(TransportPlan<T>{.cost = c.cost.data(),
                       .potential = c.potential.data(),
                       .demand = c.demand.data(),
                       .images = images,
                       .targets = targets,
                       .pixels = pixels,
                       .epsilon = 0.01,
                       .demand_relaxation = relaxation,
                       .plan = c.plan.data()},
      executor);
  run(TransportLabels<T>{.cost = c.cost.data(),
                         .potential = c.potential.data(),
                         .demand = c.demand.data(),
                         .images = images,
                         .targets = targets,
                         .pixels = pixels,
                         .labels = c.labels.data()},
      executor);
  run(SinkhornBackward<T>{.grad_potential = c.supply.data(),
                          .cost = c.cost.data(),
                          .supply = c.supply.data(),
                          .demand = c.demand.data(),
                          .potential = c.potential.data(),
                          .images = images,
                          .targets = targets,
                          .pixels = pixels,
                          .epsilon = 0.01,
                          .supply_relaxation = relaxation,
                          .demand_relaxation = relaxation,
                          .grad_cost = c.grad_cost.data(),
                          .grad_supply = c.grad_supply.data(),
                          .grad_demand = c.grad_demand.data()},
      executor);
  std::vector<T> grad_cost(c.cost), grad_potential(c.potential), grad_demand(c.demand);
  run(TransportPlanBackward<T>{.grad_plan = c.plan.data(),
                               .cost = c.cost.data(),
                               .potential = c.potential.data(),
                               .demand = c.demand.data(),
                               .images = images,
                               .targets = targets,
                               .pixels = pixels,
                               .epsilon = 0.01,
                               .demand_relaxation = relaxation,
                               .grad_cost = grad_cost.data(),
                               .grad_potential = grad_potential.data(),
                               .grad_demand = grad_demand.data()},
      executor);

  int failed = 0;
  for (const std::int32_t label : c.labels) failed += label < -1 || label >= targets;
  for (const auto* grads : {&c.grad_cost, &c.grad_supply, &c.grad_demand, &grad_potential})
    for (const T g : *grads) failed += !std::isfinite(g);
  for (std::int64_t b = 0; b < images; ++b) {
    for (std::int64_t i = 0; targets > 0 && i < pixels && std::isinf(relaxation); ++i) {
      double row = 0;
      for (std::int64_t k = 0; k < targets; ++k)
        row +=
            static_cast<double>(c.plan[static_cast<std::size_t>((b * targets + k) * pixels + i)]);
      failed += std::abs(row - 1) > 1e-5; // ulps of a sum of K
    }
  }
  if (failed)
    std::printf("B %ld K %ld N %ld: %d\n", long(images), long(targets), long(pixels), failed);
  return failed;
}

// Relative errors: 2e-7 in float, a few ulps in double.
template <typename T>
int check_math() {
  const double bound = sizeof(T) == 4 ? 2e-7 : 2e-15;
  int failed = 0;
  for (int i = 0; i <= 200000; ++i) {
    const T x = transport::kFlush<T> + static_cast<T>(i) * static_cast<T>(0.0005);
    const double exact = std::exp2(static_cast<double>(x));
    failed += std::abs(static_cast<double>(transport::exp2_flushed(x)) - exact) > bound * exact;
    const T y = std::ldexp(1 + static_cast<T>(i) / 200000, i % 80 - 40);
    const double log = std::log2(static_cast<double>(y));
    failed += std::abs(static_cast<double>(transport::log2_positive(y)) - log) >
              bound * std::max(1.0, std::abs(log));
  }
  const T infinity = std::numeric_limits<T>::infinity();
  failed += transport::exp2_flushed(T(0)) != 1 || transport::exp2_flushed(-infinity) != 0;
  failed += transport::exp2_flushed(std::nextafter(transport::kFlush<T>, -infinity)) != 0;
  return failed;
}

int check_rejections() {
  int failed = 0;
  const auto rejects = [&](auto change) {
    Case<float> c(2, 3, 40);
    auto s = c.problem(0.1, kInf);
    change(c, s);
    try {
      run(s, SerialExecutor());
      ++failed;
    } catch (const std::invalid_argument&) {
    }
  };
  rejects([](auto& c, auto&) { c.cost[5] = std::nanf(""); });
  rejects([](auto& c, auto&) { c.supply[5] = -1; });
  rejects([](auto& c, auto&) { c.demand[70] = std::nanf(""); });
  rejects([](auto& c, auto&) { c.demand[70] = 2; });
  rejects([](auto&, auto& s) { s.epsilon = 0; });
  rejects([](auto&, auto& s) { s.epsilon = 1e-40; });
  rejects([](auto&, auto& s) { s.max_iterations = -1; });
  return failed;
}

} // namespace

// Every number of 16 bits, by the definition of its format.
int check_stored_costs() {
  const auto value = [](unsigned bits, int fraction_bits, int bias) {
    const unsigned ones = (1U << (15 - fraction_bits)) - 1;
    const unsigned exponent = bits >> fraction_bits & ones;
    const unsigned fraction = bits & ((1U << fraction_bits) - 1);
    double magnitude = std::ldexp(fraction, 1 - bias - fraction_bits);
    if (exponent > 0)
      magnitude = std::ldexp((1U << fraction_bits) + fraction,
                             static_cast<int>(exponent) - bias - fraction_bits);
    if (exponent == ones) magnitude = fraction ? std::nan("") : kInf;
    return bits >> 15 ? -magnitude : magnitude;
  };
  const auto same = [](double a, double b) {
    return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
  };
  int failed = 0;
  for (unsigned bits = 0; bits < 1U << 16; ++bits) {
    const auto stored = static_cast<std::uint16_t>(bits);
    failed += !same(transport::read_cost(Float16{stored}), value(bits, 10, 15));
    failed += !same(transport::read_cost(Bfloat16{stored}), value(bits, 7, 127));
  }
  return failed;
}

int main() {
  int failed =
      check_stored_costs() + check_rejections() + check_math<float>() + check_math<double>();
  for (const double relaxation : {kInf, 0.5}) {
    for (const std::int64_t pixels : {0, 1, 31, 33, 2048, 4100}) {
      failed += check<float>(2, 5, pixels, relaxation);
      failed += check<double>(1, 9, pixels, relaxation);
    }
    failed += check<float>(0, 3, 4, relaxation) + check<float>(2, 0, 4, relaxation) +
              check<float>(2, 1, 4, relaxation);
  }
  std::printf("%d failed\n", failed);
  return failed;
}
