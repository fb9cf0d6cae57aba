#pragma once

// The tree filter on maps that fit the shared memory of a block: a block reads a few channels of an
// image, runs both passes on them where they lie, and writes the result.

#include "point2mask/tree_passes.cuh"

namespace point2mask::cuda::tree {

// Threads of a block: all that a multiprocessor can give 64 registers, which is what narrow rows
// take.
template <typename T, int kLanes>
constexpr int kFilterThreads = sizeof(T) * sizeof(Row<T, kLanes>) <= 64 ? 1024 : 512;
template <typename T>
constexpr int kGradientThreads = sizeof(T) == 4 ? 1024 : 512;

inline dim3 resident_block(std::int64_t pixels, int most) {
  const std::int64_t threads = (pixels + kWarp - 1) / kWarp * kWarp;
  return dim3(static_cast<unsigned>(threads < most ? threads : most));
}

// Where blocks have the rows of their images.
template <typename T>
struct RowMemory {
  std::int64_t fit; // rows in shared memory, of the lowest ranks
  T* beyond;        // [images * groups, N - fit, kLanes] the others; nullptr if all fit
};

// Shared memory of a block: what its long paths take, then a row a rank.
template <typename T, int kLanes>
struct Resident {
  using Lanes = Row<T, kLanes>;
  LongPaths<Sum<T>, kLanes> long_paths;

  // The rows of an image and group, which are the block's `work`.
  template <bool kSplit>
  __device__ __forceinline__ auto rows(const RowMemory<T>& memory, std::int64_t pixels,
                                       std::int64_t work) {
    auto* const first = reinterpret_cast<Lanes*>(this + 1);
    if constexpr (kSplit)
      return Split<Lanes>{first,
                          reinterpret_cast<Lanes*>(memory.beyond) + work * (pixels - memory.fit),
                          memory.fit};
    else
      return first;
  }
  static std::size_t bytes(std::int64_t rows) {
    return sizeof(Resident) + static_cast<std::size_t>(rows) * sizeof(Lanes);
  }
  static std::int64_t rows_that_fit(std::int64_t pixels, std::size_t limit) {
    return limit < sizeof(Resident)
               ? 0
               : entries_that_fit(
                     pixels, static_cast<std::int64_t>((limit - sizeof(Resident)) / sizeof(Lanes)));
  }
};

// Both passes over all levels of an image, by one block.
template <int kLanes, typename T, typename Rows, typename Visit>
__device__ __forceinline__ void run_passes(const Paths& paths, const T* similarity,
                                           std::int64_t image, Resident<T, kLanes>& shared,
                                           const Rows& rows, const Visit& visit) {
  const View<Sum<T>, kLanes, Rows> v(paths, image, similarity, rows);
  const std::int32_t levels = paths.levels[image];
  if (threadIdx.x == 0) shared.long_paths.count = 0;
  __syncthreads();
  for (std::int32_t level = levels; level-- > 0;) {
    pass_level<true>(paths, v, shared.long_paths, image, level, 0, 1);
    __syncthreads();
  }
  for (std::int32_t level = 0; level < levels; ++level) {
    pass_level<false>(paths, v, shared.long_paths, image, level, 0, 1, visit);
    __syncthreads();
  }
}

template <typename T>
struct ResidentFilter {
  Paths paths;
  const T* similarity;          // [B, N]
  const T* map;                 // [B, C, N] in pixel order
  const T* before;              // [B, N] in pixel order or nullptr: divides what is filtered
  std::int64_t channels, total; // total: one more, ones, if the result is divided by theirs
  T* output;                    // [B, C, N]
  T* sums;                      // [B, N] in pixel order: the result of the ones, or nullptr
  std::int32_t* ready;          // [B] zero before: whether an image's sums are written
  RowMemory<T> memory;
};

// Blocks that need the sums of an image wait for the one that makes them, so that all of them run
// at the same time. It comes first: the groups of channels are taken from the last one on.
template <typename T, int kLanes, bool kSplit>
__global__ void __launch_bounds__(kFilterThreads<T, kLanes>, 1)
    resident_filter_kernel(ResidentFilter<T> a) {
  using Shared = Resident<T, kLanes>;
  using Lanes = typename Shared::Lanes;
  POINT2MASK_DYNAMIC_SHARED(Shared, shared);
  const std::int64_t pixels = a.paths.pixels, groups = groups_of(a.total, kLanes);
  for (std::int64_t work = blockIdx.x; work < groups * a.paths.images; work += gridDim.x) {
    const auto rows = shared->template rows<kSplit>(a.memory, pixels, work);
    const std::int64_t image = work % a.paths.images;
    const std::int64_t first = (groups - 1 - work / a.paths.images) * kLanes; // channel
    const std::int64_t base = (image * a.channels + first) * pixels;
    const bool divide = a.sums != nullptr, makes_sums = divide && a.channels - first < kLanes;
    const std::int32_t* const rank = a.paths.rank + image * pixels;
    T* const sums = divide ? a.sums + image * pixels : nullptr;
    for (std::int64_t i = threadIdx.x; i < pixels; i += blockDim.x) {
      const T divisor = a.before != nullptr ? __ldg(a.before + image * pixels + i) : T(1);
      Lanes row;
#pragma unroll
      for (int c = 0; c < kLanes; ++c) {
        T value = first + c < a.total ? T(1) : T(0);
        if (first + c < a.channels) value = __ldg(a.map + base + c * pixels + i);
        row.lane[c] = a.before != nullptr ? value / divisor : value;
      }
      rows[rank[i]] = row;
    }
    run_passes<kLanes>(a.paths, a.similarity, image, *shared, rows, NoVisit());
    if (divide && !makes_sums) {
      if (threadIdx.x == 0) {
        while (load_relaxed(a.ready + image) == 0) {
        }
        __threadfence();
      }
      __syncthreads();
    }
    for (std::int64_t i = threadIdx.x; i < pixels; i += blockDim.x) {
      const Lanes row = rows[rank[i]];
      T divisor = T(1);
      if (divide && !makes_sums) divisor = sums[i];
#pragma unroll
      for (int c = 0; c < kLanes; ++c)
        if (makes_sums && first + c == a.channels) divisor = sums[i] = row.lane[c];
#pragma unroll
      for (int c = 0; c < kLanes; ++c)
        if (first + c < a.channels)
          a.output[base + c * pixels + i] = divide ? row.lane[c] / divisor : row.lane[c];
    }
    __syncthreads();
    if (makes_sums && threadIdx.x == 0) {
      __threadfence();
      store_relaxed(a.ready + image, 1);
    }
  }
}

template <typename T, int kLanes, bool kSplit = false>
cudaError_t resident_filter(const ResidentFilter<T>& a, cudaStream_t stream) {
  const auto kernel = resident_filter_kernel<T, kLanes, kSplit>;
  const dim3 block = resident_block(a.paths.pixels, kFilterThreads<T, kLanes>);
  const std::size_t bytes = Resident<T, kLanes>::bytes(a.memory.fit);
  std::int64_t blocks = 0;
  const cudaError_t status = resident_blocks(kernel, block.x, bytes, &blocks);
  if (status != cudaSuccess) return status;
  const std::int64_t work = groups_of(a.total, kLanes) * a.paths.images;
  const dim3 grid(static_cast<unsigned>(work < blocks ? work : blocks));
  return launch_together(kernel, grid, block, bytes, stream, a);
}

// How a block takes an image.
struct ResidentShape {
  int lanes = 0;        // channels; 0 if too few rows fit
  std::int64_t fit = 0; // rows in shared memory
};

// Several channels where all of their rows fit and there are blocks for the whole device, since
// more read the tables less often; one where at least half of its rows fit. The kernel is ready.
template <typename T, int kLanes = 8>
cudaError_t resident_shape(std::int64_t images, std::int64_t channels, std::int64_t pixels,
                           ResidentShape* shape) {
  const auto kernel = resident_filter_kernel<T, kLanes, false>;
  *shape = {};
  std::size_t limit = 0;
  cudaError_t status = allow_shared_memory(kernel, &limit);
  if (status != cudaSuccess) return status;
  const std::int64_t fit = Resident<T, kLanes>::rows_that_fit(pixels, limit);
  if constexpr (kLanes > 1) {
    std::int64_t blocks = 0;
    if (fit == pixels)
      status = resident_blocks(kernel, resident_block(pixels, kFilterThreads<T, kLanes>).x,
                               Resident<T, kLanes>::bytes(pixels), &blocks);
    if (status != cudaSuccess) return status;
    if (fit < pixels || images * groups_of(channels, kLanes) < blocks)
      return resident_shape<T, kLanes / 2>(images, channels, pixels, shape);
  } else if (fit < pixels) {
    status = allow_shared_memory(resident_filter_kernel<T, kLanes, true>, &limit);
  }
  if (status == cudaSuccess && fit > 0) *shape = {kLanes, fit};
  return status;
}

template <typename T>
cudaError_t resident_filter(int lanes, const ResidentFilter<T>& a, cudaStream_t stream) {
  return lanes == 8                      ? resident_filter<T, 8>(a, stream)
         : lanes == 4                    ? resident_filter<T, 4>(a, stream)
         : lanes == 2                    ? resident_filter<T, 2>(a, stream)
         : a.memory.fit < a.paths.pixels ? resident_filter<T, 1, true>(a, stream)
                                         : resident_filter<T, 1>(a, stream);
}

// --- the gradients: a block filters one channel of the features (x) and of the gradients (g) side
// by side, so that on the way down both are at hand for the derivative by the similarities.

template <typename T>
struct ResidentGradient {
  Paths paths;
  const T *similarity, *feature, *grad_output;
  const T *normalizer, *of_normalizer; // [B, N] in pixel order, or nullptr
  std::int64_t channels, total; // total: one more, ones and of_normalizer, if there are those
  T* grad_feature;              // [B, channels, N]
  T* share;                     // [B, total, N] each channel's derivative, by rank
  RowMemory<T> memory;
};

// The derivative by the similarity of an edge: what each side sends through it, times what comes
// from the other side.
template <typename T>
struct EdgeDerivative {
  static constexpr bool kUsed = true;
  T* share;
  __device__ __forceinline__ void operator()(std::int32_t rank, T s, const Row<T, 2>& up,
                                             const Row<T, 2>& parent) const {
    const T x_rest = parent.lane[0] - s * up.lane[0], g_rest = parent.lane[1] - s * up.lane[1];
    share[rank] = up.lane[1] * x_rest + up.lane[0] * g_rest;
  }
};

template <typename T, bool kSplit>
__global__ void __launch_bounds__(kGradientThreads<T>, 1)
    resident_gradient_kernel(ResidentGradient<T> a) {
  using Shared = Resident<T, 2>;
  using Lanes = typename Shared::Lanes;
  POINT2MASK_DYNAMIC_SHARED(Shared, shared);
  const std::int64_t pixels = a.paths.pixels;
  for (std::int64_t image = blockIdx.y; image < a.paths.images; image += gridDim.y) {
    const std::int32_t* const rank = a.paths.rank + image * pixels;
    for (std::int64_t channel = blockIdx.x; channel < a.total; channel += gridDim.x) {
      const auto rows = shared->template rows<kSplit>(a.memory, pixels, image * a.total + channel);
      const bool behind = channel == a.channels;
      const std::int64_t base = (image * a.channels + channel) * pixels;
      for (std::int64_t i = threadIdx.x; i < pixels; i += blockDim.x) {
        const std::int64_t at = image * pixels + i;
        const T g = behind ? __ldg(a.of_normalizer + at) : __ldg(a.grad_output + base + i);
        Lanes row;
        row.lane[0] = behind ? T(1) : __ldg(a.feature + base + i);
        row.lane[1] = a.normalizer != nullptr ? g / __ldg(a.normalizer + at) : g;
        rows[rank[i]] = row;
      }
      run_passes<2>(a.paths, a.similarity, image, *shared, rows,
                    EdgeDerivative<T>{a.share + (image * a.total + channel) * pixels});
      if (!behind)
        for (std::int64_t i = threadIdx.x; i < pixels; i += blockDim.x)
          a.grad_feature[base + i] = rows[rank[i]].lane[1];
      __syncthreads();
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    add_derivatives_kernel(ResidentGradient<T> a, T* grad_similarity) {
  for_each(a.paths.images, a.paths.pixels, [&](std::int64_t image, std::int64_t i) {
    double sum = 0.0;
    for (std::int64_t channel = 0; channel < a.total && i > 0; ++channel)
      sum += static_cast<double>(a.share[(image * a.total + channel) * a.paths.pixels + i]);
    grad_similarity[image * a.paths.pixels + i] = static_cast<T>(sum);
  });
}

template <typename T>
cudaError_t resident_gradient_shape(std::int64_t pixels, ResidentShape* shape) {
  *shape = {};
  std::size_t limit = 0;
  cudaError_t status = allow_shared_memory(resident_gradient_kernel<T, false>, &limit);
  if (status == cudaSuccess)
    status = allow_shared_memory(resident_gradient_kernel<T, true>, &limit);
  if (status != cudaSuccess) return status;
  const std::int64_t fit = Resident<T, 2>::rows_that_fit(pixels, limit);
  if (fit > 0) *shape = {1, fit};
  return status;
}

template <typename T>
cudaError_t resident_gradient(const ResidentGradient<T>& a, T* grad_similarity,
                              cudaStream_t stream) {
  const std::int64_t pixels = a.paths.pixels, images = a.paths.images;
  const auto kernel = a.memory.fit < pixels ? resident_gradient_kernel<T, true>
                                            : resident_gradient_kernel<T, false>;
  cudaError_t status = cudaSuccess;
  if (a.total > 0)
    status = launch(kernel, dim3(blocks_for(a.total, 1), blocks_for(images, 1)),
                    resident_block(pixels, kGradientThreads<T>),
                    Resident<T, 2>::bytes(a.memory.fit), stream, a);
  if (status == cudaSuccess)
    status = launch(add_derivatives_kernel<T>, image_grid(pixels, images), dim3(kThreads), 0,
                    stream, a, grad_similarity);
  return status;
}

} // namespace point2mask::cuda::tree
