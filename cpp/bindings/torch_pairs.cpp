// torch.ops.point2mask: operators on pairs of neighbouring pixels.

#include <torch/csrc/stable/library.h>

#include <string>

#include "checks.hpp"
#include "point2mask/pairs.hpp"

namespace point2mask::bindings {
namespace {

Tensor neighbor_difference_cpu(const Tensor& feature, std::int64_t directions, std::string norm) {
  constexpr const char* kOp = "neighbor_difference";
  check_shape(kOp, "feature", feature, {{"B"}, {"C"}, {"H"}, {"W"}});
  STD_TORCH_CHECK(directions == 2 || directions == 4 || directions == 8, kOp,
                  ": directions must be 2, 4 or 8, got ", directions);
  const Norm kind = norm_from_name(norm);
  const Tensor f = as_contiguous(feature);
  Tensor difference =
      torch::stable::new_empty(f, {f.size(0), directions, f.size(2), f.size(3)}, f.scalar_type());
  dispatch_floating(kOp, "feature", f, [&]<typename T>() {
    neighbor_difference<T>({.feature = f.const_data_ptr<T>(),
                            .images = f.size(0),
                            .channels = f.size(1),
                            .height = f.size(2),
                            .width = f.size(3),
                            .directions = directions,
                            .norm = kind,
                            .difference = difference.mutable_data_ptr<T>()},
                           TorchExecutor());
  });
  return difference;
}

Tensor neighbor_difference_backward_cpu(const Tensor& grad_difference, const Tensor& feature,
                                        const Tensor& difference, std::string norm) {
  constexpr const char* kOp = "neighbor_difference_backward";
  check_shape(kOp, "feature", feature, {{"B"}, {"C"}, {"H"}, {"W"}});
  for (const auto& [name, t] : {std::pair<const char*, const Tensor&>{"difference", difference},
                                {"grad_difference", grad_difference}}) {
    check_shape(kOp, name, t,
                {{"B", feature.size(0)},
                 {"D", difference.dim() > 1 ? difference.size(1) : -1},
                 {"H", feature.size(2)},
                 {"W", feature.size(3)}});
    check_dtype(kOp, name, t, feature.scalar_type());
  }
  const Norm kind = norm_from_name(norm);
  const Tensor g = as_contiguous(grad_difference), f = as_contiguous(feature),
               d = as_contiguous(difference);
  Tensor grad_feature = torch::stable::empty_like(f);
  dispatch_floating(kOp, "feature", f, [&]<typename T>() {
    neighbor_difference_backward<T>({.grad_difference = g.const_data_ptr<T>(),
                                     .feature = f.const_data_ptr<T>(),
                                     .difference = d.const_data_ptr<T>(),
                                     .images = f.size(0),
                                     .channels = f.size(1),
                                     .height = f.size(2),
                                     .width = f.size(3),
                                     .directions = d.size(1),
                                     .norm = kind,
                                     .grad_feature = grad_feature.mutable_data_ptr<T>()},
                                    TorchExecutor());
  });
  return grad_feature;
}

} // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(point2mask, m) {
  m.def("neighbor_difference(Tensor feature, int directions=8, str norm=\"l1\") -> Tensor",
        {at::Tag::pt2_compliant_tag});
  m.def(
      "neighbor_difference_backward(Tensor grad_difference, Tensor feature, Tensor difference, "
      "str norm) -> Tensor",
      {at::Tag::pt2_compliant_tag});
}

STABLE_TORCH_LIBRARY_IMPL(point2mask, CPU, m) {
  m.impl("neighbor_difference", TORCH_BOX(&neighbor_difference_cpu));
  m.impl("neighbor_difference_backward", TORCH_BOX(&neighbor_difference_backward_cpu));
}

} // namespace point2mask::bindings
