#include "numpy_arrays.hpp"
#include "point2mask/deformable.hpp"
#include "point2mask/parallel.hpp"

namespace point2mask::bindings {
namespace {

template <typename T>
Array<T> deformable_attention_typed(const Array<T>& value, const Array<T>& where,
                                    const Array<T>& weight, const Array<std::int32_t>& shapes) {
  constexpr const char* kOp = "deformable_attention";
  check_shape(kOp, "value", value, {{"B"}, {"S"}, {"M"}, {"C"}});
  const std::int64_t images = value.shape(0), cells = value.shape(1), heads = value.shape(2);
  check_shape(kOp, "where", where, {{"B", images}, {"Q"}, {"M", heads}, {"L"}, {"P"}, {"xy", 2}});
  const std::int64_t queries = where.shape(1), levels = where.shape(3), points = where.shape(4);
  check_shape(kOp, "weight", weight,
              {{"B", images}, {"Q", queries}, {"M", heads}, {"L", levels}, {"P", points}});
  check_shape(kOp, "shapes", shapes, {{"L", levels}, {"hw", 2}});
  const std::vector<std::int64_t> sizes(shapes.data(), shapes.data() + 2 * levels);
  auto output = new_array<T>({images, queries, heads, value.shape(3)});
  const DeformableAttention<T> a{.value = value.data(),
                                 .where = where.data(),
                                 .weight = weight.data(),
                                 .shapes = sizes.data(),
                                 .images = images,
                                 .cells = cells,
                                 .queries = queries,
                                 .heads = heads,
                                 .channels = value.shape(3),
                                 .levels = levels,
                                 .points = points,
                                 .output = output.mutable_data()};
  {
    const py::gil_scoped_release release;
    run(a, SerialExecutor());
  }
  return output;
}

py::object deformable_attention_numpy(const py::object& value, const py::object& where,
                                      const py::object& weight, const py::object& shapes) {
  constexpr const char* kOp = "deformable_attention";
  return dispatch_floating(kOp, "value", value, [&]<typename T>() -> py::object {
    return deformable_attention_typed(
        floating<T>(kOp, "value", value), floating<T>(kOp, "where", where),
        floating<T>(kOp, "weight", weight), integers(kOp, "shapes", shapes));
  });
}

} // namespace

void bind_deformable(py::module_& m) {
  m.def("deformable_attention", &deformable_attention_numpy, py::arg("value"), py::arg("where"),
        py::arg("weight"), py::arg("shapes"));
}

} // namespace point2mask::bindings
