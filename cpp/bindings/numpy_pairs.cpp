#include <string>

#include "numpy_arrays.hpp"
#include "point2mask/pairs.hpp"

namespace point2mask::bindings {
namespace {

template <typename T>
Array<T> neighbor_difference_numpy(const Array<T>& feature, std::int64_t directions,
                                   const std::string& norm) {
  check_shape("neighbor_difference", "feature", feature, {{"B"}, {"C"}, {"H"}, {"W"}});
  if (directions != 2 && directions != 4 && directions != 8)
    throw std::invalid_argument("neighbor_difference: directions must be 2, 4 or 8, got " +
                                std::to_string(directions));
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
    neighbor_difference(p, SerialExecutor());
  }
  return difference;
}

// The first overload takes float32 as it is, the second everything else as float64.
template <typename T>
void bind_neighbor_difference(py::module_& m, py::arg feature) {
  m.def("neighbor_difference", &neighbor_difference_numpy<T>, feature, py::arg("directions") = 8,
        py::arg("norm") = "l1");
}

} // namespace

void bind_pairs(py::module_& m) {
  bind_neighbor_difference<float>(m, py::arg("feature").noconvert());
  bind_neighbor_difference<double>(m, py::arg("feature"));
}

} // namespace point2mask::bindings
