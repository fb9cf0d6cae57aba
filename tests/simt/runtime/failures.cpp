// What simt.cuh makes of a runtime whose calls fail. Prints what is wrong, a line each.

#include <cstdint>
#include <cstdio>
#include <functional>

#include "point2mask/simt.cuh"

namespace {

using namespace point2mask::cuda;

void kernel(int, float) {}

int wrong = 0;

void expect(bool holds, const char* call, const char* what) {
  if (holds) return;
  std::printf("%s: %s\n", call, what);
  ++wrong;
}

void check(const char* name, int calls, const std::function<cudaError_t()>& call) {
  for (int failing = 1; failing <= calls; ++failing) {
    runtime::calls_until_failure = failing;
    expect(call() == cudaErrorLaunchFailure, name, "a failure is not returned");
    expect(runtime::last_error == cudaSuccess, name, "a failure is left behind");
    runtime::calls_until_failure = 0;
    expect(call() == cudaSuccess, name, "a failure is returned again");
  }
  runtime::calls_until_failure = calls + 1;
  expect(call() == cudaSuccess, name, "it calls the runtime more often than it is tested");
  runtime::calls_until_failure = 0;
  runtime::last_error = cudaErrorInvalidConfiguration; // of somebody else
  expect(call() == cudaSuccess, name, "it returns what another call has left behind");
  expect(cudaGetLastError() == cudaErrorInvalidConfiguration, name, "it takes another's error");
}

} // namespace

int main() {
  std::size_t bytes = 0;
  std::int64_t blocks = 0;
  const dim3 one(1);
  check("launch", 1, [&] { return launch(kernel, one, one, 0, nullptr, std::int64_t{7}, 1.0); });
  expect(runtime::launched_kernel == reinterpret_cast<const void*>(kernel), "launch", "kernel");
  expect(runtime::first_argument == 7, "launch", "argument");
  check("launch_together", 1,
        [&] { return launch_together(kernel, one, one, 0, nullptr, 8, 1.0F); });
  expect(runtime::first_argument == 8, "launch_together", "argument");
  check("fill_with_zeros", 1, [&] { return fill_with_zeros(nullptr, 0, nullptr); });
  check("allow_shared_memory", 3, [&] { return allow_shared_memory(kernel, &bytes); });
  check("resident_blocks", 3, [&] { return resident_blocks(kernel, 1, 0, &blocks); });
  expect(blocks == 6, "resident_blocks", "not the product");
  return wrong;
}
