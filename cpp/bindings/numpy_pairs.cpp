#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "numpy_arrays.hpp"
#include "point2mask/pairs.hpp"
#include "point2mask/parallel.hpp"

namespace point2mask::bindings {
namespace {

template <typename T>
Array<T> neighbor_difference_typed(const Array<T>& feature, std::int64_t directions,
                                   const std::string& norm) {
  check_shape("neighbor_difference", "feature", feature, {{"B"}, {"C"}, {"H"}, {"W"}});
  check_directions("neighbor_difference", directions);
  auto difference =
      new_array<T>({feature.shape(0), directions, feature.shape(2), feature.shape(3)});
  const NeighborDifference<T> p{.feature = feature.data(),
                                .images = feature.shape(0),
                                .channels = feature.shape(1),
                                .height = feature.shape(2),
                                .width = feature.shape(3),
                                .directions = directions,
                                .norm = norm_from_name(norm),
                                .difference = difference.mutable_data()};
  {
    const py::gil_scoped_release release;
    run(p, SerialExecutor());
  }
  return difference;
}

template <typename T>
Array<T> lab_affinity_loss_typed(const Array<T>& logits, const Array<T>& lab,
                                 std::int64_t kernel_size, std::int64_t dilation, double theta,
                                 double threshold, const std::optional<Array<bool>>& valid) {
  constexpr const char* kOp = "lab_affinity_loss";
  check_shape(kOp, "logits", logits, {{"B"}, {"C"}, {"H"}, {"W"}});
  const Extent images{"B", logits.shape(0)}, height{"H", logits.shape(2)},
      width{"W", logits.shape(3)};
  check_shape(kOp, "lab", lab, {images, {"3", 3}, height, width});
  if (valid) check_shape(kOp, "valid", *valid, {images, height, width});
  auto loss = new_array<T>({images.size});
  auto pairs = new_array<std::int64_t>({images.size});
  const LabAffinityLoss<T> p{.logits = logits.data(),
                             .lab = lab.data(),
                             .valid = valid ? valid->data() : nullptr,
                             .images = images.size,
                             .channels = logits.shape(1),
                             .height = height.size,
                             .width = width.size,
                             .kernel_size = kernel_size,
                             .dilation = dilation,
                             .theta = theta,
                             .threshold = threshold,
                             .loss = loss.mutable_data(),
                             .pairs = pairs.mutable_data()};
  {
    const py::gil_scoped_release release;
    run(p, SerialExecutor());
  }
  return loss;
}

template <typename T>
Array<T> boundary_loss_typed(const Array<T>& boundary, const Array<std::int32_t>& instance,
                             const Array<std::int32_t>& semantic, std::int64_t kernel_size,
                             std::int64_t dilation) {
  constexpr const char* kOp = "boundary_loss";
  check_shape(kOp, "boundary", boundary, {{"B"}, {"H"}, {"W"}});
  const Extent images{"B", boundary.shape(0)}, height{"H", boundary.shape(1)},
      width{"W", boundary.shape(2)};
  check_shape(kOp, "instance", instance, {images, height, width});
  check_shape(kOp, "semantic", semantic, {images, height, width});
  auto loss = new_array<T>({images.size});
  auto pairs = new_array<std::int64_t>({images.size, 3});
  const BoundaryLoss<T> p{.boundary = boundary.data(),
                          .instance = instance.data(),
                          .semantic = semantic.data(),
                          .images = images.size,
                          .height = height.size,
                          .width = width.size,
                          .kernel_size = kernel_size,
                          .dilation = dilation,
                          .loss = loss.mutable_data(),
                          .pairs = pairs.mutable_data()};
  {
    const py::gil_scoped_release release;
    run(p, SerialExecutor());
  }
  return loss;
}

py::object neighbor_difference_numpy(const py::object& feature, std::int64_t directions,
                                     const std::string& norm) {
  constexpr const char* kOp = "neighbor_difference";
  return dispatch_floating(kOp, "feature", feature, [&]<typename T>() -> py::object {
    return neighbor_difference_typed(floating<T>(kOp, "feature", feature), directions, norm);
  });
}

py::object lab_affinity_loss_numpy(const py::object& logits, const py::object& lab,
                                   std::int64_t kernel_size, std::int64_t dilation, double theta,
                                   double threshold, const std::optional<Array<bool>>& valid) {
  constexpr const char* kOp = "lab_affinity_loss";
  return dispatch_floating(kOp, "logits", logits, [&]<typename T>() -> py::object {
    return lab_affinity_loss_typed(floating<T>(kOp, "logits", logits), floating<T>(kOp, "lab", lab),
                                   kernel_size, dilation, theta, threshold, valid);
  });
}

py::object boundary_loss_numpy(const py::object& boundary, const py::object& instance,
                               const py::object& semantic, std::int64_t kernel_size,
                               std::int64_t dilation) {
  constexpr const char* kOp = "boundary_loss";
  return dispatch_floating(kOp, "boundary", boundary, [&]<typename T>() -> py::object {
    return boundary_loss_typed(floating<T>(kOp, "boundary", boundary),
                               integers(kOp, "instance", instance),
                               integers(kOp, "semantic", semantic), kernel_size, dilation);
  });
}

} // namespace

void bind_pairs(py::module_& m) {
  m.def("neighbor_difference", &neighbor_difference_numpy, py::arg("feature"),
        py::arg("directions") = 8, py::arg("norm") = "l1");
  m.def("lab_affinity_loss", &lab_affinity_loss_numpy, py::arg("logits"), py::arg("lab"),
        py::arg("kernel_size") = 3, py::arg("dilation") = 2, py::arg("theta") = 2.0,
        py::arg("threshold") = 0.3, py::arg("valid") = py::none());
  m.def("boundary_loss", &boundary_loss_numpy, py::arg("boundary"), py::arg("instance"),
        py::arg("semantic"), py::arg("kernel_size") = 3, py::arg("dilation") = 1);
}

} // namespace point2mask::bindings
