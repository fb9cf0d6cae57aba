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

// The arguments and sizes that both directions share; the rest is the caller's.
template <template <typename> class Problem, typename T>
Problem<T> reading(const Tensor& value, const Tensor& where, const Tensor& weight,
                   const Tensor& shapes) {
  Problem<T> p{};
  p.value = value.const_data_ptr<T>();
  p.where = where.const_data_ptr<T>();
  p.weight = weight.const_data_ptr<T>();
  p.shapes = shapes.const_data_ptr<std::int64_t>();
  sizes_of(value, p.images, p.cells, p.heads, p.channels);
  p.queries = where.size(1);
  p.levels = where.size(3);
  p.points = where.size(4);
  return p;
}

Tensor deformable_attention(const Tensor& value, const Tensor& where, const Tensor& weight,
                            const Tensor& shapes) {
  constexpr const char* kOp = "deformable_attention";
  check_deformable(kOp, value, where, weight, shapes);
  const Tensor v = as_contiguous(value), x = as_contiguous(where), a = as_contiguous(weight),
               s = as_contiguous(shapes);
  Tensor output = torch::stable::new_empty(v, {v.size(0), x.size(1), v.size(2), v.size(3)});
  dispatch_floating(kOp, "value", v, [&]<typename T>() {
    auto p = reading<DeformableAttention, T>(v, x, a, s);
    p.output = output.mutable_data_ptr<T>();
    solve(kOp, v, p);
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
    auto p = reading<DeformableAttentionBackward, T>(v, x, a, s);
    p.grad_output = g.const_data_ptr<T>();
    p.grad_value = grad_value.mutable_data_ptr<T>();
    p.grad_where = grad_where.mutable_data_ptr<T>();
    p.grad_weight = grad_weight.mutable_data_ptr<T>();
    solve(kOp, v, p);
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
