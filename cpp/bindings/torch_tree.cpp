// torch.ops.point2mask.{spanning_tree, tree_filter} and the filter's gradient.

#include <torch/csrc/stable/library.h>

#include <optional>
#include <tuple>

#include "point2mask/tree.hpp"
#include "tree_checks.hpp"

namespace point2mask::bindings {
namespace {

constexpr auto kInt = ScalarType::Int;

std::tuple<Tensor, Tensor, Tensor, Tensor> spanning_tree_cpu(const Tensor& edge_weight) {
  constexpr const char* kOp = "spanning_tree";
  check_edge_weight(kOp, edge_weight);
  const Tensor w = as_contiguous(edge_weight);
  const std::int64_t images = w.size(0);
  const std::int64_t directions = w.size(1);
  const std::int64_t pixels = w.size(2) * w.size(3);
  Tensor order = torch::stable::new_empty(w, {images, pixels}, kInt);
  Tensor parent = torch::stable::new_empty(w, {images, pixels}, kInt);
  Tensor edge = torch::stable::new_empty(w, {images, pixels}, kInt);
  Tensor weight = torch::stable::new_empty(w, {images, pixels});
  dispatch_floating(kOp, "edge_weight", w, [&]<typename T>() {
    spanning_tree<T>({.edge_weight = w.const_data_ptr<T>(),
                      .images = images,
                      .directions = directions,
                      .height = w.size(2),
                      .width = w.size(3),
                      .order = order.mutable_data_ptr<std::int32_t>(),
                      .parent = parent.mutable_data_ptr<std::int32_t>(),
                      .edge = edge.mutable_data_ptr<std::int32_t>(),
                      .weight = weight.mutable_data_ptr<T>()},
                     TorchExecutor());
  });
  return {order, parent, edge, weight};
}

Tensor tree_filter_cpu(const Tensor& feature, const Tensor& order, const Tensor& parent,
                       const Tensor& similarity, bool normalize) {
  constexpr const char* kOp = "tree_filter";
  check_tree_filter(kOp, "feature", feature, order, parent, similarity);
  const Tensor x = as_contiguous(feature);
  const std::int64_t images = x.size(0);
  const std::int64_t pixels = x.size(2);
  const Tensor o = as_contiguous(order), p = as_contiguous(parent), s = as_contiguous(similarity);
  Tensor output = torch::stable::new_empty(x, {images, x.size(1), pixels});
  dispatch_floating(kOp, "feature", x, [&]<typename T>() {
    tree_filter<T>({.feature = x.const_data_ptr<T>(),
                    .order = o.const_data_ptr<std::int32_t>(),
                    .parent = p.const_data_ptr<std::int32_t>(),
                    .similarity = s.const_data_ptr<T>(),
                    .images = images,
                    .channels = x.size(1),
                    .pixels = pixels,
                    .normalize = normalize,
                    .output = output.mutable_data_ptr<T>()},
                   TorchExecutor());
  });
  return output;
}

// Without feature and output (which then are not needed) grad_similarity is empty.
std::tuple<Tensor, Tensor> tree_filter_backward_cpu(const Tensor& grad_output,
                                                    const std::optional<Tensor>& feature,
                                                    const std::optional<Tensor>& output,
                                                    const Tensor& order, const Tensor& parent,
                                                    const Tensor& similarity, bool normalize) {
  constexpr const char* kOp = "tree_filter_backward";
  check_tree_filter_gradient(kOp, grad_output, feature, output, order, parent, similarity);
  const Tensor g = as_contiguous(grad_output);
  const std::int64_t images = g.size(0);
  const std::int64_t channels = g.size(1);
  const std::int64_t pixels = g.size(2);
  const Tensor o = as_contiguous(order), p = as_contiguous(parent), s = as_contiguous(similarity);
  const bool both = feature.has_value();
  const Tensor x = both ? as_contiguous(*feature) : g, y = both ? as_contiguous(*output) : g;
  Tensor grad_feature = torch::stable::new_empty(g, {images, channels, pixels});
  Tensor grad_similarity = torch::stable::new_empty(g, {both ? images : 0, pixels});
  dispatch_floating(kOp, "grad_output", g, [&]<typename T>() {
    tree_filter_backward<T>(
        {.grad_output = g.const_data_ptr<T>(),
         .feature = x.const_data_ptr<T>(),
         .output = y.const_data_ptr<T>(),
         .order = o.const_data_ptr<std::int32_t>(),
         .parent = p.const_data_ptr<std::int32_t>(),
         .similarity = s.const_data_ptr<T>(),
         .images = images,
         .channels = channels,
         .pixels = pixels,
         .normalize = normalize,
         .grad_feature = grad_feature.mutable_data_ptr<T>(),
         .grad_similarity = both ? grad_similarity.mutable_data_ptr<T>() : nullptr},
        TorchExecutor());
  });
  return {grad_feature, grad_similarity};
}

} // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(point2mask, m) {
  m.def(
      "spanning_tree(Tensor edge_weight) -> "
      "(Tensor order, Tensor parent, Tensor edge, Tensor weight)");
  m.def(
      "tree_filter(Tensor feature, Tensor order, Tensor parent, Tensor similarity, "
      "bool normalize=True) -> Tensor");
  m.def(
      "tree_filter_backward(Tensor grad_output, Tensor? feature, Tensor? output, Tensor order, "
      "Tensor parent, Tensor similarity, bool normalize) -> "
      "(Tensor grad_feature, Tensor grad_similarity)");
}

STABLE_TORCH_LIBRARY_IMPL(point2mask, CPU, m) {
  m.impl("spanning_tree", TORCH_BOX(&spanning_tree_cpu));
  m.impl("tree_filter", TORCH_BOX(&tree_filter_cpu));
  m.impl("tree_filter_backward", TORCH_BOX(&tree_filter_backward_cpu));
}

} // namespace point2mask::bindings
