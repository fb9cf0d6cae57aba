#include "transport_inspect.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>

#include "transport_kernels.hpp"

namespace point2mask {
namespace transport {
namespace {

constexpr double kTotalsTolerance = 1e-4; // relative; float32 sums of a million pixels stay below

template <typename Value>
[[noreturn]] void reject(const char* op, const char* argument, const char* expectation, Value value,
                         std::int64_t image = -1) {
  std::ostringstream message;
  message << op << ": " << argument << " must " << expectation << ", got " << value;
  if (image >= 0) message << " in image " << image;
  throw std::invalid_argument(message.str());
}

template <typename T>
void reject_first_bad_mass(const char* argument, const T* mass, std::int64_t count,
                           std::int64_t image) {
  for (std::int64_t i = 0; i < count; ++i)
    if (!(mass[i] >= 0 && mass[i] < kInfinity<T>))
      reject("sinkhorn", argument, "be finite and not negative", static_cast<double>(mass[i]),
             image);
}

template <typename Stored>
void reject_first_bad_cost(const Stored* cost, std::int64_t count, std::int64_t image) {
  for (std::int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<double>(read_cost(cost[i]));
    if (!(value > -kInfinity<double>))
      reject("sinkhorn", "cost", "be finite or +inf", value, image);
  }
}

void check_positive(const char* op, const char* argument, double value) {
  if (!(value > 0)) reject(op, argument, "be positive", value);
}

template <typename T>
void check_epsilon(const char* op, double epsilon) {
  constexpr double largest = std::numeric_limits<T>::max();
  if (!(epsilon > 0) || std::isinf(epsilon))
    reject(op, "epsilon", "be positive and finite", epsilon);
  if (!(1.5 / epsilon < largest)) reject(op, "epsilon", "have a finite inverse", epsilon);
  // Potentials are epsilon times logarithms of masses, which stay below 1024 in either precision.
  if (!(1024 * epsilon < largest))
    reject(op, "epsilon", "be small enough for finite potentials", epsilon);
}

void check_stopping(const char* op, std::int64_t max_iterations, double tolerance) {
  if (max_iterations < 0 || max_iterations > std::numeric_limits<std::int32_t>::max())
    reject(op, "max_iterations", "lie in [0, 2^31)", max_iterations);
  if (!(tolerance >= 0)) reject(op, "tolerance", "not be negative", tolerance);
}

void check_totals(const ImageMass& mass, std::int64_t image) {
  if (std::abs(mass.supply - mass.demand) <= kTotalsTolerance * std::max(mass.supply, mass.demand))
    return;
  std::ostringstream message;
  message << "sinkhorn: supply and demand must have equal totals, got " << mass.supply << " and "
          << mass.demand << " in image " << image << " (relax one of them where they differ)";
  throw std::invalid_argument(message.str());
}

template <typename T, typename Stored>
void check_initial_potential(const Sinkhorn<T, Stored>& s, const ImageMass& mass,
                             std::int64_t image) {
  if (!s.initial_potential) return;
  for (const std::int64_t k : mass.targets) {
    const auto value = static_cast<double>(s.initial_potential[image * s.targets + k]);
    if (!std::isfinite(value))
      reject("sinkhorn", "initial_potential", "be finite for targets that take part", value, image);
  }
}

} // namespace

Damping::Damping(double relaxation, double epsilon)
    : lambda(std::isinf(relaxation) ? 1.0 : relaxation / (relaxation + epsilon)),
      complement(std::isinf(relaxation) ? 0.0 : epsilon / (relaxation + epsilon)) {}

template <typename T, typename Stored>
std::vector<ImageMass> inspect_batch(const Sinkhorn<T, Stored>& s, const Executor& executor) {
  check(s);
  const std::int64_t chunks = chunks_of(s.pixels);
  std::vector<Inspection<T, Stored>> parts(static_cast<std::size_t>(s.images * chunks));
  std::vector<std::uint8_t> reachable(parts.size() * static_cast<std::size_t>(s.targets));
  executor.for_range(s.images * chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      const std::int64_t image = part / chunks, first = part % chunks * kChunk;
      parts[static_cast<std::size_t>(part)] = {
          .cost = s.cost + image * s.targets * s.pixels + first,
          .demand = s.demand + image * s.pixels + first,
          .targets = s.targets,
          .stride = s.pixels,
          .pixels = std::min(kChunk, s.pixels - first),
          .total = 0,
          .bad_demand = false,
          .bad_cost = false,
          .reachable = reachable.data() + part * s.targets};
      inspect_chunk(parts[static_cast<std::size_t>(part)]);
    }
  });

  const bool balanced = std::isinf(s.supply_relaxation) && std::isinf(s.demand_relaxation);
  std::vector<ImageMass> masses(static_cast<std::size_t>(s.images));
  for (std::int64_t image = 0; image < s.images; ++image) {
    ImageMass& mass = masses[static_cast<std::size_t>(image)];
    const T* supply = s.supply + image * s.targets;
    reject_first_bad_mass("supply", supply, s.targets, image);
    for (std::int64_t k = 0; k < s.targets; ++k) mass.supply += static_cast<double>(supply[k]);
    std::vector<bool> takes_part(static_cast<std::size_t>(s.targets));
    for (std::int64_t part = image * chunks; part < (image + 1) * chunks; ++part) {
      const Inspection<T, Stored>& p = parts[static_cast<std::size_t>(part)];
      if (p.bad_demand) reject_first_bad_mass("demand", p.demand, p.pixels, image);
      if (p.bad_cost)
        reject_first_bad_cost(s.cost + image * s.targets * s.pixels, s.targets * s.pixels, image);
      mass.demand += p.total;
      for (std::int64_t k = 0; k < s.targets; ++k)
        if (p.reachable[k] && supply[k] > 0) takes_part[static_cast<std::size_t>(k)] = true;
    }
    // Without pixels or without targets there is nothing to match, whatever the other side holds.
    if (balanced && s.targets > 0 && s.pixels > 0) check_totals(mass, image);
    for (std::int64_t k = 0; k < s.targets; ++k)
      if (takes_part[static_cast<std::size_t>(k)]) mass.targets.push_back(k);
    check_initial_potential(s, mass, image);
  }
  return masses;
}

#define POINT2MASK_INSTANTIATE(T, Stored) \
  template std::vector<ImageMass> inspect_batch(const Sinkhorn<T, Stored>&, const Executor&);
POINT2MASK_FOR_COSTS(POINT2MASK_INSTANTIATE)
#undef POINT2MASK_INSTANTIATE

} // namespace transport

template <typename T, typename Stored>
void check(const Sinkhorn<T, Stored>& s) {
  constexpr const char* kOp = "sinkhorn";
  transport::check_epsilon<T>(kOp, s.epsilon);
  transport::check_stopping(kOp, s.max_iterations, s.tolerance);
  transport::check_positive(kOp, "supply_relaxation", s.supply_relaxation);
  transport::check_positive(kOp, "demand_relaxation", s.demand_relaxation);
}

template <typename T>
void check(const SinkhornBackward<T>& s) {
  constexpr const char* kOp = "sinkhorn_backward";
  transport::check_epsilon<T>(kOp, s.epsilon);
  transport::check_positive(kOp, "supply_relaxation", s.supply_relaxation);
  transport::check_positive(kOp, "demand_relaxation", s.demand_relaxation);
}

template <typename T, typename Stored>
void check(const TransportPlan<T, Stored>& s) {
  transport::check_epsilon<T>("transport_plan", s.epsilon);
  transport::check_positive("transport_plan", "demand_relaxation", s.demand_relaxation);
}

template <typename T>
void check(const TransportPlanBackward<T>& s) {
  transport::check_epsilon<T>("transport_plan_backward", s.epsilon);
  transport::check_positive("transport_plan_backward", "demand_relaxation", s.demand_relaxation);
}

#define POINT2MASK_INSTANTIATE(T, Stored)          \
  template void check(const Sinkhorn<T, Stored>&); \
  template void check(const TransportPlan<T, Stored>&);
POINT2MASK_FOR_COSTS(POINT2MASK_INSTANTIATE)
#undef POINT2MASK_INSTANTIATE
template void check(const SinkhornBackward<float>&);
template void check(const SinkhornBackward<double>&);
template void check(const TransportPlanBackward<float>&);
template void check(const TransportPlanBackward<double>&);

} // namespace point2mask
