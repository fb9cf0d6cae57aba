// point2mask._core: the torch-free engine for NumPy callers, and build facts. Every function has
// the name, the arguments and the shapes of its namesake in point2mask.ops.

#include <pybind11/pybind11.h>

#include "numpy_arrays.hpp"

namespace {

// The x86-64 level whose clones the loader picked (see multiarch.hpp).
const char* cpu_level() {
#if defined(__x86_64__) && defined(__GNUC__)
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3";
  return "x86-64";
#else
  return "baseline";
#endif
}

} // namespace

PYBIND11_MODULE(_core, m) {
  using namespace point2mask::bindings;
  m.doc() = "The torch-free engine of point2mask for NumPy arrays";
  m.attr("cuda_architectures") = POINT2MASK_CUDA_ARCHITECTURES;
  m.def("cpu_level", &cpu_level);
  bind_deformable(m);
  bind_geodesic(m);
  bind_masks(m);
  bind_pairs(m);
  bind_regions(m);
  bind_transport(m);
  bind_tree(m);
}
