// CUDA kernel of torch.ops.point2mask.mask_statistics.

#include <torch/csrc/stable/library.h>

#include <tuple>

#include "cuda_launch.hpp"
#include "point2mask/masks_cuda.hpp"

namespace point2mask::bindings {
namespace {

std::tuple<Tensor, Tensor, Tensor> mask_statistics_cuda(const Tensor& labels,
                                                        std::int64_t targets) {
  constexpr const char* kOp = "mask_statistics";
  check_shape(kOp, "labels", labels, {{"B"}, {"H"}, {"W"}});
  check_dtype(kOp, "labels", labels, ScalarType::Int);
  require(targets >= 0, kOp, ": targets must not be negative, got ", targets);
  const DeviceGuard guard(labels.get_device_index());
  const Tensor l = as_contiguous(labels);
  const std::int64_t images = l.size(0);
  Tensor area = torch::stable::new_empty(l, {images, targets}, ScalarType::Long);
  Tensor centroid = torch::stable::new_empty(l, {images, targets, 2}, ScalarType::Float);
  Tensor box = torch::stable::new_empty(l, {images, targets, 4}, ScalarType::Int);
  Tensor coordinate_sum = torch::stable::new_empty(l, {images, targets, 2}, ScalarType::Long);
  check_launch(
      kOp, cuda::mask_statistics({.labels = l.const_data_ptr<std::int32_t>(),
                                  .images = images,
                                  .height = l.size(1),
                                  .width = l.size(2),
                                  .targets = targets,
                                  .coordinate_sum = coordinate_sum.mutable_data_ptr<std::int64_t>(),
                                  .area = area.mutable_data_ptr<std::int64_t>(),
                                  .centroid = centroid.mutable_data_ptr<float>(),
                                  .box = box.mutable_data_ptr<std::int32_t>()},
                                 current_stream(l)));
  return {area, centroid, box};
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(point2mask, CUDA, m) {
  m.impl("mask_statistics", TORCH_BOX(&mask_statistics_cuda));
}

} // namespace point2mask::bindings
