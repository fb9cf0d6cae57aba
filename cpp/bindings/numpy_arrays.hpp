#pragma once

// Small conveniences of the NumPy bindings: checked views in, fresh arrays out.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "shapes.hpp"

namespace point2mask::bindings {

namespace py = pybind11;

// A C-contiguous array of T; other layouts and dtypes are converted on the way in.
template <typename T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

template <typename T>
void check_shape(const char* op, const char* argument, const Array<T>& a,
                 std::initializer_list<Extent> expected) {
  const std::vector<std::int64_t> sizes(a.shape(), a.shape() + a.ndim());
  const std::string error = shape_error(op, argument, expected, sizes);
  if (!error.empty()) throw std::invalid_argument(error);
}

template <typename T>
Array<T> new_array(std::initializer_list<std::int64_t> shape) {
  return Array<T>(std::vector<py::ssize_t>(shape.begin(), shape.end()));
}

// One registration function a family, called by module.cpp.
void bind_geodesic(py::module_& m);
void bind_masks(py::module_& m);
void bind_pairs(py::module_& m);
void bind_regions(py::module_& m);
void bind_transport(py::module_& m);
void bind_tree(py::module_& m);

} // namespace point2mask::bindings
