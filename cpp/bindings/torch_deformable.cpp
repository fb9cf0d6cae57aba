// torch.ops.point2mask.deformable_attention and its gradients.

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "deformable_checks.hpp"
#include "point2mask/deformable.hpp"

namespace point2mask::bindings {
namespace {

Tensor deformable_attention_cpu(const Tensor& value, const Tensor& where, const Tensor& weight,
                                const Tensor& shapes) {
  constexpr const char* kOp = "deformable_attention";
  check_deformable(kOp, value, where, weight, shapes);
  const Tensor v = as_contiguous(value), x = as_contiguous(where), a = as_contiguous(weight),
               s = as_contiguous(shapes);
  check_cells(kOp, s.const_data_ptr<std::int64_t>(), s.size(0), v.size(1));
  Tensor output = torch::stable::new_empty(v, {v.size(0), x.size(1), v.size(2), v.size(3)});
  dispatch_floating(kOp, "value", v, [&]<typename T>() {
    deformable_attention<T>({.value = v.const_data_ptr<T>(),
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
                            TorchExecutor());
  });
  return output;
}

std::tuple<Tensor, Tensor, Tensor> deformable_attention_backward_cpu(const Tensor& grad_output,
                                                                     const Tensor& value,
                                                                     const Tensor& where,
                                                                     const Tensor& weight,
                                                                     const Tensor& shapes) {
  constexpr const char* kOp = "deformable_attention_backward";
  check_deformable_gradient(kOp, grad_output, value, where, weight, shapes);
  const Tensor v = as_contiguous(value), x = as_contiguous(where), a = as_contiguous(weight),
               s = as_contiguous(shapes), g = as_contiguous(grad_output);
  check_cells(kOp, s.const_data_ptr<std::int64_t>(), s.size(0), v.size(1));
  Tensor grad_value = torch::stable::empty_like(v), grad_where = torch::stable::empty_like(x),
         grad_weight = torch::stable::empty_like(a);
  dispatch_floating(kOp, "value", v, [&]<typename T>() {
    deformable_attention_gradient<T>({.grad_output = g.const_data_ptr<T>(),
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
                                      .grad_value = grad_value.mutable_data_ptr<T>(),
                                      .grad_where = grad_where.mutable_data_ptr<T>(),
                                      .grad_weight = grad_weight.mutable_data_ptr<T>()},
                                     TorchExecutor());
  });
  return {grad_value, grad_where, grad_weight};
}

} // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(point2mask, m) {
  m.def("deformable_attention(Tensor value, Tensor where, Tensor weight, Tensor shapes) -> Tensor");
  m.def(
      "deformable_attention_backward(Tensor grad_output, Tensor value, Tensor where, "
      "Tensor weight, Tensor shapes) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(point2mask, CPU, m) {
  m.impl("deformable_attention", TORCH_BOX(&deformable_attention_cpu));
  m.impl("deformable_attention_backward", TORCH_BOX(&deformable_attention_backward_cpu));
}

} // namespace point2mask::bindings
