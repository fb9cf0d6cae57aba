#include "numpy_arrays.hpp"
#include "point2mask/geodesic.hpp"

namespace point2mask::bindings {
namespace {

template <typename T>
Array<T> geodesic_distance_numpy(const Array<T>& edge_cost, const Array<std::int32_t>& seeds) {
  check_shape("geodesic_distance", "edge_cost", edge_cost, {{"B"}, {"D", 8}, {"H"}, {"W"}});
  const std::int64_t images = edge_cost.shape(0);
  check_shape("geodesic_distance", "seeds", seeds, {{"B", images}, {"K"}, {"P"}});
  const std::int64_t height = edge_cost.shape(2), width = edge_cost.shape(3);
  auto distance = new_array<T>({images, seeds.shape(1), height, width});
  const GeodesicDistance<T> g{.edge_cost = edge_cost.data(),
                              .seeds = seeds.data(),
                              .images = images,
                              .height = height,
                              .width = width,
                              .targets = seeds.shape(1),
                              .points = seeds.shape(2),
                              .distance = distance.mutable_data()};
  {
    const py::gil_scoped_release release;
    geodesic_distance(g, SerialExecutor());
  }
  return distance;
}

// The first overload takes float32 as it is, the second everything else as float64.
template <typename T>
void bind_geodesic_distance(py::module_& m, py::arg edge_cost) {
  m.def("geodesic_distance", &geodesic_distance_numpy<T>, edge_cost, py::arg("seeds"));
}

} // namespace

void bind_geodesic(py::module_& m) {
  bind_geodesic_distance<float>(m, py::arg("edge_cost").noconvert());
  bind_geodesic_distance<double>(m, py::arg("edge_cost"));
}

} // namespace point2mask::bindings
