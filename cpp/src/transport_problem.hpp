#pragma once

// One image's transport problem: everything of sinkhorn that has the size of its targets.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "transport_inspect.hpp"

namespace point2mask::transport {

// The reference moves when |log v| passes this: row sums then stay within 2^29 K of 1.
inline constexpr double kLargestLogScaling = 20;

template <typename T>
struct Problem {
  std::int64_t image = 0;
  std::vector<std::int64_t> targets; // that take part: the columns
  std::vector<double> potential;     // [columns] u, units of cost
  std::vector<double> log_supply;    // [columns]
  std::vector<double> log_mass;      // [columns] log sum_i P_ik of the current iteration
  std::vector<T> reference;          // [columns] potential that the kernel was built with
  std::vector<T> scaling;            // [columns] v = exp((potential - reference) / epsilon)
  double supply = 0;                 // total
  double log_unit = 0;               // masses in the kernels = exp(log_unit) true masses
  T shift = 0;                       // largest row_max, units of cost
  bool running = false, absorb = false, underflow = false;
  std::int32_t iterations = 0;
  double error = 0;

  std::int64_t columns() const { return static_cast<std::int64_t>(targets.size()); }

  template <typename Stored>
  void start(const Sinkhorn<T, Stored>& s, std::int64_t b, const ImageMass& mass) {
    image = b;
    targets = mass.targets;
    supply = mass.supply;
    running = absorb = !targets.empty();
    underflow = false;
    iterations = 0;
    error = running ? static_cast<double>(kInfinity<T>) : 0;
    potential.clear();
    log_supply.clear();
    for (const std::int64_t k : targets) {
      const std::int64_t i = image * s.targets + k;
      potential.push_back(s.initial_potential ? static_cast<double>(s.initial_potential[i]) : 0);
      log_supply.push_back(std::log(static_cast<double>(s.supply[i])));
    }
    log_mass.resize(targets.size());
    reference.resize(targets.size());
    scaling.resize(targets.size());
  }

  double log_scaling(std::size_t k, double epsilon) const {
    return (potential[k] - static_cast<double>(reference[k])) / epsilon;
  }

  void set_reference(double epsilon) {
    for (std::size_t k = 0; k < targets.size(); ++k) {
      reference[k] = static_cast<T>(potential[k]);
      // What T cannot hold of the potential, unless epsilon lies below the rounding of T anyway.
      const double rest = log_scaling(k, epsilon);
      if (std::abs(rest) > 1) potential[k] = static_cast<double>(reference[k]);
      scaling[k] = std::abs(rest) > 1 ? T(1) : static_cast<T>(std::exp(rest));
    }
  }

  // The targets' half of the iteration, given log_mass.
  template <typename Stored>
  void update(const Sinkhorn<T, Stored>& s, double lambda) {
    // The error is wanted of the last iteration, unless it decides which that is.
    const bool judged = s.tolerance > 0 || iterations + 1 == s.max_iterations;
    double moved = 0;
    bool in_range = true;
    for (std::size_t k = 0; k < targets.size(); ++k) {
      const double before = potential[k];
      const double g = lambda * (before - s.epsilon * log_mass[k]);
      potential[k] = g + s.epsilon * log_supply[k];
      const double step = (potential[k] - before) / s.epsilon;
      if (judged) {
        // log of |exp(step) - 1|, of which neither factor of the product need be finite.
        const double log_change = step > 40 ? step : std::log(std::abs(std::expm1(step)));
        moved += std::exp(log_mass[k] + log_change);
      }
      const double log_v = log_scaling(k, s.epsilon);
      in_range = in_range && std::abs(log_v) <= kLargestLogScaling;
      scaling[k] = static_cast<T>(std::exp(log_v)); // unused if out of range
    }
    error = moved / supply;
    ++iterations;
    running = !(s.tolerance > 0 && error <= s.tolerance);
    absorb = running && (underflow || !in_range);
    underflow = false;
  }

  template <typename Stored>
  void publish(const Sinkhorn<T, Stored>& s) const {
    T* out = s.potential + image * s.targets;
    for (std::int64_t k = 0; k < s.targets; ++k) out[k] = -kInfinity<T>;
    double mean = 0;
    if (std::isinf(s.supply_relaxation) && std::isinf(s.demand_relaxation) && !targets.empty()) {
      for (const double u : potential) mean += u;
      mean /= static_cast<double>(columns());
    }
    for (std::size_t k = 0; k < targets.size(); ++k)
      out[targets[k]] = static_cast<T>(potential[k] - mean);
    s.iterations[image] = iterations;
    s.marginal_error[image] = static_cast<T>(error);
  }
};

} // namespace point2mask::transport
