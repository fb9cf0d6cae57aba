// torch.ops.point2mask.sinkhorn, transport_plan, transport_labels and their gradients.

#include <torch/csrc/stable/library.h>

#include <limits>
#include <optional>
#include <tuple>

#include "point2mask/transport.hpp"
#include "transport_checks.hpp"

namespace point2mask::bindings {
namespace {

std::tuple<Tensor, Tensor, Tensor> solve_cpu(auto solver, const Tensor& cost, const Tensor& supply,
                                             const Tensor& demand, double epsilon,
                                             std::int64_t max_iterations, double tolerance,
                                             double supply_relaxation, double demand_relaxation,
                                             const std::optional<Tensor>& initial_potential) {
  constexpr const char* kOp = "sinkhorn";
  check_sinkhorn(kOp, cost, supply, demand, initial_potential);
  const std::int64_t images = cost.size(0), targets = cost.size(1), pixels = cost.size(2);
  const Tensor c = as_contiguous(cost), b = as_contiguous(supply), a = as_contiguous(demand);
  const std::optional<Tensor> start =
      initial_potential ? std::optional(as_contiguous(*initial_potential)) : std::nullopt;
  Tensor potential = torch::stable::new_empty(c, {images, targets});
  Tensor iterations = torch::stable::new_empty(c, {images}, ScalarType::Int);
  Tensor marginal_error = torch::stable::new_empty(c, {images});
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    solver(Sinkhorn<T>{.cost = c.const_data_ptr<T>(),
                       .supply = b.const_data_ptr<T>(),
                       .demand = a.const_data_ptr<T>(),
                       .initial_potential = start ? start->const_data_ptr<T>() : nullptr,
                       .images = images,
                       .targets = targets,
                       .pixels = pixels,
                       .epsilon = epsilon,
                       .max_iterations = max_iterations,
                       .tolerance = tolerance,
                       .supply_relaxation = supply_relaxation,
                       .demand_relaxation = demand_relaxation,
                       .potential = potential.mutable_data_ptr<T>(),
                       .iterations = iterations.mutable_data_ptr<std::int32_t>(),
                       .marginal_error = marginal_error.mutable_data_ptr<T>()},
           TorchExecutor());
  });
  return {potential, iterations, marginal_error};
}

std::tuple<Tensor, Tensor, Tensor> sinkhorn_cpu(const Tensor& cost, const Tensor& supply,
                                                const Tensor& demand, double epsilon,
                                                std::int64_t max_iterations, double tolerance,
                                                double supply_relaxation, double demand_relaxation,
                                                const std::optional<Tensor>& initial_potential) {
  return solve_cpu([](const auto& s, const Executor& executor) { sinkhorn(s, executor); }, cost,
                   supply, demand, epsilon, max_iterations, tolerance, supply_relaxation,
                   demand_relaxation, initial_potential);
}

std::tuple<Tensor, Tensor, Tensor> sinkhorn_newton_cpu(
    const Tensor& cost, const Tensor& supply, const Tensor& demand, double epsilon,
    std::int64_t max_iterations, double tolerance, const std::optional<Tensor>& initial_potential) {
  constexpr double kFixed = std::numeric_limits<double>::infinity();
  return solve_cpu([](const auto& s, const Executor& executor) { sinkhorn_newton(s, executor); },
                   cost, supply, demand, epsilon, max_iterations, tolerance, kFixed, kFixed,
                   initial_potential);
}

std::tuple<Tensor, Tensor, Tensor> sinkhorn_backward_cpu(
    const Tensor& grad_potential, const Tensor& cost, const Tensor& supply, const Tensor& demand,
    const Tensor& potential, double epsilon, double supply_relaxation, double demand_relaxation) {
  constexpr const char* kOp = "sinkhorn_backward";
  check_sinkhorn_gradient(kOp, grad_potential, cost, supply, demand, potential);
  const std::int64_t images = cost.size(0), targets = cost.size(1), pixels = cost.size(2);
  const Tensor g = as_contiguous(grad_potential), c = as_contiguous(cost);
  const Tensor b = as_contiguous(supply), a = as_contiguous(demand), u = as_contiguous(potential);
  Tensor grad_cost = torch::stable::new_empty(c, {images, targets, pixels});
  Tensor grad_supply = torch::stable::new_empty(c, {images, targets});
  Tensor grad_demand = torch::stable::new_empty(c, {images, pixels});
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    sinkhorn_backward(SinkhornBackward<T>{.grad_potential = g.const_data_ptr<T>(),
                                          .cost = c.const_data_ptr<T>(),
                                          .supply = b.const_data_ptr<T>(),
                                          .demand = a.const_data_ptr<T>(),
                                          .potential = u.const_data_ptr<T>(),
                                          .images = images,
                                          .targets = targets,
                                          .pixels = pixels,
                                          .epsilon = epsilon,
                                          .supply_relaxation = supply_relaxation,
                                          .demand_relaxation = demand_relaxation,
                                          .grad_cost = grad_cost.mutable_data_ptr<T>(),
                                          .grad_supply = grad_supply.mutable_data_ptr<T>(),
                                          .grad_demand = grad_demand.mutable_data_ptr<T>()},
                      TorchExecutor());
  });
  return {grad_cost, grad_supply, grad_demand};
}

Tensor transport_plan_cpu(const Tensor& cost, const Tensor& potential, const Tensor& demand,
                          double epsilon, double demand_relaxation) {
  constexpr const char* kOp = "transport_plan";
  check_problem(kOp, cost, "potential", potential, demand);
  const std::int64_t images = cost.size(0), targets = cost.size(1), pixels = cost.size(2);
  const Tensor c = as_contiguous(cost), u = as_contiguous(potential), a = as_contiguous(demand);
  Tensor plan = torch::stable::new_empty(c, {images, targets, pixels});
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    transport_plan(TransportPlan<T>{.cost = c.const_data_ptr<T>(),
                                    .potential = u.const_data_ptr<T>(),
                                    .demand = a.const_data_ptr<T>(),
                                    .images = images,
                                    .targets = targets,
                                    .pixels = pixels,
                                    .epsilon = epsilon,
                                    .demand_relaxation = demand_relaxation,
                                    .plan = plan.mutable_data_ptr<T>()},
                   TorchExecutor());
  });
  return plan;
}

std::tuple<Tensor, Tensor, Tensor> transport_plan_backward_cpu(const Tensor& grad_plan,
                                                               const Tensor& cost,
                                                               const Tensor& potential,
                                                               const Tensor& demand, double epsilon,
                                                               double demand_relaxation) {
  constexpr const char* kOp = "transport_plan_backward";
  check_plan_gradient(kOp, grad_plan, cost, potential, demand);
  const std::int64_t images = cost.size(0), targets = cost.size(1), pixels = cost.size(2);
  const Tensor g = as_contiguous(grad_plan), c = as_contiguous(cost);
  const Tensor u = as_contiguous(potential), a = as_contiguous(demand);
  Tensor grad_cost = torch::stable::new_empty(c, {images, targets, pixels});
  Tensor grad_potential = torch::stable::new_empty(c, {images, targets});
  Tensor grad_demand = torch::stable::new_empty(c, {images, pixels});
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    transport_plan_backward(
        TransportPlanBackward<T>{.grad_plan = g.const_data_ptr<T>(),
                                 .cost = c.const_data_ptr<T>(),
                                 .potential = u.const_data_ptr<T>(),
                                 .demand = a.const_data_ptr<T>(),
                                 .images = images,
                                 .targets = targets,
                                 .pixels = pixels,
                                 .epsilon = epsilon,
                                 .demand_relaxation = demand_relaxation,
                                 .grad_cost = grad_cost.mutable_data_ptr<T>(),
                                 .grad_potential = grad_potential.mutable_data_ptr<T>(),
                                 .grad_demand = grad_demand.mutable_data_ptr<T>()},
        TorchExecutor());
  });
  return {grad_cost, grad_potential, grad_demand};
}

Tensor transport_labels_cpu(const Tensor& cost, const Tensor& potential, const Tensor& demand) {
  constexpr const char* kOp = "transport_labels";
  check_problem(kOp, cost, "potential", potential, demand);
  const std::int64_t images = cost.size(0), targets = cost.size(1), pixels = cost.size(2);
  const Tensor c = as_contiguous(cost), u = as_contiguous(potential), a = as_contiguous(demand);
  Tensor labels = torch::stable::new_empty(c, {images, pixels}, ScalarType::Int);
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    transport_labels(TransportLabels<T>{.cost = c.const_data_ptr<T>(),
                                        .potential = u.const_data_ptr<T>(),
                                        .demand = a.const_data_ptr<T>(),
                                        .images = images,
                                        .targets = targets,
                                        .pixels = pixels,
                                        .labels = labels.mutable_data_ptr<std::int32_t>()},
                     TorchExecutor());
  });
  return labels;
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

STABLE_TORCH_LIBRARY_IMPL(point2mask, CPU, m) {
  m.impl("sinkhorn", TORCH_BOX(&sinkhorn_cpu));
  m.impl("sinkhorn_newton", TORCH_BOX(&sinkhorn_newton_cpu));
  m.impl("sinkhorn_backward", TORCH_BOX(&sinkhorn_backward_cpu));
  m.impl("transport_plan", TORCH_BOX(&transport_plan_cpu));
  m.impl("transport_plan_backward", TORCH_BOX(&transport_plan_backward_cpu));
  m.impl("transport_labels", TORCH_BOX(&transport_labels_cpu));
}

} // namespace point2mask::bindings
