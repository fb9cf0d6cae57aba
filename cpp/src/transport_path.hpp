#pragma once

// The way of one image to the solution of its semi-dual: where the next pass of Newton's method
// reads, from what the last one found.

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "transport_laplacian.hpp"

namespace point2mask::transport {

using Vectord = std::vector<double>;

// One image on its way down: everything that has the size of its targets.
struct Path {
  struct Anchor { // the last point on the curve, from where a step that went too far starts again
    double epsilon;
    Vectord corrected, tangent; // u and du / depsilon
  };

  std::vector<std::int64_t> targets;
  Vectord potential, supply; // [columns]
  double supply_total = 0;
  double target_epsilon = 0, first_epsilon = 0, epsilon = 0, rate = 0;
  std::optional<Anchor> anchor;
  bool warm = false, running = false;
  std::int32_t iterations = 0;
  double error = std::numeric_limits<double>::infinity();

  std::int64_t columns() const { return static_cast<std::int64_t>(targets.size()); }

  // Far above the last epsilon, where one step suffices.
  void start_blurred();

  // What a pass at (potential, epsilon) found decides where the next one goes.
  void advance(const Laplacian& system, Vectord tilt, double tolerance, bool last);

 private:
  void predict(const Anchor& from);
};

} // namespace point2mask::transport
