#pragma once

// What sinkhorn learns of a batch before it solves: values in range, masses, who takes part.

#include <cstdint>
#include <vector>

#include "point2mask/parallel.hpp"
#include "point2mask/transport.hpp"

namespace point2mask::transport {

struct ImageMass {
  double supply = 0, demand = 0;     // totals
  std::vector<std::int64_t> targets; // with supply and a pixel with demand that they may serve
};

// rho / (rho + epsilon) = 1 - complement for a relaxation rho; (1, 0) for infinity.
struct Damping {
  Damping(double relaxation, double epsilon);
  double lambda, complement;
};

template <typename T, typename Stored>
std::vector<ImageMass> inspect_batch(const Sinkhorn<T, Stored>& s, const Executor& executor);

} // namespace point2mask::transport
