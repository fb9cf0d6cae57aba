#include "deformable_maps.cuh"

namespace point2mask::cuda {
namespace deformable {
namespace {

// A thread an output entry; the channels of a head are neighbours, so that a warp reads
// neighbouring words of a cell. The order of the sum is that of levels, points and corners.
template <typename T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    read_kernel(DeformableAttention<T> p, Maps maps) {
  const std::int64_t entries = p.images * p.queries * p.heads * p.channels;
  const std::int64_t stride = p.heads * p.channels; // from a cell to the next
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t out = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; out < entries;
       out += step) {
    const std::int64_t image = out / (p.queries * stride);
    const T* const value = p.value + image * p.cells * stride + out % stride;
    std::int64_t sample = out / p.channels * p.levels * p.points;
    T sum = T(0);
    for (std::int64_t l = 0; l < p.levels; ++l) {
      const Map& map = maps.at[l];
      const T* const first = value + map.first * stride;
#pragma unroll 2
      for (std::int64_t n = 0; n < p.points; ++n, ++sample) {
        const Position<T> at =
            position_of(__ldg(p.where + 2 * sample), __ldg(p.where + 2 * sample + 1), map);
        if (!at.inside) continue;
        const T weight = __ldg(p.weight + sample);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const std::int64_t cell = corner(at, map, k);
          if (cell >= 0) sum += weight * corner_weight(at, k) * __ldg(first + cell * stride);
        }
      }
    }
    p.output[out] = sum;
  }
}

} // namespace
} // namespace deformable

template <typename T>
void check_limits(const DeformableAttention<T>& p) {
  deformable::check_levels("deformable_attention", p.levels);
}

template <typename T>
cudaError_t run(const DeformableAttention<T>& p, void* /*scratch*/, cudaStream_t stream) {
  using namespace deformable;
  const std::int64_t entries = p.images * p.queries * p.heads * p.channels;
  if (entries == 0) return cudaSuccess;
  return launch(read_kernel<T>, dim3(blocks_for(entries, kThreads)), dim3(kThreads), 0, stream, p,
                Maps(p.shapes, p.levels));
}

template void check_limits(const DeformableAttention<float>&);
template void check_limits(const DeformableAttention<double>&);
template cudaError_t run(const DeformableAttention<float>&, void*, cudaStream_t);
template cudaError_t run(const DeformableAttention<double>&, void*, cudaStream_t);

} // namespace point2mask::cuda
