#pragma once

// Argument checks of the transport operators, the same on every device.

#include <initializer_list>
#include <optional>

#include "checks.hpp"

namespace point2mask::bindings {

inline void check_like_cost(const char* op, const char* argument, const Tensor& t,
                            std::initializer_list<Extent> shape, const Tensor& cost) {
  check_argument(op, argument, t, shape, cost.scalar_type(), cost);
}

// An argument of shape [B, K].
inline void check_of_targets(const char* op, const char* argument, const Tensor& t,
                             const Tensor& cost) {
  check_like_cost(op, argument, t, {{"B", cost.size(0)}, {"K", cost.size(1)}}, cost);
}

// What all operators of the family have: a cost, an argument of shape [B, K] and the demand.
inline void check_problem(const char* op, const Tensor& cost, const char* of_targets_name,
                          const Tensor& of_targets, const Tensor& demand) {
  check_shape(op, "cost", cost, {{"B"}, {"K"}, {"N"}});
  check_of_targets(op, of_targets_name, of_targets, cost);
  check_like_cost(op, "demand", demand, {{"B", cost.size(0)}, {"N", cost.size(2)}}, cost);
}

inline void check_sinkhorn(const char* op, const Tensor& cost, const Tensor& supply,
                           const Tensor& demand, const std::optional<Tensor>& initial_potential) {
  check_problem(op, cost, "supply", supply, demand);
  if (initial_potential) check_of_targets(op, "initial_potential", *initial_potential, cost);
}

inline void check_sinkhorn_gradient(const char* op, const Tensor& grad_potential,
                                    const Tensor& cost, const Tensor& supply, const Tensor& demand,
                                    const Tensor& potential) {
  check_problem(op, cost, "supply", supply, demand);
  check_of_targets(op, "grad_potential", grad_potential, cost);
  check_of_targets(op, "potential", potential, cost);
}

inline void check_plan_gradient(const char* op, const Tensor& grad_plan, const Tensor& cost,
                                const Tensor& potential, const Tensor& demand) {
  check_problem(op, cost, "potential", potential, demand);
  check_like_cost(op, "grad_plan", grad_plan,
                  {{"B", cost.size(0)}, {"K", cost.size(1)}, {"N", cost.size(2)}}, cost);
}

} // namespace point2mask::bindings
