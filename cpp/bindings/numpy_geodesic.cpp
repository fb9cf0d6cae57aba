#include "numpy_arrays.hpp"
#include "point2mask/geodesic.hpp"
#include "point2mask/parallel.hpp"

namespace point2mask::bindings {
namespace {

template <typename T>
Array<T> geodesic_distance_typed(const Array<T>& edge_cost, const Array<std::int32_t>& seeds) {
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
    run(g, SerialExecutor());
  }
  return distance;
}

py::object geodesic_distance_numpy(const py::object& edge_cost, const py::object& seeds) {
  constexpr const char* kOp = "geodesic_distance";
  return dispatch_floating(kOp, "edge_cost", edge_cost, [&]<typename T>() -> py::object {
    return geodesic_distance_typed(floating<T>(kOp, "edge_cost", edge_cost),
                                   integers(kOp, "seeds", seeds));
  });
}

} // namespace

void bind_geodesic(py::module_& m) {
  m.def("geodesic_distance", &geodesic_distance_numpy, py::arg("edge_cost"), py::arg("seeds"));
}

} // namespace point2mask::bindings
