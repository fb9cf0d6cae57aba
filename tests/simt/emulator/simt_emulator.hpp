#pragma once

// What a kernel sees of the CPU emulation: CUDA's names, spelled as CUDA spells them. The machine
// behind them lies in the .cpp files of this folder and is compiled separately, because in a race
// build only the kernels are instrumented (-fsanitize=thread).

#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda_runtime_api.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

// Code of the emulator that sits in the kernels' translation unit must stay out of the detector.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && defined(__clang__)
#define SIMT_UNSEEN __attribute__((disable_sanitizer_instrumentation, noinline))
#elif defined(__SANITIZE_THREAD__)
#define SIMT_UNSEEN __attribute__((no_sanitize("thread"), noinline))
#else
#define SIMT_UNSEEN
#endif
#define SIMT_QUIET SIMT_UNSEEN inline

namespace simt {

struct Config {
  std::uint64_t seed = 1;       // of the schedule; 0 = in order
  unsigned resident_blocks = 4; // alive at once; more than one interleaves blocks
  unsigned max_blocks = 3;      // per grid direction: small, so that grid-stride loops do stride
  std::size_t shared_bytes = 65536;     // shared memory a block can have
  std::int64_t scratch_limit = 1 << 28; // what a launch may take to save itself rounds
  double preempt = 0.02;                // race build: chance of a switch at a plain access
  double preempt_atomic = 0.25;         // chance of a switch at an atomic or relaxed access
  std::uint64_t watchdog = 3'000'000;   // switches after which a launch counts as hung
};
Config& config();

// What went wrong since the last clear_report(). Launches add to it.
struct Report {
  std::vector<std::string> errors;
  std::uint64_t races = 0, switches = 0, accesses = 0;
};
Report& report();
void clear_report();

// Race build: bytes of global memory, see traffic.cpp; of one array alone if `bytes` is not 0. No
// race is looked for meanwhile.
void count_traffic(bool on, const void* within, std::size_t bytes);
std::string describe_traffic(); // since count_traffic(): a line a kernel

// The running CUDA thread; null on the host side.
struct Context {
  uint3 thread, block;
  dim3 block_size, grid_size;
  unsigned index, lane, warp; // of the thread in its block
};
extern Context* self;

using Site = std::source_location; // where in the kernel
enum class Sync { barrier, any, all, count, warp, shuffle, vote, match };

int block_barrier(Sync kind, bool predicate, const Site& at);
void warp_barrier(std::uint32_t mask, const Site& at);
std::uint64_t warp_shuffle(std::uint32_t mask, std::uint64_t value, unsigned lane, const Site& at);
void warp_beside(std::uint32_t mask, const std::uint64_t* here, std::size_t count,
                 std::uint64_t* left, std::uint64_t* right, const Site& at);
std::uint32_t warp_vote(std::uint32_t mask, bool predicate, const Site& at);
std::uint32_t warp_match(std::uint32_t mask, std::uint64_t value, const Site& at);
void fence();
void atomic_access(const volatile void* address, std::size_t bytes, bool write, const void* pc);
void* static_shared(const void* tag, std::size_t bytes);
void* dynamic_shared();
void fail(const std::string& message);
cudaError_t run(const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                const std::function<void()>& body);

SIMT_QUIET uint3 thread_index() { return self->thread; }
SIMT_QUIET uint3 block_index() { return self->block; }
SIMT_QUIET dim3 block_size() { return self->block_size; }
SIMT_QUIET dim3 grid_size() { return self->grid_size; }
SIMT_QUIET unsigned lane_index() { return self->lane; }

template <typename T>
std::uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <typename T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// All fibers share one OS thread: a plain update is atomic. The caller's pc names the kernel line.
template <typename T, typename Update>
SIMT_QUIET T read_modify_write(T* address, const void* pc, Update update) {
  atomic_access(address, sizeof(T), true, pc);
  const T old = *address;
  *address = update(old);
  return old;
}

} // namespace simt

#define POINT2MASK_SHARED(T, name, count) \
  static const char name##_tag = 0;       \
  T* const name = static_cast<T*>(simt::static_shared(&name##_tag, sizeof(T) * (count)))
#define POINT2MASK_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(simt::dynamic_shared())

#define threadIdx (simt::thread_index())
#define blockIdx (simt::block_index())
#define blockDim (simt::block_size())
#define gridDim (simt::grid_size())

namespace point2mask::cuda {

inline std::int64_t max_blocks() { return simt::config().max_blocks; }
inline std::size_t granted_shared_memory() { return simt::config().shared_bytes; }
inline std::int64_t scratch_limit() { return simt::config().scratch_limit; }

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   cudaStream_t, Arguments... arguments) {
  const auto body = [=]() SIMT_UNSEEN { kernel(static_cast<Parameters>(arguments)...); };
  return simt::run(reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, body);
}

template <typename... Parameters>
cudaError_t launch_together(void (*kernel)(Parameters...), dim3 grid, dim3 block,
                            std::size_t shared_bytes, cudaStream_t stream,
                            Parameters... arguments) {
  if (std::uint64_t{grid.x} * grid.y * grid.z > simt::config().resident_blocks) {
    simt::fail("launch: more blocks than can run at the same time");
    return cudaErrorCooperativeLaunchTooLarge;
  }
  return launch(kernel, grid, block, shared_bytes, stream, arguments...);
}

// Launches end before they return, so that every stream is idle.
inline cudaError_t fill_with_zeros(void* memory, std::size_t bytes, cudaStream_t) {
  std::memset(memory, 0, bytes);
  return cudaSuccess;
}

template <typename... Parameters>
cudaError_t allow_shared_memory(void (*)(Parameters...), std::size_t* bytes) {
  *bytes = simt::config().shared_bytes;
  return cudaSuccess;
}

template <typename... Parameters>
cudaError_t resident_blocks(void (*)(Parameters...), unsigned, std::size_t, std::int64_t* blocks) {
  *blocks = simt::config().resident_blocks;
  return cudaSuccess;
}

inline float half_to_float(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  float magnitude = exponent > 0 ? ldexpf(static_cast<float>(1024 + fraction), exponent - 25)
                                 : ldexpf(static_cast<float>(fraction), -24);
  if (exponent == 31) magnitude = fraction ? NAN : INFINITY;
  return bits >> 15 ? -magnitude : magnitude;
}

template <typename T>
SIMT_QUIET T load_relaxed(const T* address) {
  simt::atomic_access(address, sizeof(T), false, __builtin_return_address(0));
  return *const_cast<const volatile T*>(address);
}

template <typename T>
SIMT_QUIET void store_relaxed(T* address, T value) {
  simt::atomic_access(address, sizeof(T), true, __builtin_return_address(0));
  *const_cast<volatile T*>(address) = value;
}

} // namespace point2mask::cuda

#include "simt_intrinsics.hpp"
