// CUDA kernels of torch.ops.point2mask on pairs of neighbouring pixels.

#include <torch/csrc/stable/library.h>

#include <string>

#include "cuda_launch.hpp"
#include "point2mask/pairs.hpp"
#include "point2mask/pairs_cuda.hpp"

namespace point2mask::bindings {
namespace {

cuda::Norm cuda_norm(Norm norm) {
  switch (norm) {
    case Norm::kL1:
      return cuda::Norm::kL1;
    case Norm::kL2:
      return cuda::Norm::kL2;
    default:
      return cuda::Norm::kSquaredL2;
  }
}

Tensor neighbor_difference_cuda(const Tensor& feature, std::int64_t directions, std::string norm) {
  constexpr const char* kOp = "neighbor_difference";
  check_shape(kOp, "feature", feature, {{"B"}, {"C"}, {"H"}, {"W"}});
  require(directions == 2 || directions == 4 || directions == 8, kOp,
          ": directions must be 2, 4 or 8, got ", directions);
  const cuda::Norm kind = cuda_norm(norm_from_name(norm));
  const DeviceGuard guard(feature.get_device_index());
  const Tensor f = as_contiguous(feature);
  Tensor difference =
      torch::stable::new_empty(f, {f.size(0), directions, f.size(2), f.size(3)}, f.scalar_type());
  dispatch_floating(kOp, "feature", f, [&]<typename T>() {
    check_launch(kOp, cuda::neighbor_difference<T>({.feature = f.const_data_ptr<T>(),
                                                    .images = f.size(0),
                                                    .channels = f.size(1),
                                                    .height = f.size(2),
                                                    .width = f.size(3),
                                                    .directions = static_cast<int>(directions),
                                                    .norm = kind,
                                                    .difference = difference.mutable_data_ptr<T>()},
                                                   current_stream(f)));
  });
  return difference;
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(point2mask, CUDA, m) {
  m.impl("neighbor_difference", TORCH_BOX(&neighbor_difference_cuda));
}

} // namespace point2mask::bindings
