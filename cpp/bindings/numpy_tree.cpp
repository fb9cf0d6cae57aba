#include "numpy_arrays.hpp"
#include "point2mask/parallel.hpp"
#include "point2mask/tree.hpp"

namespace point2mask::bindings {
namespace {

using Indices = Array<std::int32_t>;

template <typename T>
py::tuple spanning_tree_typed(const Array<T>& edge_weight) {
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
    run(s, SerialExecutor());
  }
  return py::make_tuple(order, parent, edge, weight);
}

template <typename T>
Array<T> tree_filter_typed(const Array<T>& feature, const Indices& order, const Indices& parent,
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
    run(f, SerialExecutor());
  }
  return output;
}

py::object spanning_tree_numpy(const py::object& edge_weight) {
  constexpr const char* kOp = "spanning_tree";
  return dispatch_floating(kOp, "edge_weight", edge_weight, [&]<typename T>() -> py::object {
    return spanning_tree_typed(floating<T>(kOp, "edge_weight", edge_weight));
  });
}

py::object tree_filter_numpy(const py::object& feature, const py::object& order,
                             const py::object& parent, const py::object& similarity,
                             bool normalize) {
  constexpr const char* kOp = "tree_filter";
  return dispatch_floating(kOp, "feature", feature, [&]<typename T>() -> py::object {
    return tree_filter_typed(floating<T>(kOp, "feature", feature), integers(kOp, "order", order),
                             integers(kOp, "parent", parent),
                             floating<T>(kOp, "similarity", similarity), normalize);
  });
}

} // namespace

void bind_tree(py::module_& m) {
  m.def("spanning_tree", &spanning_tree_numpy, py::arg("edge_weight"));
  m.def("tree_filter", &tree_filter_numpy, py::arg("feature"), py::arg("order"), py::arg("parent"),
        py::arg("similarity"), py::arg("normalize") = true);
}

} // namespace point2mask::bindings
