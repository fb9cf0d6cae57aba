#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
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
  const std::unique_ptr<void, void (*)(void*)> memory(std::aligned_alloc(256, size), std::free);
  std::memset(memory.get(), 0xa5, size);
  return point2mask::cuda::run(problem, memory.get(), nullptr);
}
