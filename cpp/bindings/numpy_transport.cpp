#include <pybind11/stl.h>

#include <limits>
#include <optional>
#include <stdexcept>
#include <string>

#include "numpy_arrays.hpp"
#include "point2mask/parallel.hpp"
#include "point2mask/transport.hpp"

namespace point2mask::bindings {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename T>
py::tuple sinkhorn_typed(const Array<T>& cost, const Array<T>& supply, const Array<T>& demand,
                         double epsilon, std::int64_t max_iterations, double tolerance,
                         double supply_relaxation, double demand_relaxation,
                         const std::optional<Array<T>>& initial_potential,
                         const std::string& method) {
  constexpr const char* kOp = "sinkhorn";
  if (method != "sinkhorn" && method != "newton")
    throw std::invalid_argument("sinkhorn: method must be 'sinkhorn' or 'newton', got '" + method +
                                "'");
  check_shape(kOp, "cost", cost, {{"B"}, {"K"}, {"N"}});
  const std::int64_t images = cost.shape(0), targets = cost.shape(1), pixels = cost.shape(2);
  check_shape(kOp, "supply", supply, {{"B", images}, {"K", targets}});
  check_shape(kOp, "demand", demand, {{"B", images}, {"N", pixels}});
  if (initial_potential)
    check_shape(kOp, "initial_potential", *initial_potential, {{"B", images}, {"K", targets}});
  auto potential = new_array<T>({images, targets});
  auto iterations = new_array<std::int32_t>({images});
  auto marginal_error = new_array<T>({images});
  const Sinkhorn<T> s{.cost = cost.data(),
                      .supply = supply.data(),
                      .demand = demand.data(),
                      .initial_potential = initial_potential ? initial_potential->data() : nullptr,
                      .images = images,
                      .targets = targets,
                      .pixels = pixels,
                      .epsilon = epsilon,
                      .max_iterations = max_iterations,
                      .tolerance = tolerance,
                      .supply_relaxation = supply_relaxation,
                      .demand_relaxation = demand_relaxation,
                      .potential = potential.mutable_data(),
                      .iterations = iterations.mutable_data(),
                      .marginal_error = marginal_error.mutable_data()};
  {
    const py::gil_scoped_release release;
    method == "newton" ? run(SinkhornNewton<T>{s}, SerialExecutor()) : run(s, SerialExecutor());
  }
  return py::make_tuple(potential, iterations, marginal_error);
}

py::object sinkhorn_numpy(const py::object& cost, const py::object& supply,
                          const py::object& demand, double epsilon, std::int64_t max_iterations,
                          double tolerance, double supply_relaxation, double demand_relaxation,
                          const std::optional<py::object>& initial_potential,
                          const std::string& method) {
  constexpr const char* kOp = "sinkhorn";
  return dispatch_floating(kOp, "cost", cost, [&]<typename T>() -> py::object {
    return sinkhorn_typed<T>(
        floating<T>(kOp, "cost", cost), floating<T>(kOp, "supply", supply),
        floating<T>(kOp, "demand", demand), epsilon, max_iterations, tolerance, supply_relaxation,
        demand_relaxation,
        initial_potential ? std::optional(floating<T>(kOp, "initial_potential", *initial_potential))
                          : std::nullopt,
        method);
  });
}

} // namespace

void bind_transport(py::module_& m) {
  m.def("sinkhorn", &sinkhorn_numpy, py::arg("cost"), py::arg("supply"), py::arg("demand"),
        py::arg("epsilon") = 1e-3, py::arg("max_iterations") = 80, py::arg("tolerance") = 0.0,
        py::arg("supply_relaxation") = kInfinity, py::arg("demand_relaxation") = kInfinity,
        py::arg("initial_potential") = py::none(), py::arg("method") = "sinkhorn");
}

} // namespace point2mask::bindings
