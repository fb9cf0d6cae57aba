// CUDA kernels of torch.ops.point2mask: sinkhorn, transport_plan, transport_labels, gradients.

#include <torch/csrc/stable/library.h>

#include <limits>
#include <optional>
#include <tuple>

#include "cuda_launch.hpp"
#include "point2mask/transport.hpp"
#include "point2mask/transport_cuda.hpp"
#include "transport_checks.hpp"

namespace point2mask::bindings {
namespace {

template <typename T>
void check_epsilon_for(const char* op, double epsilon) {
  transport::check_epsilon(op, epsilon, static_cast<double>(std::numeric_limits<T>::max()));
}

std::tuple<Tensor, Tensor, Tensor> sinkhorn_cuda(const Tensor& cost, const Tensor& supply,
                                                 const Tensor& demand, double epsilon,
                                                 std::int64_t max_iterations, double tolerance,
                                                 double supply_relaxation, double demand_relaxation,
                                                 const std::optional<Tensor>& initial_potential) {
  constexpr const char* kOp = "sinkhorn";
  check_sinkhorn(kOp, cost, supply, demand, initial_potential);
  const std::int64_t images = cost.size(0), targets = cost.size(1);
  transport::check_stopping(kOp, max_iterations, tolerance);
  transport::check_positive(kOp, "supply_relaxation", supply_relaxation);
  transport::check_positive(kOp, "demand_relaxation", demand_relaxation);
  const DeviceGuard guard(cost.get_device_index());
  const Tensor c = as_contiguous(cost), b = as_contiguous(supply), a = as_contiguous(demand);
  const std::optional<Tensor> start =
      initial_potential ? std::optional(as_contiguous(*initial_potential)) : std::nullopt;
  Tensor potential = torch::stable::new_empty(c, {images, targets});
  Tensor iterations = torch::stable::new_empty(c, {images}, ScalarType::Int);
  Tensor marginal_error = torch::stable::new_empty(c, {images});
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    check_epsilon_for<T>(kOp, epsilon);
    launch_with_scratch(
        kOp, c,
        cuda::Sinkhorn<T>{.cost = c.const_data_ptr<T>(),
                          .supply = b.const_data_ptr<T>(),
                          .demand = a.const_data_ptr<T>(),
                          .initial_potential = start ? start->const_data_ptr<T>() : nullptr,
                          .images = images,
                          .targets = targets,
                          .pixels = c.size(2),
                          .epsilon = epsilon,
                          .max_iterations = max_iterations,
                          .tolerance = tolerance,
                          .supply_relaxation = supply_relaxation,
                          .demand_relaxation = demand_relaxation,
                          .scratch = nullptr,
                          .potential = potential.mutable_data_ptr<T>(),
                          .iterations = iterations.mutable_data_ptr<std::int32_t>(),
                          .marginal_error = marginal_error.mutable_data_ptr<T>()},
        cuda::sinkhorn_scratch_bytes<T>, cuda::sinkhorn<T>);
  });
  return {potential, iterations, marginal_error};
}

std::tuple<Tensor, Tensor, Tensor> sinkhorn_backward_cuda(
    const Tensor& grad_potential, const Tensor& cost, const Tensor& supply, const Tensor& demand,
    const Tensor& potential, double epsilon, double supply_relaxation, double demand_relaxation) {
  constexpr const char* kOp = "sinkhorn_backward";
  check_sinkhorn_gradient(kOp, grad_potential, cost, supply, demand, potential);
  const std::int64_t images = cost.size(0), targets = cost.size(1), pixels = cost.size(2);
  transport::check_positive(kOp, "supply_relaxation", supply_relaxation);
  transport::check_positive(kOp, "demand_relaxation", demand_relaxation);
  const DeviceGuard guard(cost.get_device_index());
  const Tensor g = as_contiguous(grad_potential), c = as_contiguous(cost);
  const Tensor b = as_contiguous(supply), a = as_contiguous(demand), u = as_contiguous(potential);
  Tensor grad_cost = torch::stable::new_empty(c, {images, targets, pixels});
  Tensor grad_supply = torch::stable::new_empty(c, {images, targets});
  Tensor grad_demand = torch::stable::new_empty(c, {images, pixels});
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    check_epsilon_for<T>(kOp, epsilon);
    launch_with_scratch(kOp, c,
                        cuda::SinkhornBackward<T>{.grad_potential = g.const_data_ptr<T>(),
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
                                                  .scratch = nullptr,
                                                  .grad_cost = grad_cost.mutable_data_ptr<T>(),
                                                  .grad_supply = grad_supply.mutable_data_ptr<T>(),
                                                  .grad_demand = grad_demand.mutable_data_ptr<T>()},
                        cuda::sinkhorn_backward_scratch_bytes<T>, cuda::sinkhorn_backward<T>);
  });
  return {grad_cost, grad_supply, grad_demand};
}

Tensor transport_labels_cuda(const Tensor& cost, const Tensor& potential, const Tensor& demand) {
  constexpr const char* kOp = "transport_labels";
  check_problem(kOp, cost, "potential", potential, demand);
  const DeviceGuard guard(cost.get_device_index());
  const Tensor c = as_contiguous(cost), u = as_contiguous(potential), a = as_contiguous(demand);
  Tensor labels = torch::stable::new_empty(c, {c.size(0), c.size(2)}, ScalarType::Int);
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    check_launch(kOp, cuda::transport_labels<T>({.cost = c.const_data_ptr<T>(),
                                                 .potential = u.const_data_ptr<T>(),
                                                 .demand = a.const_data_ptr<T>(),
                                                 .images = c.size(0),
                                                 .targets = c.size(1),
                                                 .pixels = c.size(2),
                                                 .labels = labels.mutable_data_ptr<std::int32_t>()},
                                                current_stream(c)));
  });
  return labels;
}

Tensor transport_plan_cuda(const Tensor& cost, const Tensor& potential, const Tensor& demand,
                           double epsilon, double demand_relaxation) {
  constexpr const char* kOp = "transport_plan";
  check_problem(kOp, cost, "potential", potential, demand);
  transport::check_positive(kOp, "demand_relaxation", demand_relaxation);
  const DeviceGuard guard(cost.get_device_index());
  const Tensor c = as_contiguous(cost), u = as_contiguous(potential), a = as_contiguous(demand);
  Tensor plan = torch::stable::empty_like(c);
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    check_epsilon_for<T>(kOp, epsilon);
    check_launch(kOp, cuda::transport_plan<T>({.cost = c.const_data_ptr<T>(),
                                               .potential = u.const_data_ptr<T>(),
                                               .demand = a.const_data_ptr<T>(),
                                               .images = c.size(0),
                                               .targets = c.size(1),
                                               .pixels = c.size(2),
                                               .epsilon = epsilon,
                                               .demand_relaxation = demand_relaxation,
                                               .plan = plan.mutable_data_ptr<T>()},
                                              current_stream(c)));
  });
  return plan;
}

std::tuple<Tensor, Tensor, Tensor> transport_plan_backward_cuda(
    const Tensor& grad_plan, const Tensor& cost, const Tensor& potential, const Tensor& demand,
    double epsilon, double demand_relaxation) {
  constexpr const char* kOp = "transport_plan_backward";
  check_plan_gradient(kOp, grad_plan, cost, potential, demand);
  const std::int64_t images = cost.size(0), targets = cost.size(1), pixels = cost.size(2);
  transport::check_positive(kOp, "demand_relaxation", demand_relaxation);
  const DeviceGuard guard(cost.get_device_index());
  const Tensor g = as_contiguous(grad_plan), c = as_contiguous(cost);
  const Tensor u = as_contiguous(potential), a = as_contiguous(demand);
  Tensor grad_cost = torch::stable::new_empty(c, {images, targets, pixels});
  Tensor grad_potential = torch::stable::new_empty(c, {images, targets});
  Tensor grad_demand = torch::stable::new_empty(c, {images, pixels});
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    check_epsilon_for<T>(kOp, epsilon);
    launch_with_scratch(
        kOp, c,
        cuda::TransportPlanBackward<T>{.grad_plan = g.const_data_ptr<T>(),
                                       .cost = c.const_data_ptr<T>(),
                                       .potential = u.const_data_ptr<T>(),
                                       .demand = a.const_data_ptr<T>(),
                                       .images = images,
                                       .targets = targets,
                                       .pixels = pixels,
                                       .epsilon = epsilon,
                                       .demand_relaxation = demand_relaxation,
                                       .scratch = nullptr,
                                       .grad_cost = grad_cost.mutable_data_ptr<T>(),
                                       .grad_potential = grad_potential.mutable_data_ptr<T>(),
                                       .grad_demand = grad_demand.mutable_data_ptr<T>()},
        cuda::transport_plan_backward_scratch_bytes<T>, cuda::transport_plan_backward<T>);
  });
  return {grad_cost, grad_potential, grad_demand};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(point2mask, CUDA, m) {
  m.impl("sinkhorn", TORCH_BOX(&sinkhorn_cuda));
  m.impl("sinkhorn_backward", TORCH_BOX(&sinkhorn_backward_cuda));
  m.impl("transport_labels", TORCH_BOX(&transport_labels_cuda));
  m.impl("transport_plan", TORCH_BOX(&transport_plan_cuda));
  m.impl("transport_plan_backward", TORCH_BOX(&transport_plan_backward_cuda));
}

} // namespace point2mask::bindings
