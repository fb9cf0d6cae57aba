#pragma once

// Small conveniences of the NumPy bindings: checked views in, fresh arrays out.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
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

// An argument as an array of whatever dtype and layout it has; lists become arrays.
inline py::array any_array(const char* op, const char* argument, const py::handle& object,
                           const char* kinds, const char* wanted) {
  py::array array = py::array::ensure(object);
  if (!array) {
    PyErr_Clear();
    throw std::invalid_argument(std::string(op) + ": " + argument + " must be an array");
  }
  if (std::string_view(kinds).find(array.dtype().kind()) == std::string_view::npos)
    throw std::invalid_argument(std::string(op) + ": " + argument + " must hold " + wanted +
                                ", got " + std::string(py::str(array.dtype())));
  return array;
}

// Real numbers as T.
template <typename T>
Array<T> floating(const char* op, const char* argument, const py::handle& object) {
  return Array<T>(any_array(op, argument, object, "fiub", "real numbers"));
}

template <typename Wide>
Array<std::int32_t> narrowed(const char* op, const char* argument, const Array<Wide>& wide) {
  for (py::ssize_t i = 0; i < wide.size(); ++i)
    if (!std::in_range<std::int32_t>(wide.data()[i]))
      throw std::invalid_argument(std::string(op) + ": " + argument + " must fit in int32, got " +
                                  std::to_string(wide.data()[i]));
  return Array<std::int32_t>(wide);
}

// Integers of any width, each of which must fit in int32.
inline Array<std::int32_t> integers(const char* op, const char* argument,
                                    const py::handle& object) {
  const py::array array = any_array(op, argument, object, "iu", "integers");
  const bool is_signed = array.dtype().kind() == 'i';
  if (array.itemsize() < 4 || (is_signed && array.itemsize() == 4))
    return Array<std::int32_t>(array);
  return is_signed ? narrowed(op, argument, Array<std::int64_t>(array))
                   : narrowed(op, argument, Array<std::uint64_t>(array));
}

// Calls f.template operator()<T>(): float for float16 and float32 of any layout and byte order,
// double for all other real numbers. The other floating arguments follow this one.
template <typename F>
py::object dispatch_floating(const char* op, const char* argument, const py::handle& object,
                             F&& f) {
  const py::array array = any_array(op, argument, object, "fiub", "real numbers");
  if (array.dtype().kind() == 'f' && array.itemsize() <= 4) return f.template operator()<float>();
  return f.template operator()<double>();
}

template <typename T>
Array<T> new_array(std::initializer_list<std::int64_t> shape) {
  return Array<T>(std::vector<py::ssize_t>(shape.begin(), shape.end()));
}

// One registration function a family, called by numpy_module.cpp.
void bind_geodesic(py::module_& m);
void bind_masks(py::module_& m);
void bind_regions(py::module_& m);
void bind_transport(py::module_& m);

} // namespace point2mask::bindings
