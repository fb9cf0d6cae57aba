#include "numpy_arrays.hpp"

namespace point2mask::bindings {

void bind_transport(py::module_& /*m*/) {}

} // namespace point2mask::bindings
