// torch.ops.point2mask.deformable_attention and its gradients.

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "checks.hpp"
#include "point2mask/deformable.hpp"

namespace point2mask::bindings {
namespace {

void check_arguments(const char* op, const Tensor& value, const Tensor& where, const Tensor& weight,
                     const Tensor& shapes) {
  check_shape(op, "value", value, {{"B"}, {"S"}, {"M"}, {"C"}});
  check_shape(op, "where", where,
              {{"B", value.size(0)}, {"Q"}, {"M", value.size(2)}, {"L"}, {"P"}, {"xy", 2}});
  check_shape(op, "weight", weight,
              {{"B", value.size(0)},
               {"Q", where.size(1)},
               {"M", value.size(2)},
               {"L", where.size(3)},
               {"P", where.size(4)}});
  check_shape(op, "shapes", shapes, {{"L", where.size(3)}, {"hw", 2}});
  check_dtype(op, "where", where, value.scalar_type());
  check_dtype(op, "weight", weight, value.scalar_type());
  check_dtype(op, "shapes", shapes, ScalarType::Long);
  for (const auto& [name, t] :
       {std::pair{"where", &where}, std::pair{"weight", &weight}, std::pair{"shapes", &shapes}})
    check_same_device(op, name, *t, value);
}

Tensor deformable_attention_cpu(const Tensor& value, const Tensor& where, const Tensor& weight,
                                const Tensor& shapes) {
  constexpr const char* kOp = "deformable_attention";
  check_arguments(kOp, value, where, weight, shapes);
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
  check_arguments(kOp, value, where, weight, shapes);
  check_shape(
      kOp, "grad_output", grad_output,
      {{"B", value.size(0)}, {"Q", where.size(1)}, {"M", value.size(2)}, {"C", value.size(3)}});
  check_dtype(kOp, "grad_output", grad_output, value.scalar_type());
  check_same_device(kOp, "grad_output", grad_output, value);
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
  m.def("deformable_attention(Tensor value, Tensor where, Tensor weight, Tensor shapes) -> Tensor",
        {at::Tag::pt2_compliant_tag});
  m.def(
      "deformable_attention_backward(Tensor grad_output, Tensor value, Tensor where, "
      "Tensor weight, Tensor shapes) -> (Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
}

STABLE_TORCH_LIBRARY_IMPL(point2mask, CPU, m) {
  m.impl("deformable_attention", TORCH_BOX(&deformable_attention_cpu));
  m.impl("deformable_attention_backward", TORCH_BOX(&deformable_attention_backward_cpu));
}

} // namespace point2mask::bindings
