#include "numpy_arrays.hpp"
#include "point2mask/masks.hpp"
#include "point2mask/parallel.hpp"

namespace point2mask::bindings {
namespace {

py::tuple mask_statistics_numpy(const py::object& labels_in, std::int64_t targets) {
  const auto labels = integers("mask_statistics", "labels", labels_in);
  check_shape("mask_statistics", "labels", labels, {{"B"}, {"H"}, {"W"}});
  if (targets < 0)
    throw std::invalid_argument("mask_statistics: targets must not be negative, got " +
                                std::to_string(targets));
  const std::int64_t images = labels.shape(0);
  auto area = new_array<std::int64_t>({images, targets});
  auto centroid = new_array<float>({images, targets, 2});
  auto box = new_array<std::int32_t>({images, targets, 4});
  const MaskStatistics s{.labels = labels.data(),
                         .images = images,
                         .height = labels.shape(1),
                         .width = labels.shape(2),
                         .targets = targets,
                         .area = area.mutable_data(),
                         .centroid = centroid.mutable_data(),
                         .box = box.mutable_data()};
  {
    const py::gil_scoped_release release;
    run(s, SerialExecutor());
  }
  return py::make_tuple(area, centroid, box);
}

} // namespace

void bind_masks(py::module_& m) {
  m.def("mask_statistics", &mask_statistics_numpy, py::arg("labels"), py::arg("targets"));
}

} // namespace point2mask::bindings
