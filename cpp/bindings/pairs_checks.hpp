#pragma once

// Argument checks of the pair operators, the same on every device.

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
    check_argument(op, name, t,
                   {{"B", feature.size(0)},
                    {"D", difference.dim() > 1 ? difference.size(1) : -1},
                    {"H", feature.size(2)},
                    {"W", feature.size(3)}},
                   feature.scalar_type(), feature);
  }
}

// The checks that both directions of lab_affinity_loss share.
inline void check_lab_arguments(const char* op, const Tensor& logits, const Tensor& lab,
                                const std::optional<Tensor>& valid) {
  check_shape(op, "logits", logits, {{"B"}, {"C"}, {"H"}, {"W"}});
  const Extent images{"B", logits.size(0)}, height{"H", logits.size(2)}, width{"W", logits.size(3)};
  check_argument(op, "lab", lab, {images, {"3", 3}, height, width}, logits.scalar_type(), logits);
  if (valid) check_argument(op, "valid", *valid, {images, height, width}, ScalarType::Bool, logits);
}

inline void check_lab_gradient(const char* op, const Tensor& grad_loss, const Tensor& logits,
                               const Tensor& lab, const Tensor& pairs,
                               const std::optional<Tensor>& valid) {
  check_lab_arguments(op, logits, lab, valid);
  const Extent images{"B", logits.size(0)};
  check_argument(op, "grad_loss", grad_loss, {images}, logits.scalar_type(), logits);
  check_argument(op, "pairs", pairs, {images}, ScalarType::Long, logits);
}

// The checks that both directions of boundary_loss share.
inline void check_boundary_arguments(const char* op, const Tensor& boundary, const Tensor& instance,
                                     const Tensor& semantic) {
  check_shape(op, "boundary", boundary, {{"B"}, {"H"}, {"W"}});
  for (const auto& [name, t] :
       {std::pair<const char*, const Tensor&>{"instance", instance}, {"semantic", semantic}}) {
    check_argument(op, name, t,
                   {{"B", boundary.size(0)}, {"H", boundary.size(1)}, {"W", boundary.size(2)}},
                   ScalarType::Int, boundary);
  }
}

inline void check_boundary_gradient(const char* op, const Tensor& grad_loss, const Tensor& boundary,
                                    const Tensor& instance, const Tensor& semantic,
                                    const Tensor& pairs) {
  check_boundary_arguments(op, boundary, instance, semantic);
  const Extent images{"B", boundary.size(0)};
  check_argument(op, "grad_loss", grad_loss, {images}, boundary.scalar_type(), boundary);
  check_argument(op, "pairs", pairs, {images, {"3", 3}}, ScalarType::Long, boundary);
}

} // namespace point2mask::bindings
