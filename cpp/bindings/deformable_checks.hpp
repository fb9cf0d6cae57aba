#pragma once

// Argument checks of deformable_attention, the same on every device.

#include "checks.hpp"

namespace point2mask::bindings {

inline void check_deformable(const char* op, const Tensor& value, const Tensor& where,
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

inline void check_deformable_gradient(const char* op, const Tensor& grad_output,
                                      const Tensor& value, const Tensor& where,
                                      const Tensor& weight, const Tensor& shapes) {
  check_deformable(op, value, where, weight, shapes);
  check_shape(
      op, "grad_output", grad_output,
      {{"B", value.size(0)}, {"Q", where.size(1)}, {"M", value.size(2)}, {"C", value.size(3)}});
  check_dtype(op, "grad_output", grad_output, value.scalar_type());
  check_same_device(op, "grad_output", grad_output, value);
}

} // namespace point2mask::bindings
