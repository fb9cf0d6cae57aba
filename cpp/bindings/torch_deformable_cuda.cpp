// CUDA kernels of torch.ops.point2mask.deformable_attention and its gradients.

#include <torch/csrc/stable/library.h>

#include <limits>
#include <tuple>

#include "cuda_launch.hpp"
#include "deformable_checks.hpp"
#include "point2mask/deformable.hpp"
#include "point2mask/deformable_cuda.hpp"

namespace point2mask::bindings {
namespace {

void check_levels(const char* op, const Tensor& shapes) {
  require(shapes.size(0) <= cuda::kMostDeformableLevels, op, ": shapes must have at most ",
          cuda::kMostDeformableLevels, " maps on CUDA, got ", shapes.size(0));
}

// The sort counts in 32 bits.
void check_sizes(const char* op, const Tensor& where, const Tensor& shapes) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  require(where.size(1) * where.size(4) <= kMost, op,
          ": where must have fewer than 2^31 points a head and map on CUDA, got Q=", where.size(1),
          ", P=", where.size(4));
  const auto* const s = shapes.const_data_ptr<std::int64_t>();
  for (std::int64_t l = 0; l < shapes.size(0); ++l)
    require(
        s[2 * l] < kMost && s[2 * l + 1] < kMost && (s[2 * l] + 1) * (s[2 * l + 1] + 1) <= kMost,
        op, ": shapes must have (h + 1) (w + 1) < 2^31 on CUDA, got ", s[2 * l], " x ",
        s[2 * l + 1]);
}

Tensor deformable_attention_cuda(const Tensor& value, const Tensor& where, const Tensor& weight,
                                 const Tensor& shapes) {
  constexpr const char* kOp = "deformable_attention";
  check_deformable(kOp, value, where, weight, shapes);
  check_levels(kOp, shapes);
  const Tensor s = as_contiguous(shapes);
  check_cells(kOp, s.const_data_ptr<std::int64_t>(), s.size(0), value.size(1));
  const DeviceGuard guard(value.get_device_index());
  const Tensor v = as_contiguous(value), x = as_contiguous(where), a = as_contiguous(weight);
  Tensor output = torch::stable::new_empty(v, {v.size(0), x.size(1), v.size(2), v.size(3)});
  dispatch_floating(kOp, "value", v, [&]<typename T>() {
    check_launch(kOp, cuda::deformable_attention<T>({.value = v.const_data_ptr<T>(),
                                                     .where = x.const_data_ptr<T>(),
                                                     .weight = a.const_data_ptr<T>(),
                                                     .shapes = s.const_data_ptr<std::int64_t>(),
                                                     .images = v.size(0),
                                                     .cells = v.size(1),
                                                     .queries = x.size(1),
                                                     .heads = v.size(2),
                                                     .channels = v.size(3),
                                                     .levels = x.size(3),
                                                     .points = x.size(4),
                                                     .output = output.mutable_data_ptr<T>()},
                                                    current_stream(v)));
  });
  return output;
}

std::tuple<Tensor, Tensor, Tensor> deformable_attention_backward_cuda(const Tensor& grad_output,
                                                                      const Tensor& value,
                                                                      const Tensor& where,
                                                                      const Tensor& weight,
                                                                      const Tensor& shapes) {
  constexpr const char* kOp = "deformable_attention_backward";
  check_deformable_gradient(kOp, grad_output, value, where, weight, shapes);
  check_levels(kOp, shapes);
  const Tensor s = as_contiguous(shapes);
  check_cells(kOp, s.const_data_ptr<std::int64_t>(), s.size(0), value.size(1));
  check_sizes(kOp, where, s);
  const DeviceGuard guard(value.get_device_index());
  const Tensor v = as_contiguous(value), x = as_contiguous(where), a = as_contiguous(weight),
               g = as_contiguous(grad_output);
  Tensor grad_value = torch::stable::empty_like(v), grad_where = torch::stable::empty_like(x),
         grad_weight = torch::stable::empty_like(a);
  dispatch_floating(kOp, "value", v, [&]<typename T>() {
    launch_with_scratch(
        kOp, v,
        cuda::DeformableAttentionBackward<T>{.grad_output = g.const_data_ptr<T>(),
                                             .value = v.const_data_ptr<T>(),
                                             .where = x.const_data_ptr<T>(),
                                             .weight = a.const_data_ptr<T>(),
                                             .shapes = s.const_data_ptr<std::int64_t>(),
                                             .images = v.size(0),
                                             .cells = v.size(1),
                                             .queries = x.size(1),
                                             .heads = v.size(2),
                                             .channels = v.size(3),
                                             .levels = x.size(3),
                                             .points = x.size(4),
                                             .scratch = nullptr,
                                             .grad_value = grad_value.mutable_data_ptr<T>(),
                                             .grad_where = grad_where.mutable_data_ptr<T>(),
                                             .grad_weight = grad_weight.mutable_data_ptr<T>()},
        cuda::deformable_attention_backward_scratch_bytes, cuda::deformable_attention_backward);
  });
  return {grad_value, grad_where, grad_weight};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(point2mask, CUDA, m) {
  m.impl("deformable_attention", TORCH_BOX(&deformable_attention_cuda));
  m.impl("deformable_attention_backward", TORCH_BOX(&deformable_attention_backward_cuda));
}

} // namespace point2mask::bindings
