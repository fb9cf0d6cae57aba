// torch.ops.point2mask: operators on pairs of neighbouring pixels.

#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "point2mask/pairs.hpp"
#include "solve.hpp"

namespace point2mask::bindings {
namespace {

void check_difference_gradient(const char* op, const Tensor& grad_difference, const Tensor& feature,
                               const Tensor& difference) {
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
void check_lab_arguments(const char* op, const Tensor& logits, const Tensor& lab,
                         const std::optional<Tensor>& valid) {
  check_shape(op, "logits", logits, {{"B"}, {"C"}, {"H"}, {"W"}});
  const Extent images{"B", logits.size(0)}, height{"H", logits.size(2)}, width{"W", logits.size(3)};
  check_argument(op, "lab", lab, {images, {"3", 3}, height, width}, logits.scalar_type(), logits);
  if (valid) check_argument(op, "valid", *valid, {images, height, width}, ScalarType::Bool, logits);
}

void check_lab_gradient(const char* op, const Tensor& grad_loss, const Tensor& logits,
                        const Tensor& lab, const Tensor& pairs,
                        const std::optional<Tensor>& valid) {
  check_lab_arguments(op, logits, lab, valid);
  const Extent images{"B", logits.size(0)};
  check_argument(op, "grad_loss", grad_loss, {images}, logits.scalar_type(), logits);
  check_argument(op, "pairs", pairs, {images}, ScalarType::Long, logits);
}

// The checks that both directions of boundary_loss share.
void check_boundary_arguments(const char* op, const Tensor& boundary, const Tensor& instance,
                              const Tensor& semantic) {
  check_shape(op, "boundary", boundary, {{"B"}, {"H"}, {"W"}});
  for (const auto& [name, t] :
       {std::pair<const char*, const Tensor&>{"instance", instance}, {"semantic", semantic}}) {
    check_argument(op, name, t,
                   {{"B", boundary.size(0)}, {"H", boundary.size(1)}, {"W", boundary.size(2)}},
                   ScalarType::Int, boundary);
  }
}

void check_boundary_gradient(const char* op, const Tensor& grad_loss, const Tensor& boundary,
                             const Tensor& instance, const Tensor& semantic, const Tensor& pairs) {
  check_boundary_arguments(op, boundary, instance, semantic);
  const Extent images{"B", boundary.size(0)};
  check_argument(op, "grad_loss", grad_loss, {images}, boundary.scalar_type(), boundary);
  check_argument(op, "pairs", pairs, {images, {"3", 3}}, ScalarType::Long, boundary);
}

// The arguments and sizes that an operator shares with its gradient; the rest is the caller's.

template <template <typename> class Problem, typename T>
Problem<T> differences(const Tensor& feature, std::int64_t directions, Norm norm) {
  Problem<T> p{};
  p.feature = feature.const_data_ptr<T>();
  sizes_of(feature, p.images, p.channels, p.height, p.width);
  p.directions = directions;
  p.norm = norm;
  return p;
}

template <template <typename> class Problem, typename T>
Problem<T> affinity(const Tensor& logits, const Tensor& lab, const std::optional<Tensor>& valid,
                    std::int64_t kernel_size, std::int64_t dilation, double theta,
                    double threshold) {
  Problem<T> p{};
  p.logits = logits.const_data_ptr<T>();
  p.lab = lab.const_data_ptr<T>();
  p.valid = valid ? valid->const_data_ptr<bool>() : nullptr;
  sizes_of(logits, p.images, p.channels, p.height, p.width);
  p.kernel_size = kernel_size;
  p.dilation = dilation;
  p.theta = theta;
  p.threshold = threshold;
  return p;
}

template <template <typename> class Problem, typename T>
Problem<T> boundaries(const Tensor& boundary, const Tensor& instance, const Tensor& semantic,
                      std::int64_t kernel_size, std::int64_t dilation) {
  Problem<T> p{};
  p.boundary = boundary.const_data_ptr<T>();
  p.instance = instance.const_data_ptr<std::int32_t>();
  p.semantic = semantic.const_data_ptr<std::int32_t>();
  sizes_of(boundary, p.images, p.height, p.width);
  p.kernel_size = kernel_size;
  p.dilation = dilation;
  return p;
}

Tensor neighbor_difference(const Tensor& feature, std::int64_t directions,
                           const std::string& norm) {
  constexpr const char* kOp = "neighbor_difference";
  check_shape(kOp, "feature", feature, {{"B"}, {"C"}, {"H"}, {"W"}});
  check_directions(kOp, directions);
  const Norm kind = norm_from_name(norm);
  const Tensor f = as_contiguous(feature);
  Tensor difference =
      torch::stable::new_empty(f, {f.size(0), directions, f.size(2), f.size(3)}, f.scalar_type());
  dispatch_floating(kOp, "feature", f, [&]<typename T>() {
    auto p = differences<NeighborDifference, T>(f, directions, kind);
    p.difference = difference.mutable_data_ptr<T>();
    solve(kOp, f, p);
  });
  return difference;
}

Tensor neighbor_difference_backward(const Tensor& grad_difference, const Tensor& feature,
                                    const Tensor& difference, const std::string& norm) {
  constexpr const char* kOp = "neighbor_difference_backward";
  check_difference_gradient(kOp, grad_difference, feature, difference);
  const Norm kind = norm_from_name(norm);
  const Tensor g = as_contiguous(grad_difference), f = as_contiguous(feature),
               d = as_contiguous(difference);
  Tensor grad_feature = torch::stable::empty_like(f);
  dispatch_floating(kOp, "feature", f, [&]<typename T>() {
    auto p = differences<NeighborDifferenceBackward, T>(f, d.size(1), kind);
    p.grad_difference = g.const_data_ptr<T>();
    p.difference = d.const_data_ptr<T>();
    p.grad_feature = grad_feature.mutable_data_ptr<T>();
    solve(kOp, f, p);
  });
  return grad_feature;
}

std::tuple<Tensor, Tensor> lab_affinity_loss(const Tensor& logits, const Tensor& lab,
                                             std::int64_t kernel_size, std::int64_t dilation,
                                             double theta, double threshold,
                                             const std::optional<Tensor>& valid) {
  constexpr const char* kOp = "lab_affinity_loss";
  check_lab_arguments(kOp, logits, lab, valid);
  const Tensor z = as_contiguous(logits), l = as_contiguous(lab);
  const auto v = as_contiguous(valid);
  Tensor loss = torch::stable::new_empty(z, {z.size(0)}, z.scalar_type());
  Tensor pairs = torch::stable::new_empty(z, {z.size(0)}, ScalarType::Long);
  dispatch_floating(kOp, "logits", z, [&]<typename T>() {
    auto p = affinity<LabAffinityLoss, T>(z, l, v, kernel_size, dilation, theta, threshold);
    p.loss = loss.mutable_data_ptr<T>();
    p.pairs = pairs.mutable_data_ptr<std::int64_t>();
    solve(kOp, z, p);
  });
  return {loss, pairs};
}

Tensor lab_affinity_loss_backward(const Tensor& grad_loss, const Tensor& logits, const Tensor& lab,
                                  const Tensor& pairs, std::int64_t kernel_size,
                                  std::int64_t dilation, double theta, double threshold,
                                  const std::optional<Tensor>& valid) {
  constexpr const char* kOp = "lab_affinity_loss_backward";
  check_lab_gradient(kOp, grad_loss, logits, lab, pairs, valid);
  const Tensor g = as_contiguous(grad_loss), z = as_contiguous(logits), l = as_contiguous(lab),
               n = as_contiguous(pairs);
  const auto v = as_contiguous(valid);
  Tensor grad_logits = torch::stable::empty_like(z);
  dispatch_floating(kOp, "logits", z, [&]<typename T>() {
    auto p = affinity<LabAffinityLossBackward, T>(z, l, v, kernel_size, dilation, theta, threshold);
    p.grad_loss = g.const_data_ptr<T>();
    p.pairs = n.const_data_ptr<std::int64_t>();
    p.grad_logits = grad_logits.mutable_data_ptr<T>();
    solve(kOp, z, p);
  });
  return grad_logits;
}

std::tuple<Tensor, Tensor> boundary_loss(const Tensor& boundary, const Tensor& instance,
                                         const Tensor& semantic, std::int64_t kernel_size,
                                         std::int64_t dilation) {
  constexpr const char* kOp = "boundary_loss";
  check_boundary_arguments(kOp, boundary, instance, semantic);
  const Tensor b = as_contiguous(boundary), i = as_contiguous(instance),
               s = as_contiguous(semantic);
  Tensor loss = torch::stable::new_empty(b, {b.size(0)}, b.scalar_type());
  Tensor pairs = torch::stable::new_empty(b, {b.size(0), 3}, ScalarType::Long);
  dispatch_floating(kOp, "boundary", b, [&]<typename T>() {
    auto p = boundaries<BoundaryLoss, T>(b, i, s, kernel_size, dilation);
    p.loss = loss.mutable_data_ptr<T>();
    p.pairs = pairs.mutable_data_ptr<std::int64_t>();
    solve(kOp, b, p);
  });
  return {loss, pairs};
}

Tensor boundary_loss_backward(const Tensor& grad_loss, const Tensor& boundary,
                              const Tensor& instance, const Tensor& semantic, const Tensor& pairs,
                              std::int64_t kernel_size, std::int64_t dilation) {
  constexpr const char* kOp = "boundary_loss_backward";
  check_boundary_gradient(kOp, grad_loss, boundary, instance, semantic, pairs);
  const Tensor g = as_contiguous(grad_loss), b = as_contiguous(boundary),
               i = as_contiguous(instance), s = as_contiguous(semantic), n = as_contiguous(pairs);
  Tensor grad_boundary = torch::stable::empty_like(b);
  dispatch_floating(kOp, "boundary", b, [&]<typename T>() {
    auto p = boundaries<BoundaryLossBackward, T>(b, i, s, kernel_size, dilation);
    p.grad_loss = g.const_data_ptr<T>();
    p.pairs = n.const_data_ptr<std::int64_t>();
    p.grad_boundary = grad_boundary.mutable_data_ptr<T>();
    solve(kOp, b, p);
  });
  return grad_boundary;
}

void implement(auto& m) {
  m.impl("neighbor_difference", TORCH_BOX(&neighbor_difference));
  m.impl("neighbor_difference_backward", TORCH_BOX(&neighbor_difference_backward));
  m.impl("lab_affinity_loss", TORCH_BOX(&lab_affinity_loss));
  m.impl("lab_affinity_loss_backward", TORCH_BOX(&lab_affinity_loss_backward));
  m.impl("boundary_loss", TORCH_BOX(&boundary_loss));
  m.impl("boundary_loss_backward", TORCH_BOX(&boundary_loss_backward));
}

} // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(point2mask, m) {
  m.def("neighbor_difference(Tensor feature, int directions=8, str norm=\"l1\") -> Tensor");
  m.def(
      "neighbor_difference_backward(Tensor grad_difference, Tensor feature, Tensor difference, "
      "str norm) -> Tensor");
  m.def(
      "lab_affinity_loss(Tensor logits, Tensor lab, int kernel_size=3, int dilation=2, "
      "float theta=2.0, float threshold=0.3, Tensor? valid=None) -> (Tensor loss, Tensor pairs)");
  m.def(
      "lab_affinity_loss_backward(Tensor grad_loss, Tensor logits, Tensor lab, Tensor pairs, "
      "int kernel_size, int dilation, float theta, float threshold, Tensor? valid) -> Tensor");
  m.def(
      "boundary_loss(Tensor boundary, Tensor instance, Tensor semantic, int kernel_size=3, "
      "int dilation=1) -> (Tensor loss, Tensor pairs)");
  m.def(
      "boundary_loss_backward(Tensor grad_loss, Tensor boundary, Tensor instance, "
      "Tensor semantic, Tensor pairs, int kernel_size, int dilation) -> Tensor");
}

POINT2MASK_IMPLEMENT(implement)

} // namespace point2mask::bindings
