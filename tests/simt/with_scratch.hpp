#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>

#include "point2mask/cuda.hpp"
#include "simt_emulator.hpp"

// Runs a problem with scratch memory of exactly the size asked for, which starts as anything.
template <typename Problem>
int with_scratch(const Problem& problem) {
  try {
    if constexpr (requires { point2mask::cuda::check_limits(problem); })
      point2mask::cuda::check_limits(problem);
  } catch (const std::invalid_argument& error) {
    simt::fail(error.what());
    return cudaErrorInvalidConfiguration;
  }
  const auto size = static_cast<std::size_t>(point2mask::cuda::scratch_bytes(problem));
  constexpr std::align_val_t alignment{256}; // of any size: std::aligned_alloc takes only multiples
  const auto release = [](void* memory) { ::operator delete(memory, alignment); };
  const std::unique_ptr<void, decltype(release)> memory(::operator new(size, alignment), release);
  std::memset(memory.get(), 0xa5, size);
  return point2mask::cuda::run(problem, memory.get(), nullptr);
}
