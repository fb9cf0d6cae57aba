#include "numpy_arrays.hpp"
#include "point2mask/tree.hpp"

namespace point2mask::bindings {
namespace {

using Indices = Array<std::int32_t>;

template <typename T>
py::tuple spanning_tree_numpy(const Array<T>& edge_weight) {
  check_shape("spanning_tree", "edge_weight", edge_weight, {{"B"}, {"D"}, {"H"}, {"W"}});
  const std::int64_t images = edge_weight.shape(0);
  const std::int64_t directions = edge_weight.shape(1);
  if (directions != 2 && directions != 4)
    throw std::invalid_argument("spanning_tree: edge_weight must have 2 or 4 directions, got " +
                                std::to_string(directions));
  const std::int64_t pixels = edge_weight.shape(2) * edge_weight.shape(3);
  auto order = new_array<std::int32_t>({images, pixels});
  auto parent = new_array<std::int32_t>({images, pixels});
  auto edge = new_array<std::int32_t>({images, pixels});
  auto weight = new_array<T>({images, pixels});
  const SpanningTree<T> s{.edge_weight = edge_weight.data(),
                          .images = images,
                          .directions = directions,
                          .height = edge_weight.shape(2),
                          .width = edge_weight.shape(3),
                          .order = order.mutable_data(),
                          .parent = parent.mutable_data(),
                          .edge = edge.mutable_data(),
                          .weight = weight.mutable_data()};
  {
    const py::gil_scoped_release release;
    spanning_tree(s, SerialExecutor());
  }
  return py::make_tuple(order, parent, edge, weight);
}

template <typename T>
Array<T> tree_filter_numpy(const Array<T>& feature, const Indices& order, const Indices& parent,
                           const Array<T>& similarity, bool normalize) {
  constexpr const char* kOp = "tree_filter";
  check_shape(kOp, "feature", feature, {{"B"}, {"C"}, {"N"}});
  const std::int64_t images = feature.shape(0);
  const std::int64_t pixels = feature.shape(2);
  check_shape(kOp, "order", order, {{"B", images}, {"N", pixels}});
  check_shape(kOp, "parent", parent, {{"B", images}, {"N", pixels}});
  check_shape(kOp, "similarity", similarity, {{"B", images}, {"N", pixels}});
  auto output = new_array<T>({images, feature.shape(1), pixels});
  const TreeFilter<T> f{.feature = feature.data(),
                        .order = order.data(),
                        .parent = parent.data(),
                        .similarity = similarity.data(),
                        .images = images,
                        .channels = feature.shape(1),
                        .pixels = pixels,
                        .normalize = normalize,
                        .output = output.mutable_data()};
  {
    const py::gil_scoped_release release;
    tree_filter(f, SerialExecutor());
  }
  return output;
}

template <typename T>
Array<T> bottleneck_distance_numpy(const Indices& order, const Indices& parent,
                                   const Array<T>& weight, const Indices& seeds) {
  constexpr const char* kOp = "bottleneck_distance";
  check_shape(kOp, "weight", weight, {{"B"}, {"N"}});
  const std::int64_t images = weight.shape(0);
  const std::int64_t pixels = weight.shape(1);
  check_shape(kOp, "order", order, {{"B", images}, {"N", pixels}});
  check_shape(kOp, "parent", parent, {{"B", images}, {"N", pixels}});
  check_shape(kOp, "seeds", seeds, {{"B", images}, {"K"}, {"P"}});
  auto distance = new_array<T>({images, seeds.shape(1), pixels});
  const BottleneckDistance<T> d{.order = order.data(),
                                .parent = parent.data(),
                                .weight = weight.data(),
                                .seeds = seeds.data(),
                                .images = images,
                                .targets = seeds.shape(1),
                                .points = seeds.shape(2),
                                .pixels = pixels,
                                .distance = distance.mutable_data()};
  {
    const py::gil_scoped_release release;
    bottleneck_distance(d, SerialExecutor());
  }
  return distance;
}

bool is_float32(const py::object& a) { return py::isinstance<py::array_t<float, 0>>(a); }

} // namespace

// float32 arrays of any layout stay float32, all else is computed in float64.
void bind_tree(py::module_& m) {
  m.def(
      "spanning_tree",
      [](const py::object& edge_weight) {
        return is_float32(edge_weight) ? spanning_tree_numpy<float>(edge_weight)
                                       : spanning_tree_numpy<double>(edge_weight);
      },
      py::arg("edge_weight"));
  m.def(
      "tree_filter",
      [](const py::object& feature, const Indices& order, const Indices& parent,
         const py::object& similarity, bool normalize) -> py::array {
        if (is_float32(feature))
          return tree_filter_numpy<float>(feature, order, parent, similarity, normalize);
        return tree_filter_numpy<double>(feature, order, parent, similarity, normalize);
      },
      py::arg("feature"), py::arg("order"), py::arg("parent"), py::arg("similarity"),
      py::arg("normalize") = true);
  m.def(
      "bottleneck_distance",
      [](const Indices& order, const Indices& parent, const py::object& weight,
         const Indices& seeds) -> py::array {
        if (is_float32(weight))
          return bottleneck_distance_numpy<float>(order, parent, weight, seeds);
        return bottleneck_distance_numpy<double>(order, parent, weight, seeds);
      },
      py::arg("order"), py::arg("parent"), py::arg("weight"), py::arg("seeds"));
}

} // namespace point2mask::bindings
