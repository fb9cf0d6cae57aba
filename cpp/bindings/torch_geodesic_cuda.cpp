// CUDA kernels of torch.ops.point2mask.geodesic_distance and its gradient.

#include <torch/csrc/stable/library.h>

#include "cuda_launch.hpp"
#include "geodesic_checks.hpp"
#include "point2mask/geodesic_cuda.hpp"

namespace point2mask::bindings {
namespace {

Tensor geodesic_distance_cuda(const Tensor& edge_cost, const Tensor& seeds) {
  constexpr const char* kOp = "geodesic_distance";
  check_geodesic(kOp, edge_cost, seeds);
  const DeviceGuard guard(edge_cost.get_device_index());
  const Tensor c = as_contiguous(edge_cost), s = as_contiguous(seeds);
  const std::int64_t images = c.size(0), height = c.size(2), width = c.size(3);
  const std::int64_t targets = s.size(1);
  Tensor distance = torch::stable::new_empty(c, {images, targets, height, width});
  dispatch_floating(kOp, "edge_cost", c, [&]<typename T>() {
    const std::size_t bytes =
        cuda::geodesic_distance_scratch_bytes<T>(images, targets, height, width);
    const Tensor scratch = scratch_memory(c, bytes);
    check_launch(kOp, cuda::geodesic_distance<T>(
                          {.edge_cost = c.const_data_ptr<T>(),
                           .seeds = s.const_data_ptr<std::int32_t>(),
                           .images = images,
                           .height = height,
                           .width = width,
                           .targets = targets,
                           .points = s.size(2),
                           .scratch = bytes ? static_cast<std::int32_t*>(scratch.mutable_data_ptr())
                                            : nullptr,
                           .distance = distance.mutable_data_ptr<T>()},
                          current_stream(c)));
  });
  return distance;
}

Tensor geodesic_distance_backward_cuda(const Tensor& grad_distance, const Tensor& edge_cost,
                                       const Tensor& distance, const Tensor& seeds) {
  constexpr const char* kOp = "geodesic_distance_backward";
  check_geodesic_gradient(kOp, grad_distance, edge_cost, distance, seeds);
  const DeviceGuard guard(edge_cost.get_device_index());
  const Tensor g = as_contiguous(grad_distance), c = as_contiguous(edge_cost);
  const Tensor d = as_contiguous(distance), s = as_contiguous(seeds);
  const std::int64_t images = c.size(0), height = c.size(2), width = c.size(3);
  const std::int64_t targets = s.size(1);
  const std::int64_t at_once =
      cuda::geodesic_gradient_targets_at_once(images, targets, height, width);
  Tensor grad_edge_cost = torch::stable::empty_like(c);
  dispatch_floating(kOp, "edge_cost", c, [&]<typename T>() {
    const Tensor scratch = scratch_memory(
        c, cuda::geodesic_gradient_scratch_bytes<T>(images, targets, height, width, at_once));
    check_launch(kOp, cuda::geodesic_distance_gradient<T>(
                          {.grad_distance = g.const_data_ptr<T>(),
                           .edge_cost = c.const_data_ptr<T>(),
                           .distance = d.const_data_ptr<T>(),
                           .seeds = s.const_data_ptr<std::int32_t>(),
                           .images = images,
                           .height = height,
                           .width = width,
                           .targets = targets,
                           .points = s.size(2),
                           .targets_at_once = at_once,
                           .scratch = scratch.mutable_data_ptr(),
                           .grad_edge_cost = grad_edge_cost.mutable_data_ptr<T>()},
                          current_stream(c)));
  });
  return grad_edge_cost;
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(point2mask, CUDA, m) {
  m.impl("geodesic_distance", TORCH_BOX(&geodesic_distance_cuda));
  m.impl("geodesic_distance_backward", TORCH_BOX(&geodesic_distance_backward_cuda));
}

} // namespace point2mask::bindings
