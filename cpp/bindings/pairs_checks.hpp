#pragma once

// Shapes and dtypes of the arguments of the pair operators, whatever the device.

#include <cstdint>
#include <optional>
#include <utility>

#include "checks.hpp"

namespace point2mask::bindings {

inline void check_difference_gradient(const char* op, const Tensor& grad_difference,
                                      const Tensor& feature, const Tensor& difference) {
  check_shape(op, "feature", feature, {{"B"}, {"C"}, {"H"}, {"W"}});
  for (const auto& [name, t] : {std::pair<const char*, const Tensor&>{"difference", difference},
                                {"grad_difference", grad_difference}}) {
    check_shape(op, name, t,
                {{"B", feature.size(0)},
                 {"D", difference.dim() > 1 ? difference.size(1) : -1},
                 {"H", feature.size(2)},
                 {"W", feature.size(3)}});
    check_dtype(op, name, t, feature.scalar_type());
  }
}

// The checks that both directions of lab_affinity_loss share.
inline void check_lab_arguments(const char* op, const Tensor& logits, const Tensor& lab,
                                const std::optional<Tensor>& valid) {
  check_shape(op, "logits", logits, {{"B"}, {"C"}, {"H"}, {"W"}});
  const Extent images{"B", logits.size(0)}, height{"H", logits.size(2)}, width{"W", logits.size(3)};
  check_shape(op, "lab", lab, {images, {"3", 3}, height, width});
  check_dtype(op, "lab", lab, logits.scalar_type());
  if (valid) {
    check_shape(op, "valid", *valid, {images, height, width});
    check_dtype(op, "valid", *valid, ScalarType::Bool);
  }
}

inline void check_lab_gradient(const char* op, const Tensor& grad_loss, const Tensor& logits,
                               const Tensor& lab, const Tensor& pairs,
                               const std::optional<Tensor>& valid) {
  check_lab_arguments(op, logits, lab, valid);
  check_shape(op, "grad_loss", grad_loss, {{"B", logits.size(0)}});
  check_dtype(op, "grad_loss", grad_loss, logits.scalar_type());
  check_shape(op, "pairs", pairs, {{"B", logits.size(0)}});
  check_dtype(op, "pairs", pairs, ScalarType::Long);
}

// The checks that both directions of boundary_loss share.
inline void check_boundary_arguments(const char* op, const Tensor& boundary, const Tensor& instance,
                                     const Tensor& semantic) {
  check_shape(op, "boundary", boundary, {{"B"}, {"H"}, {"W"}});
  for (const auto& [name, t] :
       {std::pair<const char*, const Tensor&>{"instance", instance}, {"semantic", semantic}}) {
    check_shape(op, name, t,
                {{"B", boundary.size(0)}, {"H", boundary.size(1)}, {"W", boundary.size(2)}});
    check_dtype(op, name, t, ScalarType::Int);
  }
}

inline void check_boundary_gradient(const char* op, const Tensor& grad_loss, const Tensor& boundary,
                                    const Tensor& instance, const Tensor& semantic,
                                    const Tensor& pairs) {
  check_boundary_arguments(op, boundary, instance, semantic);
  check_shape(op, "grad_loss", grad_loss, {{"B", boundary.size(0)}});
  check_dtype(op, "grad_loss", grad_loss, boundary.scalar_type());
  check_shape(op, "pairs", pairs, {{"B", boundary.size(0)}, {"3", 3}});
  check_dtype(op, "pairs", pairs, ScalarType::Long);
}

} // namespace point2mask::bindings
