#pragma once

// Argument checks of the tree operators, the same on every device.

#include <initializer_list>
#include <optional>

#include "checks.hpp"

namespace point2mask::bindings {

inline void check_edge_weight(const char* op, const Tensor& edge_weight) {
  check_shape(op, "edge_weight", edge_weight, {{"B"}, {"D"}, {"H"}, {"W"}});
  const std::int64_t directions = edge_weight.size(1);
  require(directions == 2 || directions == 4, op, ": edge_weight must have 2 or 4 directions, got ",
          directions);
}

// A tree of every image: maps of shape [B, N].
inline void check_tree(const char* op, const Tensor& order, const Tensor& parent,
                       std::int64_t images, std::int64_t pixels, const Tensor& reference) {
  const std::initializer_list<Extent> map = {{"B", images}, {"N", pixels}};
  check_argument(op, "order", order, map, ScalarType::Int, reference);
  check_argument(op, "parent", parent, map, ScalarType::Int, reference);
}

// `x` is what is filtered, of the name `argument`.
inline void check_tree_filter(const char* op, const char* argument, const Tensor& x,
                              const Tensor& order, const Tensor& parent, const Tensor& similarity) {
  check_shape(op, argument, x, {{"B"}, {"C"}, {"N"}});
  const std::int64_t images = x.size(0), pixels = x.size(2);
  check_tree(op, order, parent, images, pixels, x);
  check_argument(op, "similarity", similarity, {{"B", images}, {"N", pixels}}, x.scalar_type(), x);
}

inline void check_tree_filter_gradient(const char* op, const Tensor& grad_output,
                                       const std::optional<Tensor>& feature,
                                       const std::optional<Tensor>& output, const Tensor& order,
                                       const Tensor& parent, const Tensor& similarity) {
  const Tensor& g = grad_output;
  check_tree_filter(op, "grad_output", g, order, parent, similarity);
  if (!feature) return;
  require(output.has_value(), op, ": output must be given with feature");
  const std::initializer_list<Extent> maps = {{"B", g.size(0)}, {"C", g.size(1)}, {"N", g.size(2)}};
  check_argument(op, "feature", *feature, maps, g.scalar_type(), g);
  check_argument(op, "output", *output, maps, g.scalar_type(), g);
}

} // namespace point2mask::bindings
