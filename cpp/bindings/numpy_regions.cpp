#include "numpy_arrays.hpp"

namespace point2mask::bindings {

void bind_regions(py::module_& /*m*/) {}

} // namespace point2mask::bindings
