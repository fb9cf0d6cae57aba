// CUDA kernels of torch.ops.point2mask: reading a transport plan.

#include <torch/csrc/stable/library.h>

#include <cmath>
#include <limits>

#include "cuda_launch.hpp"
#include "point2mask/transport_cuda.hpp"

namespace point2mask::bindings {
namespace {

void check_problem(const char* op, const Tensor& cost, const Tensor& potential,
                   const Tensor& demand) {
  check_shape(op, "cost", cost, {{"B"}, {"K"}, {"N"}});
  check_shape(op, "potential", potential, {{"B", cost.size(0)}, {"K", cost.size(1)}});
  check_shape(op, "demand", demand, {{"B", cost.size(0)}, {"N", cost.size(2)}});
  check_dtype(op, "potential", potential, cost.scalar_type());
  check_dtype(op, "demand", demand, cost.scalar_type());
  check_same_device(op, "potential", potential, cost);
  check_same_device(op, "demand", demand, cost);
}

Tensor transport_labels_cuda(const Tensor& cost, const Tensor& potential, const Tensor& demand) {
  constexpr const char* kOp = "transport_labels";
  check_problem(kOp, cost, potential, demand);
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
  check_problem(kOp, cost, potential, demand);
  require(epsilon > 0 && std::isfinite(epsilon), kOp, ": epsilon must be positive and finite, got ",
          epsilon);
  require(demand_relaxation > 0, kOp, ": demand_relaxation must be positive, got ",
          demand_relaxation);
  const DeviceGuard guard(cost.get_device_index());
  const Tensor c = as_contiguous(cost), u = as_contiguous(potential), a = as_contiguous(demand);
  Tensor plan = torch::stable::empty_like(c);
  dispatch_floating(kOp, "cost", c, [&]<typename T>() {
    constexpr double kLargest = std::numeric_limits<T>::max();
    require(1.5 / epsilon < kLargest, kOp, ": epsilon must have a finite inverse, got ", epsilon);
    require(1024 * epsilon < kLargest, kOp,
            ": epsilon must be small enough for finite potentials, got ", epsilon);
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

} // namespace

STABLE_TORCH_LIBRARY_IMPL(point2mask, CUDA, m) {
  m.impl("transport_labels", TORCH_BOX(&transport_labels_cuda));
  m.impl("transport_plan", TORCH_BOX(&transport_plan_cuda));
}

} // namespace point2mask::bindings
