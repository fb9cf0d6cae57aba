// torch.ops.point2mask.{spanning_tree, tree_filter} and the filter's gradient.

#include <initializer_list>
#include <optional>
#include <tuple>

#include "point2mask/tree.hpp"
#include "solve.hpp"

namespace point2mask::bindings {
namespace {

constexpr auto kInt = ScalarType::Int;

// `x` is what is filtered, of the name `argument`; the tree has maps of shape [B, N].
void check_tree_filter(const char* op, const char* argument, const Tensor& x, const Tensor& order,
                       const Tensor& parent, const Tensor& similarity) {
  check_shape(op, argument, x, {{"B"}, {"C"}, {"N"}});
  const std::initializer_list<Extent> map = {{"B", x.size(0)}, {"N", x.size(2)}};
  check_argument(op, "order", order, map, kInt, x);
  check_argument(op, "parent", parent, map, kInt, x);
  check_argument(op, "similarity", similarity, map, x.scalar_type(), x);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> spanning_tree(const Tensor& edge_weight) {
  constexpr const char* kOp = "spanning_tree";
  check_shape(kOp, "edge_weight", edge_weight, {{"B"}, {"D"}, {"H"}, {"W"}});
  const Tensor w = as_contiguous(edge_weight);
  const std::int64_t directions = w.size(1), pixels = w.size(2) * w.size(3);
  require(directions == 2 || directions == 4, kOp,
          ": edge_weight must have 2 or 4 directions, got ", directions);
  Tensor order = torch::stable::new_empty(w, {w.size(0), pixels}, kInt);
  Tensor parent = torch::stable::new_empty(w, {w.size(0), pixels}, kInt);
  Tensor edge = torch::stable::new_empty(w, {w.size(0), pixels}, kInt);
  Tensor weight = torch::stable::new_empty(w, {w.size(0), pixels});
  dispatch_floating(kOp, "edge_weight", w, [&]<typename T>() {
    solve(kOp, w,
          SpanningTree<T>{.edge_weight = w.const_data_ptr<T>(),
                          .images = w.size(0),
                          .directions = directions,
                          .height = w.size(2),
                          .width = w.size(3),
                          .order = order.mutable_data_ptr<std::int32_t>(),
                          .parent = parent.mutable_data_ptr<std::int32_t>(),
                          .edge = edge.mutable_data_ptr<std::int32_t>(),
                          .weight = weight.mutable_data_ptr<T>()});
  });
  return {order, parent, edge, weight};
}

// The tree, and the sizes of what is filtered, `x`, in both directions; the rest is the caller's.
template <template <typename> class Problem, typename T>
Problem<T> filtering(const Tensor& x, const Tensor& order, const Tensor& parent,
                     const Tensor& similarity, bool normalize) {
  Problem<T> p{};
  p.order = order.const_data_ptr<std::int32_t>();
  p.parent = parent.const_data_ptr<std::int32_t>();
  p.similarity = similarity.const_data_ptr<T>();
  sizes_of(x, p.images, p.channels, p.pixels);
  p.normalize = normalize;
  return p;
}

std::tuple<Tensor, Tensor> tree_filter(const Tensor& feature, const Tensor& order,
                                       const Tensor& parent, const Tensor& similarity,
                                       bool normalize) {
  constexpr const char* kOp = "tree_filter";
  check_tree_filter(kOp, "feature", feature, order, parent, similarity);
  const Tensor x = as_contiguous(feature), o = as_contiguous(order), p = as_contiguous(parent),
               s = as_contiguous(similarity);
  Tensor output = torch::stable::empty_like(x), kept;
  dispatch_floating(kOp, "feature", x, [&]<typename T>() {
    auto f = filtering<TreeFilter, T>(x, o, p, s, normalize);
    kept = torch::stable::new_empty(x, {x.is_cuda() ? kept_words(f) : 0}, kInt);
    f.feature = x.const_data_ptr<T>();
    f.output = output.mutable_data_ptr<T>();
    f.kept = kept.mutable_data_ptr<std::int32_t>();
    solve(kOp, x, f);
  });
  return {output, kept};
}

// Without feature and output (which then are not needed) grad_similarity is empty. On a GPU `kept`
// must be what tree_filter returned for this tree, similarity and `normalize`.
std::tuple<Tensor, Tensor> tree_filter_backward(const Tensor& grad_output,
                                                const std::optional<Tensor>& feature,
                                                const std::optional<Tensor>& output,
                                                const Tensor& order, const Tensor& parent,
                                                const Tensor& similarity, bool normalize,
                                                const std::optional<Tensor>& kept) {
  constexpr const char* kOp = "tree_filter_backward";
  check_tree_filter(kOp, "grad_output", grad_output, order, parent, similarity);
  const Tensor g = as_contiguous(grad_output), o = as_contiguous(order), p = as_contiguous(parent),
               s = as_contiguous(similarity);
  const std::optional<Tensor> k = as_contiguous(kept);
  const bool both = feature.has_value();
  if (both) {
    require(output.has_value(), kOp, ": output must be given with feature");
    const std::initializer_list<Extent> maps = {
        {"B", g.size(0)}, {"C", g.size(1)}, {"N", g.size(2)}};
    check_argument(kOp, "feature", *feature, maps, g.scalar_type(), g);
    check_argument(kOp, "output", *output, maps, g.scalar_type(), g);
  }
  const Tensor x = both ? as_contiguous(*feature) : g, y = both ? as_contiguous(*output) : g;
  Tensor grad_feature = torch::stable::empty_like(g);
  Tensor grad_similarity = torch::stable::new_empty(g, {both ? g.size(0) : 0, g.size(2)});
  dispatch_floating(kOp, "grad_output", g, [&]<typename T>() {
    auto f = filtering<TreeFilterBackward, T>(g, o, p, s, normalize);
    f.grad_output = g.const_data_ptr<T>();
    f.feature = x.const_data_ptr<T>();
    f.output = y.const_data_ptr<T>();
    f.grad_feature = grad_feature.mutable_data_ptr<T>();
    f.grad_similarity = both ? grad_similarity.mutable_data_ptr<T>() : nullptr;
    if (g.is_cuda()) {
      require(k.has_value(), kOp, ": kept must be given on a GPU, as tree_filter returned it");
      check_argument(kOp, "kept", *k, {{"words", kept_words(f)}}, kInt, g);
      f.kept = k->const_data_ptr<std::int32_t>();
    }
    solve(kOp, g, f);
  });
  return {grad_feature, grad_similarity};
}

void implement(auto& m) {
  m.impl("spanning_tree", TORCH_BOX(&spanning_tree));
  m.impl("tree_filter", TORCH_BOX(&tree_filter));
  m.impl("tree_filter_backward", TORCH_BOX(&tree_filter_backward));
}

} // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(point2mask, m) {
  m.def(
      "spanning_tree(Tensor edge_weight) -> "
      "(Tensor order, Tensor parent, Tensor edge, Tensor weight)");
  m.def(
      "tree_filter(Tensor feature, Tensor order, Tensor parent, Tensor similarity, "
      "bool normalize=True) -> (Tensor output, Tensor kept)");
  m.def(
      "tree_filter_backward(Tensor grad_output, Tensor? feature, Tensor? output, Tensor order, "
      "Tensor parent, Tensor similarity, bool normalize, Tensor? kept=None) -> "
      "(Tensor grad_feature, Tensor grad_similarity)");
}

POINT2MASK_IMPLEMENT(implement)

} // namespace point2mask::bindings
