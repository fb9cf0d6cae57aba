// torch.ops.point2mask.sinkhorn, transport_plan, transport_labels and their gradients.

#include <initializer_list>
#include <limits>
#include <optional>
#include <tuple>

#include "point2mask/transport.hpp"
#include "solve.hpp"

namespace point2mask::bindings {
namespace {

constexpr double kFixed = std::numeric_limits<double>::infinity(); // a marginal as constraint

// The dtype of everything but the cost.
ScalarType computed_type(const Tensor& cost) {
  const ScalarType stored = cost.scalar_type();
  return stored == ScalarType::Half || stored == ScalarType::BFloat16 ? ScalarType::Float : stored;
}

// Calls f.template operator()<T, Stored>() for the C++ types that the cost is computed with and
// stored in.
template <typename F>
void dispatch_cost(const char* op, const Tensor& cost, F&& f) {
  switch (cost.scalar_type()) {
    case ScalarType::Half:
      return f.template operator()<float, Float16>();
    case ScalarType::BFloat16:
      return f.template operator()<float, Bfloat16>();
    case ScalarType::Float:
      return f.template operator()<float, float>();
    case ScalarType::Double:
      return f.template operator()<double, double>();
    default:
      require(false, op, ": cost must be float32, float64, float16 or bfloat16, got ",
              dtype_name(cost.scalar_type()));
  }
}

void check_beside_cost(const char* op, const char* argument, const Tensor& t,
                       std::initializer_list<Extent> shape, const Tensor& cost) {
  check_argument(op, argument, t, shape, computed_type(cost), cost);
}

// An argument of shape [B, K].
void check_of_targets(const char* op, const char* argument, const Tensor& t, const Tensor& cost) {
  check_beside_cost(op, argument, t, {{"B", cost.size(0)}, {"K", cost.size(1)}}, cost);
}

// What all operators of the family have: a cost, an argument of shape [B, K] and the demand.
void check_problem(const char* op, const Tensor& cost, const char* of_targets_name,
                   const Tensor& of_targets, const Tensor& demand) {
  check_shape(op, "cost", cost, {{"B"}, {"K"}, {"N"}});
  dispatch_cost(op, cost, []<typename T, typename Stored>() {}); // refuses any other dtype
  check_of_targets(op, of_targets_name, of_targets, cost);
  check_beside_cost(op, "demand", demand, {{"B", cost.size(0)}, {"N", cost.size(2)}}, cost);
}

// The arguments and sizes that all of the family share; the rest is the caller's.
template <typename Problem>
Problem between(const Tensor& cost, const Tensor& demand) {
  Problem p{};
  p.cost = static_cast<decltype(p.cost)>(cost.const_data_ptr());
  p.demand = static_cast<decltype(p.demand)>(demand.const_data_ptr());
  sizes_of(cost, p.images, p.targets, p.pixels);
  return p;
}

// And those that a potential is read with.
template <typename Problem>
Problem planned(const Tensor& cost, const Tensor& potential, const Tensor& demand, double epsilon,
                double demand_relaxation) {
  auto p = between<Problem>(cost, demand);
  p.potential = static_cast<decltype(p.potential)>(potential.const_data_ptr());
  p.epsilon = epsilon;
  p.demand_relaxation = demand_relaxation;
  return p;
}

template <template <typename, typename> typename Problem>
std::tuple<Tensor, Tensor, Tensor> solve_with(const Tensor& cost, const Tensor& supply,
                                              const Tensor& demand, double epsilon,
                                              std::int64_t max_iterations, double tolerance,
                                              double supply_relaxation, double demand_relaxation,
                                              const std::optional<Tensor>& initial_potential) {
  constexpr const char* kOp = "sinkhorn";
  check_problem(kOp, cost, "supply", supply, demand);
  if (initial_potential) check_of_targets(kOp, "initial_potential", *initial_potential, cost);
  const Tensor c = as_contiguous(cost), b = as_contiguous(supply), a = as_contiguous(demand);
  const auto start = as_contiguous(initial_potential);
  Tensor potential = torch::stable::empty_like(b);
  Tensor iterations = torch::stable::new_empty(b, {b.size(0)}, ScalarType::Int);
  Tensor marginal_error = torch::stable::new_empty(b, {b.size(0)});
  dispatch_cost(kOp, c, [&]<typename T, typename Stored>() {
    auto p = between<Problem<T, Stored>>(c, a);
    p.supply = b.const_data_ptr<T>();
    p.initial_potential = start ? start->const_data_ptr<T>() : nullptr;
    p.epsilon = epsilon;
    p.max_iterations = max_iterations;
    p.tolerance = tolerance;
    p.supply_relaxation = supply_relaxation;
    p.demand_relaxation = demand_relaxation;
    p.potential = potential.mutable_data_ptr<T>();
    p.iterations = iterations.mutable_data_ptr<std::int32_t>();
    p.marginal_error = marginal_error.mutable_data_ptr<T>();
    solve(kOp, c, p);
  });
  return {potential, iterations, marginal_error};
}

std::tuple<Tensor, Tensor, Tensor> sinkhorn(const Tensor& cost, const Tensor& supply,
                                            const Tensor& demand, double epsilon,
                                            std::int64_t max_iterations, double tolerance,
                                            double supply_relaxation, double demand_relaxation,
                                            const std::optional<Tensor>& initial_potential) {
  return solve_with<Sinkhorn>(cost, supply, demand, epsilon, max_iterations, tolerance,
                              supply_relaxation, demand_relaxation, initial_potential);
}

std::tuple<Tensor, Tensor, Tensor> sinkhorn_newton(const Tensor& cost, const Tensor& supply,
                                                   const Tensor& demand, double epsilon,
                                                   std::int64_t max_iterations, double tolerance,
                                                   const std::optional<Tensor>& initial_potential) {
  return solve_with<SinkhornNewton>(cost, supply, demand, epsilon, max_iterations, tolerance,
                                    kFixed, kFixed, initial_potential);
}

std::tuple<Tensor, Tensor, Tensor> sinkhorn_backward(const Tensor& grad_potential,
                                                     const Tensor& cost, const Tensor& supply,
                                                     const Tensor& demand, const Tensor& potential,
                                                     double epsilon, double supply_relaxation,
                                                     double demand_relaxation) {
  constexpr const char* kOp = "sinkhorn_backward";
  check_problem(kOp, cost, "supply", supply, demand);
  check_of_targets(kOp, "grad_potential", grad_potential, cost);
  check_of_targets(kOp, "potential", potential, cost);
  const Tensor g = as_contiguous(grad_potential), c = as_contiguous(cost);
  const Tensor b = as_contiguous(supply), a = as_contiguous(demand), u = as_contiguous(potential);
  Tensor grad_cost = torch::stable::empty_like(c), grad_supply = torch::stable::empty_like(b),
         grad_demand = torch::stable::empty_like(a);
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    auto p = planned<SinkhornBackward<T>>(c, u, a, epsilon, demand_relaxation);
    p.grad_potential = g.const_data_ptr<T>();
    p.supply = b.const_data_ptr<T>();
    p.supply_relaxation = supply_relaxation;
    p.grad_cost = grad_cost.mutable_data_ptr<T>();
    p.grad_supply = grad_supply.mutable_data_ptr<T>();
    p.grad_demand = grad_demand.mutable_data_ptr<T>();
    solve(kOp, c, p);
  });
  return {grad_cost, grad_supply, grad_demand};
}

Tensor transport_plan(const Tensor& cost, const Tensor& potential, const Tensor& demand,
                      double epsilon, double demand_relaxation) {
  constexpr const char* kOp = "transport_plan";
  check_problem(kOp, cost, "potential", potential, demand);
  const Tensor c = as_contiguous(cost), u = as_contiguous(potential), a = as_contiguous(demand);
  Tensor plan = torch::stable::new_empty(u, {c.size(0), c.size(1), c.size(2)});
  dispatch_cost(kOp, c, [&]<typename T, typename Stored>() {
    auto p = planned<TransportPlan<T, Stored>>(c, u, a, epsilon, demand_relaxation);
    p.plan = plan.mutable_data_ptr<T>();
    solve(kOp, c, p);
  });
  return plan;
}

std::tuple<Tensor, Tensor, Tensor> transport_plan_backward(const Tensor& grad_plan,
                                                           const Tensor& cost,
                                                           const Tensor& potential,
                                                           const Tensor& demand, double epsilon,
                                                           double demand_relaxation) {
  constexpr const char* kOp = "transport_plan_backward";
  check_problem(kOp, cost, "potential", potential, demand);
  check_beside_cost(kOp, "grad_plan", grad_plan,
                    {{"B", cost.size(0)}, {"K", cost.size(1)}, {"N", cost.size(2)}}, cost);
  const Tensor g = as_contiguous(grad_plan), c = as_contiguous(cost);
  const Tensor u = as_contiguous(potential), a = as_contiguous(demand);
  Tensor grad_cost = torch::stable::empty_like(c), grad_potential = torch::stable::empty_like(u),
         grad_demand = torch::stable::empty_like(a);
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    auto p = planned<TransportPlanBackward<T>>(c, u, a, epsilon, demand_relaxation);
    p.grad_plan = g.const_data_ptr<T>();
    p.grad_cost = grad_cost.mutable_data_ptr<T>();
    p.grad_potential = grad_potential.mutable_data_ptr<T>();
    p.grad_demand = grad_demand.mutable_data_ptr<T>();
    solve(kOp, c, p);
  });
  return {grad_cost, grad_potential, grad_demand};
}

Tensor transport_labels(const Tensor& cost, const Tensor& potential, const Tensor& demand) {
  constexpr const char* kOp = "transport_labels";
  check_problem(kOp, cost, "potential", potential, demand);
  const Tensor c = as_contiguous(cost), u = as_contiguous(potential), a = as_contiguous(demand);
  Tensor labels = torch::stable::new_empty(c, {c.size(0), c.size(2)}, ScalarType::Int);
  dispatch_cost(kOp, c, [&]<typename T, typename Stored>() {
    auto p = between<TransportLabels<T, Stored>>(c, a);
    p.potential = u.const_data_ptr<T>();
    p.labels = labels.mutable_data_ptr<std::int32_t>();
    solve(kOp, c, p);
  });
  return labels;
}

void implement(auto& m) {
  m.impl("sinkhorn", TORCH_BOX(&sinkhorn));
  m.impl("sinkhorn_newton", TORCH_BOX(&sinkhorn_newton));
  m.impl("sinkhorn_backward", TORCH_BOX(&sinkhorn_backward));
  m.impl("transport_plan", TORCH_BOX(&transport_plan));
  m.impl("transport_plan_backward", TORCH_BOX(&transport_plan_backward));
  m.impl("transport_labels", TORCH_BOX(&transport_labels));
}

} // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(point2mask, m) {
  m.def(
      "sinkhorn(Tensor cost, Tensor supply, Tensor demand, float epsilon, int max_iterations, "
      "float tolerance, float supply_relaxation, float demand_relaxation, "
      "Tensor? initial_potential) -> (Tensor potential, Tensor iterations, Tensor marginal_error)");
  m.def(
      "sinkhorn_newton(Tensor cost, Tensor supply, Tensor demand, float epsilon, "
      "int max_iterations, float tolerance, Tensor? initial_potential) -> "
      "(Tensor potential, Tensor iterations, Tensor marginal_error)");
  m.def(
      "sinkhorn_backward(Tensor grad_potential, Tensor cost, Tensor supply, Tensor demand, "
      "Tensor potential, float epsilon, float supply_relaxation, float demand_relaxation) -> "
      "(Tensor grad_cost, Tensor grad_supply, Tensor grad_demand)");
  m.def(
      "transport_plan(Tensor cost, Tensor potential, Tensor demand, float epsilon, "
      "float demand_relaxation) -> Tensor");
  m.def(
      "transport_plan_backward(Tensor grad_plan, Tensor cost, Tensor potential, Tensor demand, "
      "float epsilon, float demand_relaxation) -> "
      "(Tensor grad_cost, Tensor grad_potential, Tensor grad_demand)");
  m.def("transport_labels(Tensor cost, Tensor potential, Tensor demand) -> Tensor");
}

POINT2MASK_IMPLEMENT(implement)

} // namespace point2mask::bindings
