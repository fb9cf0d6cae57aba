// torch.ops.point2mask.mask_statistics.

#include <tuple>

#include "point2mask/masks.hpp"
#include "solve.hpp"

namespace point2mask::bindings {
namespace {

std::tuple<Tensor, Tensor, Tensor> mask_statistics(const Tensor& labels, std::int64_t targets) {
  constexpr const char* kOp = "mask_statistics";
  check_shape(kOp, "labels", labels, {{"B"}, {"H"}, {"W"}});
  check_dtype(kOp, "labels", labels, ScalarType::Int);
  require(targets >= 0, kOp, ": targets must not be negative, got ", targets);
  const Tensor l = as_contiguous(labels);
  const std::int64_t images = l.size(0);
  Tensor area = torch::stable::new_empty(l, {images, targets}, ScalarType::Long);
  Tensor centroid = torch::stable::new_empty(l, {images, targets, 2}, ScalarType::Float);
  Tensor box = torch::stable::new_empty(l, {images, targets, 4}, ScalarType::Int);
  solve(kOp, l,
        MaskStatistics{.labels = l.const_data_ptr<std::int32_t>(),
                       .images = images,
                       .height = l.size(1),
                       .width = l.size(2),
                       .targets = targets,
                       .area = area.mutable_data_ptr<std::int64_t>(),
                       .centroid = centroid.mutable_data_ptr<float>(),
                       .box = box.mutable_data_ptr<std::int32_t>()});
  return {area, centroid, box};
}

void implement(auto& m) { m.impl("mask_statistics", TORCH_BOX(&mask_statistics)); }

} // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(point2mask, m) {
  m.def(
      "mask_statistics(Tensor labels, int targets) -> (Tensor area, Tensor centroid, Tensor box)");
}

POINT2MASK_IMPLEMENT(implement)

} // namespace point2mask::bindings
