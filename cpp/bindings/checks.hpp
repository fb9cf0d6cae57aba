#pragma once

// Argument checks and small conveniences shared by the torch bindings. Messages name the
// operator, the argument, what was expected and what came.

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <cstdint>
#include <exception>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
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
inline std::optional<Tensor> as_contiguous(const std::optional<Tensor>& t) {
  return t ? std::optional(as_contiguous(*t)) : std::nullopt;
}

// The leading sizes of t, in the order of its axes.
inline void sizes_of(const Tensor& t, auto&... sizes) {
  std::int64_t axis = 0;
  ((sizes = t.size(axis++)), ...);
}

// Throws std::invalid_argument, a ValueError in Python, with the parts as its message.
template <typename... Parts>
void require(bool holds, const Parts&... parts) {
  if (holds) return;
  std::ostringstream message;
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

// As Python spells it.
inline const char* dtype_name(ScalarType type) {
  switch (type) {
    case ScalarType::Bool:
      return "bool";
    case ScalarType::Byte:
      return "uint8";
    case ScalarType::Char:
      return "int8";
    case ScalarType::Short:
      return "int16";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
    default:
      return torch::headeronly::toString(type);
  }
}

inline void check_shape(const char* op, const char* argument, const Tensor& t,
                        std::initializer_list<Extent> expected) {
  const auto sizes = t.sizes();
  const std::string error = shape_error(op, argument, expected, {sizes.data(), sizes.size()});
  require(error.empty(), error);
}

inline void check_dtype(const char* op, const char* argument, const Tensor& t, ScalarType wanted) {
  require(t.scalar_type() == wanted, op, ": ", argument, " must be ", dtype_name(wanted), ", got ",
          dtype_name(t.scalar_type()));
}

inline void check_same_device(const char* op, const char* argument, const Tensor& t,
                              const Tensor& reference) {
  require(t.device() == reference.device(), op, ": ", argument,
          " must be on the device of the first argument");
}

// An argument of the given shape and dtype, beside `reference`.
inline void check_argument(const char* op, const char* argument, const Tensor& t,
                           std::initializer_list<Extent> shape, ScalarType dtype,
                           const Tensor& reference) {
  check_shape(op, argument, t, shape);
  check_dtype(op, argument, t, dtype);
  check_same_device(op, argument, t, reference);
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
      require(false, op, ": ", argument, " must be float32 or float64, got ",
              dtype_name(t.scalar_type()));
  }
}

// torch's own thread pool (follows torch.set_num_threads).
class TorchExecutor final : public Executor {
 public:
  void for_range(std::int64_t count, std::int64_t grain, RangeFunction body) const override {
    // torch would wrap an exception that left its loop. Of several, the one of the first range
    // counts, which does not depend on the number of threads.
    std::mutex mutex;
    std::exception_ptr error;
    std::int64_t first = count;
    torch::stable::parallel_for(0, count, grain, [&](std::int64_t begin, std::int64_t end) {
      try {
        body(begin, end);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (begin < first) {
          first = begin;
          error = std::current_exception();
        }
      }
    });
    if (error) std::rethrow_exception(error);
  }
};

} // namespace point2mask::bindings
