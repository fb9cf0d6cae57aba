#pragma once

// Argument checks of the geodesic operators, the same on every device.

#include <utility>

#include "checks.hpp"

namespace point2mask::bindings {

inline void check_geodesic(const char* op, const Tensor& edge_cost, const Tensor& seeds) {
  check_shape(op, "edge_cost", edge_cost, {{"B"}, {"D", 8}, {"H"}, {"W"}});
  check_argument(op, "seeds", seeds, {{"B", edge_cost.size(0)}, {"K"}, {"P"}}, ScalarType::Int,
                 edge_cost);
}

inline void check_geodesic_gradient(const char* op, const Tensor& grad_distance,
                                    const Tensor& edge_cost, const Tensor& distance,
                                    const Tensor& seeds) {
  check_geodesic(op, edge_cost, seeds);
  for (const auto& [name, t] :
       {std::pair{"grad_distance", &grad_distance}, std::pair{"distance", &distance}}) {
    check_argument(op, name, *t,
                   {{"B", edge_cost.size(0)},
                    {"K", seeds.size(1)},
                    {"H", edge_cost.size(2)},
                    {"W", edge_cost.size(3)}},
                   edge_cost.scalar_type(), edge_cost);
  }
}

} // namespace point2mask::bindings
