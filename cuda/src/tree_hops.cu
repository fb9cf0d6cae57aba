#include "point2mask/tree_kernels.cuh"

namespace point2mask::cuda::tree {
namespace {

__global__ void __launch_bounds__(kThreads)
    follow_hops_kernel(Word* hops, std::int64_t images, std::int64_t entries) {
  for (std::int64_t image = blockIdx.y; image < images; image += gridDim.y)
    follow(hops + image * entries, entries, std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x,
           std::int64_t{gridDim.x} * blockDim.x);
}

} // namespace

cudaError_t follow_hops(Word* hops, std::int64_t images, std::int64_t entries,
                        cudaStream_t stream) {
  return launch_chase(follow_hops_kernel, entries, images, stream, hops, images, entries);
}

} // namespace point2mask::cuda::tree
