#include "point2mask/tree_kernels.cuh"

namespace point2mask::cuda::tree {
namespace {

// Pointer jumping without a barrier. A hop is one 64-bit word, so whoever reads it gets target and
// sum of one moment, and an entry that hops over its target's hop stays right whichever that is.
// Each thread moves all its entries by one hop a round, so that the ways double in length.
__global__ void __launch_bounds__(kThreads)
    follow_hops_kernel(Word* hops, std::int64_t images, std::int64_t entries) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t image = blockIdx.y; image < images; image += gridDim.y) {
    Word* const own = hops + image * entries;
    for (bool moved = true; moved;) {
      moved = false;
      for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < entries;
           i += step) {
        const Word here = load_relaxed(own + i);
        const Word there = load_relaxed(own + hop_target(here));
        if (hop_target(there) == hop_target(here)) continue;
        store_relaxed(own + i, hop(hop_target(there), hop_sum(here) + hop_sum(there)));
        moved = true;
      }
    }
  }
}

} // namespace

cudaError_t follow_hops(Word* hops, std::int64_t images, std::int64_t entries,
                        cudaStream_t stream) {
  return launch_chase(follow_hops_kernel, entries, images, stream, hops, images, entries);
}

} // namespace point2mask::cuda::tree
