// torch.ops.point2mask.geodesic_distance and its gradient.

#include <torch/csrc/stable/library.h>

#include "geodesic_checks.hpp"
#include "point2mask/geodesic.hpp"

namespace point2mask::bindings {
namespace {

Tensor geodesic_distance_cpu(const Tensor& edge_cost, const Tensor& seeds) {
  constexpr const char* kOp = "geodesic_distance";
  check_geodesic(kOp, edge_cost, seeds);
  const Tensor c = as_contiguous(edge_cost), s = as_contiguous(seeds);
  const std::int64_t images = c.size(0), height = c.size(2), width = c.size(3);
  Tensor distance = torch::stable::new_empty(c, {images, s.size(1), height, width});
  dispatch_floating(kOp, "edge_cost", c, [&]<typename T>() {
    geodesic_distance<T>({.edge_cost = c.const_data_ptr<T>(),
                          .seeds = s.const_data_ptr<std::int32_t>(),
                          .images = images,
                          .height = height,
                          .width = width,
                          .targets = s.size(1),
                          .points = s.size(2),
                          .distance = distance.mutable_data_ptr<T>()},
                         TorchExecutor());
  });
  return distance;
}

Tensor geodesic_distance_backward_cpu(const Tensor& grad_distance, const Tensor& edge_cost,
                                      const Tensor& distance, const Tensor& seeds) {
  constexpr const char* kOp = "geodesic_distance_backward";
  check_geodesic_gradient(kOp, grad_distance, edge_cost, distance, seeds);
  const Tensor c = as_contiguous(edge_cost), s = as_contiguous(seeds);
  const Tensor g = as_contiguous(grad_distance), d = as_contiguous(distance);
  Tensor grad_edge_cost = torch::stable::empty_like(c);
  dispatch_floating(kOp, "edge_cost", c, [&]<typename T>() {
    geodesic_distance_gradient<T>({.grad_distance = g.const_data_ptr<T>(),
                                   .edge_cost = c.const_data_ptr<T>(),
                                   .distance = d.const_data_ptr<T>(),
                                   .seeds = s.const_data_ptr<std::int32_t>(),
                                   .images = c.size(0),
                                   .height = c.size(2),
                                   .width = c.size(3),
                                   .targets = s.size(1),
                                   .points = s.size(2),
                                   .grad_edge_cost = grad_edge_cost.mutable_data_ptr<T>()},
                                  TorchExecutor());
  });
  return grad_edge_cost;
}

} // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(point2mask, m) {
  m.def("geodesic_distance(Tensor edge_cost, Tensor seeds) -> Tensor");
  m.def(
      "geodesic_distance_backward(Tensor grad_distance, Tensor edge_cost, Tensor distance, "
      "Tensor seeds) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(point2mask, CPU, m) {
  m.impl("geodesic_distance", TORCH_BOX(&geodesic_distance_cpu));
  m.impl("geodesic_distance_backward", TORCH_BOX(&geodesic_distance_backward_cpu));
}

} // namespace point2mask::bindings
