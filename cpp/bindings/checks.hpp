#pragma once

// Argument checks and small conveniences shared by the torch bindings. Messages name the
// operator, the argument, what was expected and what came.

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <initializer_list>
#include <string>

#include "point2mask/parallel.hpp"
#include "shapes.hpp"

namespace point2mask::bindings {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Every torch::stable op is a lookup by name (about 3 us), so ask before calling.
inline Tensor as_contiguous(const Tensor& t) {
  return t.is_contiguous() ? t : torch::stable::contiguous(t);
}

inline void check_shape(const char* op, const char* argument, const Tensor& t,
                        std::initializer_list<Extent> expected) {
  const auto sizes = t.sizes();
  const std::string error = shape_error(op, argument, expected, {sizes.data(), sizes.size()});
  STD_TORCH_CHECK(error.empty(), error);
}

inline void check_dtype(const char* op, const char* argument, const Tensor& t, ScalarType wanted) {
  STD_TORCH_CHECK(t.scalar_type() == wanted, op, ": ", argument, " must be ",
                  torch::headeronly::toString(wanted), ", got ",
                  torch::headeronly::toString(t.scalar_type()));
}

inline void check_same_device(const char* op, const char* argument, const Tensor& t,
                              const Tensor& reference) {
  STD_TORCH_CHECK(t.device() == reference.device(), op, ": ", argument,
                  " must be on the device of the first argument");
}

// Calls f.template operator()<T>() for the C++ type of t's dtype: float32 or float64.
template <typename F>
void dispatch_floating(const char* op, const char* argument, const Tensor& t, F&& f) {
  switch (t.scalar_type()) {
    case ScalarType::Float:
      return f.template operator()<float>();
    case ScalarType::Double:
      return f.template operator()<double>();
    default:
      STD_TORCH_CHECK(false, op, ": ", argument, " must be float32 or float64, got ",
                      torch::headeronly::toString(t.scalar_type()));
  }
}

// torch's own thread pool (follows torch.set_num_threads).
class TorchExecutor final : public Executor {
 public:
  void for_range(std::int64_t count, std::int64_t grain, RangeFunction body) const override {
    torch::stable::parallel_for(0, count, grain,
                                [&](std::int64_t begin, std::int64_t end) { body(begin, end); });
  }
};

} // namespace point2mask::bindings
