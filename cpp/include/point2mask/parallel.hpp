#pragma once

// How the engine spreads independent work over threads without knowing who owns them: the torch
// bindings hand in torch's pool, NumPy callers and C++ tests run serially. Engine functions must
// give the same bits whatever the executor: fixed chunks, partial sums added in a fixed order.

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace point2mask {

// A non-owning reference to a callable: no allocation, valid for the duration of the call.
template <typename Signature>
class FunctionRef;

template <typename Result, typename... Args>
class FunctionRef<Result(Args...)> {
 public:
  template <typename F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
  FunctionRef(F&& f) // NOLINT(google-explicit-constructor): lambdas are passed directly
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* object, Args... args) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}
  Result operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  Result (*call_)(void*, Args...);
};

using RangeFunction = FunctionRef<void(std::int64_t begin, std::int64_t end)>;

class Executor {
 public:
  virtual ~Executor() = default;
  // Calls body on disjoint ranges that cover [0, count), each of at least `grain` items (but the
  // last); returns when all are done. Exceptions propagate.
  virtual void for_range(std::int64_t count, std::int64_t grain, RangeFunction body) const = 0;
};

class SerialExecutor final : public Executor {
 public:
  void for_range(std::int64_t count, std::int64_t /*grain*/, RangeFunction body) const override {
    if (count > 0) body(0, count);
  }
};

} // namespace point2mask
