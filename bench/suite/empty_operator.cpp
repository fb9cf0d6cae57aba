// What PyTorch itself takes for a call: operators with the arguments of sinkhorn that do nothing.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>
#include <tuple>

namespace {

using torch::stable::Tensor;
using Three = std::tuple<Tensor, Tensor, Tensor>;

Tensor nothing(const Tensor& cost, const Tensor& /*supply*/, const Tensor& /*demand*/,
               double /*epsilon*/, std::int64_t /*max_iterations*/,
               const std::optional<Tensor>& /*start*/) {
  return cost;
}

Three three_results(const Tensor& cost, const Tensor& /*supply*/, const Tensor& /*demand*/,
                    double /*epsilon*/, std::int64_t /*max_iterations*/,
                    const std::optional<Tensor>& /*start*/) {
  const auto one = [&] { return torch::stable::new_empty(cost, {1}); };
  return {one(), one(), one()};
}

} // namespace

STABLE_TORCH_LIBRARY(point2mask_bench, m) {
  m.def(
      "nothing(Tensor cost, Tensor supply, Tensor demand, float epsilon, int max_iterations, "
      "Tensor? start) -> Tensor");
  m.def(
      "three_results(Tensor cost, Tensor supply, Tensor demand, float epsilon, "
      "int max_iterations, Tensor? start) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(point2mask_bench, CPU, m) {
  m.impl("nothing", TORCH_BOX(&nothing));
  m.impl("three_results", TORCH_BOX(&three_results));
}
