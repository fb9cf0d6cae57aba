#include "transport_path.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace point2mask::transport {
namespace {

constexpr double kGood = 1.5;      // a correction, in units of epsilon, that needs no damping
constexpr double kBad = 4;         // one that says that epsilon went down too fast
constexpr double kTarget = 0.5;    // the one aimed at
constexpr double kFirstRate = 0.7; // of log epsilon a pass
constexpr double kSlowest = 0.1, kFastest = 2.3;
// The error of a start that is one: where pixels are assigned for good, steps are small anywhere.
constexpr double kNear = 0.01;
constexpr double kRefinements = 1e-3; // a rate below which a correction counts however large

} // namespace

void Path::start_blurred() {
  warm = false;
  anchor.reset();
  rate = kFirstRate;
  epsilon = first_epsilon;
  for (std::size_t k = 0; k < supply.size(); ++k) potential[k] = epsilon * std::log(supply[k]);
}

void Path::advance(const Laplacian& system, Vectord tilt, double tolerance, bool last) {
  const std::size_t n = targets.size();
  double total = 0;
  bool usable = true;
  for (std::size_t k = 0; k < n; ++k) {
    total += system.mass[k];
    usable = usable && system.mass[k] >= std::numeric_limits<double>::min();
  }
  ++iterations;
  const bool arrived = epsilon == target_epsilon;
  if (arrived) {
    error = 0;
    for (std::size_t k = 0; k < n; ++k)
      error += std::abs(system.mass[k] / total - supply[k] / supply_total);
  }
  if (last || (arrived && tolerance > 0 && error <= tolerance)) {
    running = false;
    return;
  }
  Vectord step(n);
  double correction = std::numeric_limits<double>::infinity();
  if (usable) {
    double excess = 0;
    for (std::size_t k = 0; k < n; ++k) {
      step[k] = system.mass[k] * std::log((supply[k] / supply_total) / (system.mass[k] / total));
      excess += step[k];
    }
    for (std::size_t k = 0; k < n; ++k) step[k] -= excess * (system.mass[k] / total);
    Laplacian copy = system;
    copy.solve(step);
    const auto [low, high] = std::minmax_element(step.begin(), step.end());
    correction = *high - *low;
    for (double& d : step) d *= epsilon;
  }
  const bool bad = !(correction < kBad);
  if (warm && (bad || error > kNear)) return start_blurred();
  if (bad) {
    if (!usable && !anchor) return start_blurred();
    if (anchor && rate > kRefinements) {
      rate /= 2;
      return predict(*anchor);
    }
  }
  if (!std::isfinite(correction)) { // no way leads on: the problem has no solution down there
    if (anchor) potential = anchor->corrected;
    running = false;
    return;
  }
  warm = false;
  const bool good = correction < kGood;
  const double damping = good ? 1 : std::log1p(correction) / correction;
  for (std::size_t k = 0; k < n; ++k) potential[k] += damping * step[k];
  if (!good) return;
  if (arrived) {
    anchor.reset();
    return;
  }
  if (anchor) {
    const double change = std::sqrt(kTarget / std::max(correction, 1e-12));
    rate = std::clamp(rate * std::clamp(change, 0.5, 2.0), kSlowest, kFastest);
  }
  Laplacian copy = system;
  copy.solve(tilt);
  for (double& d : tilt) d = -d;
  predict(anchor.emplace(Anchor{.epsilon = epsilon, .corrected = potential, .tangent = tilt}));
}

void Path::predict(const Anchor& from) {
  epsilon = from.epsilon * std::exp(-rate);
  if (epsilon < target_epsilon * (1 + 1e-7)) epsilon = target_epsilon;
  for (std::size_t k = 0; k < potential.size(); ++k)
    potential[k] = from.corrected[k] + from.tangent[k] * (epsilon - from.epsilon);
}

} // namespace point2mask::transport
