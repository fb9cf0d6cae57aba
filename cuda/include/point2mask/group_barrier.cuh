#pragma once

// A barrier between some of the blocks of a launch: those that work on one image.

#include <cstdint>

#include "point2mask/simt.cuh"

namespace point2mask::cuda {

// Words from one group's counter to the next, so that they lie in different cache lines.
inline constexpr int kCounterStride = 16;

// All blocks of a group hold one, on the same counter (zero before the launch), and call wait()
// equally often. What a block wrote before wait() all of them may read after it, by plain loads.
// The blocks must run at the same time: launch_together().
struct GroupBarrier {
  unsigned long long* arrived; // in device memory
  std::int64_t blocks;
  unsigned long long expected = 0; // arrivals when the current meeting is complete

  __device__ __forceinline__ void wait() {
    __syncthreads();
    if (blocks > 1 && threadIdx.x == 0) {
      expected += static_cast<unsigned long long>(blocks);
      __threadfence();
      atomicAdd(arrived, 1ULL);
      while (load_relaxed(arrived) < expected) {
      }
      __threadfence();
    }
    if (blocks > 1) __syncthreads();
  }
};

} // namespace point2mask::cuda
