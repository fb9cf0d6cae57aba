// point2mask.engine: what of the engine is used without torch, for NumPy arrays, and facts of the
// build. A function that point2mask.ops has as well takes the same arguments.

#include <pybind11/pybind11.h>

#include "numpy_arrays.hpp"
#include "point2mask/cpu_level.hpp"

PYBIND11_MODULE(engine, m) {
  using namespace point2mask::bindings;
  m.doc() = "The engine of point2mask for NumPy arrays: what labelling needs, without torch";
  m.attr("cuda_architectures") = POINT2MASK_CUDA_ARCHITECTURES;
  m.def("cpu_level", &point2mask::cpu_level);
  bind_geodesic(m);
  bind_masks(m);
  bind_regions(m);
  bind_transport(m);
}
