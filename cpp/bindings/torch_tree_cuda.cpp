// CUDA kernels of torch.ops.point2mask.{spanning_tree, tree_filter} and the filter's gradient.

#include <torch/csrc/stable/library.h>

#include <limits>
#include <optional>
#include <tuple>

#include "cuda_launch.hpp"
#include "point2mask/tree_cuda.hpp"
#include "tree_checks.hpp"

namespace point2mask::bindings {
namespace {

constexpr auto kInt = ScalarType::Int;

std::tuple<Tensor, Tensor, Tensor, Tensor> spanning_tree_cuda(const Tensor& edge_weight) {
  constexpr const char* kOp = "spanning_tree";
  check_edge_weight(kOp, edge_weight);
  const std::int64_t images = edge_weight.size(0), directions = edge_weight.size(1);
  const std::int64_t height = edge_weight.size(2), width = edge_weight.size(3);
  require(width == 0 || height <= std::numeric_limits<std::int32_t>::max() / directions / width,
          kOp, ": edge_weight must have less than 2^31 entries an image, got ", height, " x ",
          width, " pixels");
  const DeviceGuard guard(edge_weight.get_device_index());
  const Tensor w = as_contiguous(edge_weight);
  Tensor order = torch::stable::new_empty(w, {images, height * width}, kInt);
  Tensor parent = torch::stable::new_empty(w, {images, height * width}, kInt);
  Tensor edge = torch::stable::new_empty(w, {images, height * width}, kInt);
  Tensor weight = torch::stable::new_empty(w, {images, height * width});
  dispatch_floating(kOp, "edge_weight", w, [&]<typename T>() {
    launch_with_scratch(kOp, w,
                        cuda::SpanningTree<T>{.edge_weight = w.const_data_ptr<T>(),
                                              .images = images,
                                              .directions = directions,
                                              .height = height,
                                              .width = width,
                                              .scratch = nullptr,
                                              .order = order.mutable_data_ptr<std::int32_t>(),
                                              .parent = parent.mutable_data_ptr<std::int32_t>(),
                                              .edge = edge.mutable_data_ptr<std::int32_t>(),
                                              .weight = weight.mutable_data_ptr<T>()},
                        cuda::spanning_tree_scratch_bytes<T>, cuda::spanning_tree<T>);
  });
  return {order, parent, edge, weight};
}

Tensor tree_filter_cuda(const Tensor& feature, const Tensor& order, const Tensor& parent,
                        const Tensor& similarity, bool normalize) {
  constexpr const char* kOp = "tree_filter";
  check_tree_filter(kOp, "feature", feature, order, parent, similarity);
  const DeviceGuard guard(feature.get_device_index());
  const Tensor x = as_contiguous(feature);
  const Tensor o = as_contiguous(order), p = as_contiguous(parent), s = as_contiguous(similarity);
  Tensor output = torch::stable::empty_like(x);
  dispatch_floating(kOp, "feature", x, [&]<typename T>() {
    launch_with_scratch(kOp, x,
                        cuda::TreeFilter<T>{.feature = x.const_data_ptr<T>(),
                                            .order = o.const_data_ptr<std::int32_t>(),
                                            .parent = p.const_data_ptr<std::int32_t>(),
                                            .similarity = s.const_data_ptr<T>(),
                                            .images = x.size(0),
                                            .channels = x.size(1),
                                            .pixels = x.size(2),
                                            .normalize = normalize,
                                            .scratch = nullptr,
                                            .output = output.mutable_data_ptr<T>()},
                        cuda::tree_filter_scratch_bytes<T>, cuda::tree_filter<T>);
  });
  return output;
}

// Without feature and output (which then are not needed) grad_similarity is empty.
std::tuple<Tensor, Tensor> tree_filter_backward_cuda(const Tensor& grad_output,
                                                     const std::optional<Tensor>& feature,
                                                     const std::optional<Tensor>& output,
                                                     const Tensor& order, const Tensor& parent,
                                                     const Tensor& similarity, bool normalize) {
  constexpr const char* kOp = "tree_filter_backward";
  check_tree_filter_gradient(kOp, grad_output, feature, output, order, parent, similarity);
  const DeviceGuard guard(grad_output.get_device_index());
  const Tensor g = as_contiguous(grad_output);
  const std::int64_t images = g.size(0), channels = g.size(1), pixels = g.size(2);
  const Tensor o = as_contiguous(order), p = as_contiguous(parent), s = as_contiguous(similarity);
  const bool both = feature.has_value();
  const Tensor x = both ? as_contiguous(*feature) : g, y = both ? as_contiguous(*output) : g;
  Tensor grad_feature = torch::stable::empty_like(g);
  Tensor grad_similarity = torch::stable::new_empty(g, {both ? images : 0, pixels});
  dispatch_floating(kOp, "grad_output", g, [&]<typename T>() {
    launch_with_scratch(
        kOp, g,
        cuda::TreeFilterBackward<T>{
            .grad_output = g.const_data_ptr<T>(),
            .feature = x.const_data_ptr<T>(),
            .output = y.const_data_ptr<T>(),
            .order = o.const_data_ptr<std::int32_t>(),
            .parent = p.const_data_ptr<std::int32_t>(),
            .similarity = s.const_data_ptr<T>(),
            .images = images,
            .channels = channels,
            .pixels = pixels,
            .normalize = normalize,
            .scratch = nullptr,
            .grad_feature = grad_feature.mutable_data_ptr<T>(),
            .grad_similarity = both ? grad_similarity.mutable_data_ptr<T>() : nullptr},
        cuda::tree_filter_backward_scratch_bytes<T>, cuda::tree_filter_backward<T>);
  });
  return {grad_feature, grad_similarity};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(point2mask, CUDA, m) {
  m.impl("spanning_tree", TORCH_BOX(&spanning_tree_cuda));
  m.impl("tree_filter", TORCH_BOX(&tree_filter_cuda));
  m.impl("tree_filter_backward", TORCH_BOX(&tree_filter_backward_cuda));
}

} // namespace point2mask::bindings
