// What simt.cuh makes of a runtime whose calls fail. Prints what is wrong, a line each.

#include <cstdint>
#include <cstdio>
#include <functional>

#include "point2mask/simt.cuh"

namespace {

using namespace point2mask::cuda;

template <int kNumber>
void kernel(int, float) {}
using Kernel = void (*)(int, float);
// What is known of a kernel is not asked again: each check takes another one.
constexpr Kernel kKernels[] = {kernel<0>, kernel<1>, kernel<2>, kernel<3>, kernel<4>};

int wrong = 0;

void expect(bool holds, const char* call, const char* what) {
  if (holds) return;
  std::printf("%s: %s\n", call, what);
  ++wrong;
}

// The first call of a kernel makes `calls` of the runtime, the next ones `again`.
void check(const char* name, int calls, int again, const std::function<cudaError_t(Kernel)>& call) {
  for (int failing = 1; failing <= calls; ++failing) {
    runtime::calls_until_failure = failing;
    expect(call(kKernels[failing]) == cudaErrorLaunchFailure, name, "a failure is not returned");
    expect(runtime::last_error == cudaSuccess, name, "a failure is left behind");
    runtime::calls_until_failure = 0;
    for (const int expected : {calls, again}) {
      runtime::calls = 0;
      expect(call(kKernels[failing]) == cudaSuccess, name, "a failure is returned again");
      expect(runtime::calls == expected, name, "number of calls of the runtime");
    }
  }
  runtime::device = 1;
  runtime::calls = 0;
  expect(call(kKernels[1]) == cudaSuccess && runtime::calls == calls, name, "another device");
  runtime::device = 0;
  runtime::last_error = cudaErrorInvalidConfiguration; // of somebody else
  expect(call(kKernels[0]) == cudaSuccess, name, "it returns what another call has left behind");
  expect(cudaGetLastError() == cudaErrorInvalidConfiguration, name, "it takes another's error");
}

} // namespace

int main() {
  std::size_t bytes = 0;
  std::int64_t blocks = 0;
  const dim3 one(1);
  check("launch", 1, 1,
        [&](Kernel k) { return launch(k, one, one, 0, nullptr, std::int64_t{7}, 1.0); });
  expect(runtime::launched_kernel == reinterpret_cast<const void*>(kernel<0>), "launch", "kernel");
  expect(runtime::first_argument == 7, "launch", "argument");
  check("launch_together", 1, 1,
        [&](Kernel k) { return launch_together(k, one, one, 0, nullptr, 8, 1.0F); });
  expect(runtime::first_argument == 8, "launch_together", "argument");
  check("fill_with_zeros", 1, 1, [&](Kernel) { return fill_with_zeros(nullptr, 0, nullptr); });
  check("allow_shared_memory", 3, 1, [&](Kernel k) { return allow_shared_memory(k, &bytes); });
  expect(bytes == 3, "allow_shared_memory", "not what the device has");
  check("resident_blocks", 3, 1, [&](Kernel k) { return resident_blocks(k, 1, 0, &blocks); });
  expect(blocks == 6, "resident_blocks", "not the product");
  return wrong;
}
