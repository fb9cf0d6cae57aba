#pragma once

// Between maps in pixel order and the rows of the passes.

#include "point2mask/tree_passes.cuh"

namespace point2mask::cuda::tree {

// Rows are as wide as 8 channels; one or two get narrow ones.
constexpr int kNarrow = 2, kWide = 8;

// Row rank[p], lane c = channel c of pixel p over divisor[p]. Behind the channels may stand one
// more, and zeros fill the last row.
template <typename T, typename V, int kLanes>
struct ToRows {
  Paths paths;
  const T* map;                 // [B, channels, N]
  std::int64_t channels, total; // total: channels, or one more
  const T* behind;              // [B, N] the channel behind; nullptr = ones
  const T* divisor;             // [B, N] or nullptr
  V* rows;                      // [B, groups, N, kLanes]
};

template <typename T, typename V, int kLanes>
__global__ void __launch_bounds__(kThreads, kRowBlocks) to_rows_kernel(ToRows<T, V, kLanes> a) {
  const std::int64_t pixels = a.paths.pixels, groups = groups_of(a.total, kLanes);
  for_each(a.paths.images, pixels, [&](std::int64_t image, std::int64_t i) {
    const std::int64_t at = image * pixels + i;
    const T divisor = a.divisor != nullptr ? __ldg(a.divisor + at) : T(1);
    auto* const rows = reinterpret_cast<Row<V, kLanes>*>(a.rows);
    for (std::int64_t group = 0; group < groups; ++group) {
      Row<V, kLanes> row;
#pragma unroll
      for (int c = 0; c < kLanes; ++c) {
        const std::int64_t channel = group * kLanes + c;
        T value = T(0);
        if (channel < a.channels)
          value = __ldg(a.map + (image * a.channels + channel) * pixels + i);
        else if (channel < a.total)
          value = a.behind != nullptr ? __ldg(a.behind + at) : T(1);
        row.lane[c] = static_cast<V>(a.divisor != nullptr ? value / divisor : value);
      }
      rows[(image * groups + group) * pixels + a.paths.rank[at]] = row;
    }
  });
}

template <typename T, typename V, int kLanes>
cudaError_t to_rows(const ToRows<T, V, kLanes>& a, cudaStream_t stream) {
  return launch(to_rows_kernel<T, V, kLanes>, image_grid(a.paths.pixels, a.paths.images),
                dim3(kThreads), 0, stream, a);
}

// Channel c of pixel p = row rank[p], lane c, over the channel behind if `sums` takes that.
template <typename T, int kLanes>
struct ToPixels {
  Paths paths;
  const T* rows;                // [B, groups, N, kLanes]
  std::int64_t channels, total; // as in ToRows
  T* map;                       // [B, channels, N]
  T* sums;                      // [B, N] the channel behind, or nullptr
};

template <typename T, int kLanes>
__global__ void __launch_bounds__(kThreads, kRowBlocks) to_pixels_kernel(ToPixels<T, kLanes> a) {
  const std::int64_t pixels = a.paths.pixels, groups = groups_of(a.total, kLanes);
  for_each(a.paths.images, pixels, [&](std::int64_t image, std::int64_t i) {
    const std::int64_t rank = a.paths.rank[image * pixels + i];
    const auto* const rows = reinterpret_cast<const Row<T, kLanes>*>(a.rows);
    const bool divide = a.sums != nullptr;
    const std::int64_t last = image * groups + a.channels / kLanes; // group of the channel behind
    const T divisor = divide ? a.rows[(last * pixels + rank) * kLanes + a.channels % kLanes] : T(1);
    if (divide) a.sums[image * pixels + i] = divisor;
    for (std::int64_t group = 0; group < groups; ++group) {
      const Row<T, kLanes> row = rows[(image * groups + group) * pixels + rank];
#pragma unroll
      for (int c = 0; c < kLanes; ++c) {
        const std::int64_t channel = group * kLanes + c;
        if (channel < a.channels)
          a.map[(image * a.channels + channel) * pixels + i] =
              divide ? row.lane[c] / divisor : row.lane[c];
      }
    }
  });
}

template <typename T, int kLanes>
cudaError_t to_pixels(const ToPixels<T, kLanes>& a, cudaStream_t stream) {
  return launch(to_pixels_kernel<T, kLanes>, image_grid(a.paths.pixels, a.paths.images),
                dim3(kThreads), 0, stream, a);
}

} // namespace point2mask::cuda::tree
