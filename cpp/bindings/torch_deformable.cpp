// torch.ops.point2mask.deformable_attention and its gradients.

#include <tuple>

#include "point2mask/deformable.hpp"
#include "solve.hpp"

namespace point2mask::bindings {
namespace {

void check_deformable(const char* op, const Tensor& value, const Tensor& where,
                      const Tensor& weight, const Tensor& shapes) {
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
  check_same_device(op, "where", where, value);
  check_same_device(op, "weight", weight, value);
  require(shapes.is_cpu(), op, ": shapes must be on the CPU, on whatever device the others are");
}

Tensor deformable_attention(const Tensor& value, const Tensor& where, const Tensor& weight,
                            const Tensor& shapes) {
  constexpr const char* kOp = "deformable_attention";
  check_deformable(kOp, value, where, weight, shapes);
  const Tensor v = as_contiguous(value), x = as_contiguous(where), a = as_contiguous(weight),
               s = as_contiguous(shapes);
  Tensor output = torch::stable::new_empty(v, {v.size(0), x.size(1), v.size(2), v.size(3)});
  dispatch_floating(kOp, "value", v, [&]<typename T>() {
    solve(kOp, v,
          DeformableAttention<T>{.value = v.const_data_ptr<T>(),
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
                                 .output = output.mutable_data_ptr<T>()});
  });
  return output;
}

std::tuple<Tensor, Tensor, Tensor> deformable_attention_backward(const Tensor& grad_output,
                                                                 const Tensor& value,
                                                                 const Tensor& where,
                                                                 const Tensor& weight,
                                                                 const Tensor& shapes) {
  constexpr const char* kOp = "deformable_attention_backward";
  check_deformable(kOp, value, where, weight, shapes);
  check_argument(
      kOp, "grad_output", grad_output,
      {{"B", value.size(0)}, {"Q", where.size(1)}, {"M", value.size(2)}, {"C", value.size(3)}},
      value.scalar_type(), value);
  const Tensor v = as_contiguous(value), x = as_contiguous(where), a = as_contiguous(weight),
               s = as_contiguous(shapes), g = as_contiguous(grad_output);
  Tensor grad_value = torch::stable::empty_like(v), grad_where = torch::stable::empty_like(x),
         grad_weight = torch::stable::empty_like(a);
  dispatch_floating(kOp, "value", v, [&]<typename T>() {
    solve(kOp, v,
          DeformableAttentionBackward<T>{.grad_output = g.const_data_ptr<T>(),
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
                                         .grad_weight = grad_weight.mutable_data_ptr<T>()});
  });
  return {grad_value, grad_where, grad_weight};
}

void implement(auto& m) {
  m.impl("deformable_attention", TORCH_BOX(&deformable_attention));
  m.impl("deformable_attention_backward", TORCH_BOX(&deformable_attention_backward));
}

} // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(point2mask, m) {
  m.def("deformable_attention(Tensor value, Tensor where, Tensor weight, Tensor shapes) -> Tensor");
  m.def(
      "deformable_attention_backward(Tensor grad_output, Tensor value, Tensor where, "
      "Tensor weight, Tensor shapes) -> (Tensor, Tensor, Tensor)");
}

POINT2MASK_IMPLEMENT(implement)

} // namespace point2mask::bindings
