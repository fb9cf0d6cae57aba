#include "point2mask/cuda.hpp"
#include "point2mask/scratch.hpp"
#include "point2mask/tree_rows.cuh"
#include "tree_filter_resident.cuh"

namespace point2mask::cuda {
namespace {

using namespace tree; // NOLINT(google-build-using-namespace)

// The sum of similarities is filtered as one more channel of ones.
template <typename T>
std::int64_t filter_channels(const TreeFilter<T>& p) {
  return p.channels + (p.normalize ? 1 : 0);
}

// What lies in the words that are kept for the gradient.
template <typename T>
struct Kept {
  T* sums; // [B, N] sums of similarities in pixel order; nullptr without them
  Paths paths;
};

template <typename T, typename Problem>
Kept<T> kept_in(const Problem& p, std::int32_t* words) {
  const std::int64_t sums = p.normalize ? p.images * p.pixels : 0;
  T* const first = reinterpret_cast<T*>(words);
  return {p.normalize ? first : nullptr,
          paths_in(reinterpret_cast<std::int32_t*>(first + sums), p.images, p.pixels)};
}

template <typename T>
struct FilterArrays {
  PathScratch search;
  T* rows;
};

template <typename T>
FilterArrays<T> arrays_in(Scratch& memory, const TreeFilter<T>& p, int lanes) {
  FilterArrays<T> a;
  a.search = path_scratch_in(memory, p.images, p.pixels);
  a.rows = memory.take<T>(p.images * groups_of(filter_channels(p), lanes) * p.pixels * lanes);
  return a;
}

// Rows of `maps` maps in shared memory, and memory for those that do not fit there.
template <typename T>
RowMemory<T> rows_in(Scratch& memory, std::int64_t maps, std::int64_t pixels, std::int64_t fit) {
  return {fit, fit < pixels ? memory.take<T>(maps * (pixels - fit)) : nullptr};
}

// What an image that fits takes instead.
template <typename T>
struct ResidentArrays {
  PathScratch search;
  RowMemory<T> rows;
  std::int32_t* ready; // [B] whether the sums are there; nullptr without them
};

template <typename T>
ResidentArrays<T> resident_arrays_in(Scratch& memory, const TreeFilter<T>& p, std::int64_t fit) {
  ResidentArrays<T> a;
  a.search = path_scratch_in(memory, p.images, p.pixels);
  a.rows = rows_in<T>(memory, p.images * filter_channels(p), p.pixels, fit);
  a.ready = p.normalize ? memory.take<std::int32_t>(p.images) : nullptr;
  return a;
}

template <typename T>
cudaError_t filter_resident(const TreeFilter<T>& p, const ResidentShape& shape, void* scratch,
                            cudaStream_t stream) {
  Scratch memory(scratch);
  const Kept<T> kept = kept_in<T>(p, p.kept);
  const ResidentArrays<T> a = resident_arrays_in(memory, p, shape.fit);
  cudaError_t status = find_paths(kept.paths, a.search, p.order, p.parent, stream);
  if (status == cudaSuccess && p.normalize)
    status = fill_with_zeros(a.ready, static_cast<std::size_t>(p.images) * sizeof *a.ready, stream);
  if (status == cudaSuccess)
    status = resident_filter<T>(shape.lanes,
                                {kept.paths, p.similarity, p.feature, nullptr, p.channels,
                                 filter_channels(p), p.output, kept.sums, a.ready, a.rows},
                                stream);
  return status;
}

template <typename T>
int filter_lanes(const TreeFilter<T>& p) {
  return filter_channels(p) <= kNarrow ? kNarrow : kWide;
}

template <typename T, int kLanes>
cudaError_t filter(const TreeFilter<T>& p, void* scratch, cudaStream_t stream) {
  Scratch memory(scratch);
  const Kept<T> kept = kept_in<T>(p, p.kept);
  const FilterArrays<T> a = arrays_in(memory, p, kLanes);
  const std::int64_t total = filter_channels(p);
  const Pass<Sum<T>, kLanes> pass{kept.paths, groups_of(total, kLanes), p.similarity, 1, a.rows,
                                  a.rows};
  cudaError_t status = find_paths(kept.paths, a.search, p.order, p.parent, stream);
  if (status == cudaSuccess)
    status = to_rows<T, T, kLanes>(
        {kept.paths, p.feature, p.channels, total, nullptr, nullptr, a.rows}, stream);
  if (status == cudaSuccess) status = run_pass<true>(pass, stream);
  if (status == cudaSuccess) status = run_pass<false>(pass, stream);
  if (status == cudaSuccess)
    status =
        to_pixels<T, kLanes>({kept.paths, a.rows, p.channels, total, p.output, kept.sums}, stream);
  return status;
}

// --- the gradients: x are the features, g the gradients; both are filtered and, for the gradient
// by the similarities, kept from before and after the downward pass.

template <typename T>
struct Channels {
  std::int64_t x, x_total, g_total;
};

// With grad_similarity both have one channel more for the sum of similarities: x ones, g its
// gradient. Without, only g is filtered.
template <typename T>
Channels<T> backward_channels(const TreeFilterBackward<T>& p) {
  if (p.grad_similarity == nullptr) return {0, 0, p.channels};
  const std::int64_t total = p.channels + (p.normalize ? 1 : 0);
  return {p.channels, total, total};
}

template <typename T>
int backward_lanes(const TreeFilterBackward<T>& p) {
  return backward_channels(p).g_total <= kNarrow ? kNarrow : kWide;
}

template <typename T>
struct BackwardArrays {
  T *x_up, *x, *g_up, *g; // rows after the upward and after both passes
  T* of_normalizer;       // [B, N] or nullptr
};

template <typename T>
BackwardArrays<T> arrays_in(Scratch& memory, const TreeFilterBackward<T>& p, int lanes) {
  const Channels<T> channels = backward_channels(p);
  const std::int64_t entries = p.images * p.pixels;
  const std::int64_t x = entries * groups_of(channels.x_total, lanes) * lanes;
  const std::int64_t g = entries * groups_of(channels.g_total, lanes) * lanes;
  const bool both = p.grad_similarity != nullptr;
  BackwardArrays<T> a;
  a.x_up = memory.take<T>(x);
  a.x = memory.take<T>(x);
  a.g_up = memory.take<T>(g);
  a.g = both ? memory.take<T>(g) : a.g_up;
  a.of_normalizer = p.normalize && both ? memory.take<T>(entries) : nullptr;
  return a;
}

// Minus sum_c grad_output * output: times 1 / normalizer the gradient by the sum of similarities.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    normalizer_gradient_kernel(TreeFilterBackward<T> p, T* of_normalizer) {
  for_each(p.images, p.pixels, [&](std::int64_t image, std::int64_t i) {
    double sum = 0.0;
    for (std::int64_t c = 0; c < p.channels; ++c) {
      const std::int64_t entry = (image * p.channels + c) * p.pixels + i;
      sum += static_cast<double>(__ldg(p.grad_output + entry)) *
             static_cast<double>(__ldg(p.output + entry));
    }
    of_normalizer[image * p.pixels + i] = static_cast<T>(-sum);
  });
}

template <typename T>
struct ResidentBackwardArrays {
  RowMemory<T> rows;
  T* of_normalizer; // [B, N] or nullptr
  T* share;         // [B, channels, N] each channel's part of grad_similarity, or nullptr
};

template <typename T>
ResidentBackwardArrays<T> resident_arrays_in(Scratch& memory, const TreeFilterBackward<T>& p,
                                             std::int64_t fit) {
  const std::int64_t entries = p.images * p.pixels, maps = backward_channels(p).g_total;
  const bool both = p.grad_similarity != nullptr;
  ResidentBackwardArrays<T> a;
  a.rows = rows_in<T>(memory, (both ? 2 : 1) * p.images * maps, p.pixels, fit);
  a.of_normalizer = p.normalize && both ? memory.take<T>(entries) : nullptr;
  a.share = both ? memory.take<T>(entries * maps) : nullptr;
  return a;
}

template <typename T>
cudaError_t backward_shape(const TreeFilterBackward<T>& p, ResidentShape* shape) {
  return p.grad_similarity == nullptr ? resident_shape<T>(p.images, p.channels, p.pixels, shape)
                                      : resident_gradient_shape<T>(p.pixels, shape);
}

template <typename T>
cudaError_t backward_resident(const TreeFilterBackward<T>& p, const Kept<T>& kept,
                              const ResidentShape& shape, void* scratch, cudaStream_t stream) {
  Scratch memory(scratch);
  const ResidentBackwardArrays<T> a = resident_arrays_in(memory, p, shape.fit);
  if (p.grad_similarity == nullptr)
    return resident_filter<T>(shape.lanes,
                              {kept.paths, p.similarity, p.grad_output, kept.sums, p.channels,
                               p.channels, p.grad_feature, nullptr, nullptr, a.rows},
                              stream);
  cudaError_t status = cudaSuccess;
  if (p.normalize)
    status = launch(normalizer_gradient_kernel<T>, image_grid(p.pixels, p.images), dim3(kThreads),
                    0, stream, p, a.of_normalizer);
  if (status == cudaSuccess)
    status = resident_gradient<T>(
        {kept.paths, p.similarity, p.feature, p.grad_output, kept.sums, a.of_normalizer, p.channels,
         backward_channels(p).g_total, p.grad_feature, a.share, a.rows},
        p.grad_similarity, stream);
  return status;
}

// The derivative by the similarity of an edge: what each side sends through it, times what comes
// from the other side.
template <typename T, int kLanes>
__global__ void __launch_bounds__(kThreads, kRowBlocks)
    similarity_gradient_kernel(TreeFilterBackward<T> p, Paths paths, BackwardArrays<T> a,
                               std::int64_t groups) {
  using Lanes = Row<T, kLanes>;
  for_each(p.images, p.pixels, [&](std::int64_t image, std::int64_t i) {
    const std::int64_t at = image * p.pixels + i;
    double sum = 0.0;
    for (std::int64_t group = 0; group < groups && i > 0; ++group) {
      const std::int64_t base = (image * groups + group) * p.pixels;
      const std::int64_t own = base + i, up = base + paths.parent[at];
      const T s = p.similarity[at];
      const Lanes x_own = reinterpret_cast<const Lanes*>(a.x_up)[own];
      const Lanes g_own = reinterpret_cast<const Lanes*>(a.g_up)[own];
      const Lanes x_up = reinterpret_cast<const Lanes*>(a.x)[up];
      const Lanes g_up = reinterpret_cast<const Lanes*>(a.g)[up];
#pragma unroll
      for (int c = 0; c < kLanes; ++c) {
        const T x_rest = x_up.lane[c] - s * x_own.lane[c];
        const T g_rest = g_up.lane[c] - s * g_own.lane[c];
        sum += static_cast<double>(g_own.lane[c] * x_rest + x_own.lane[c] * g_rest);
      }
    }
    p.grad_similarity[at] = static_cast<T>(sum);
  });
}

// Filters rows `up` into rows `full`, keeping what is there between the passes if they differ.
template <typename T, int kLanes>
cudaError_t filter_rows(const TreeFilterBackward<T>& p, const Paths& paths, std::int64_t total,
                        T* up, T* full, cudaStream_t stream) {
  const Pass<Sum<T>, kLanes> pass{paths, groups_of(total, kLanes), p.similarity, 1, up, full};
  const cudaError_t status = run_pass<true>(pass, stream);
  return status == cudaSuccess ? run_pass<false>(pass, stream) : status;
}

template <typename T, int kLanes>
cudaError_t backward(const TreeFilterBackward<T>& p, const Kept<T>& kept, void* scratch,
                     cudaStream_t stream) {
  Scratch memory(scratch);
  const BackwardArrays<T> a = arrays_in(memory, p, kLanes);
  const Channels<T> n = backward_channels(p);
  const Paths& paths = kept.paths;
  const dim3 grid = image_grid(p.pixels, p.images), block(kThreads);
  const bool both = p.grad_similarity != nullptr;
  cudaError_t status = cudaSuccess;
  if (both)
    status =
        to_rows<T, T, kLanes>({paths, p.feature, n.x, n.x_total, nullptr, nullptr, a.x_up}, stream);
  if (status == cudaSuccess && both)
    status = filter_rows<T, kLanes>(p, paths, n.x_total, a.x_up, a.x, stream);
  if (status == cudaSuccess && a.of_normalizer != nullptr)
    status = launch(normalizer_gradient_kernel<T>, grid, block, 0, stream, p, a.of_normalizer);
  if (status == cudaSuccess)
    status = to_rows<T, T, kLanes>(
        {paths, p.grad_output, p.channels, n.g_total, a.of_normalizer, kept.sums, a.g_up}, stream);
  if (status == cudaSuccess)
    status = filter_rows<T, kLanes>(p, paths, n.g_total, a.g_up, a.g, stream);
  if (status == cudaSuccess)
    status =
        to_pixels<T, kLanes>({paths, a.g, p.channels, n.g_total, p.grad_feature, nullptr}, stream);
  if (status == cudaSuccess && both)
    status = launch(similarity_gradient_kernel<T, kLanes>, grid, block, 0, stream, p, paths, a,
                    groups_of(n.g_total, kLanes));
  return status;
}

} // namespace

template <typename T>
std::int64_t scratch_bytes(const TreeFilter<T>& p) {
  Scratch memory;
  ResidentShape shape;
  if (resident_shape<T>(p.images, filter_channels(p), p.pixels, &shape) == cudaSuccess &&
      shape.lanes > 0)
    resident_arrays_in(memory, p, shape.fit);
  else
    arrays_in(memory, p, filter_lanes(p));
  return memory.bytes();
}

template <typename T>
cudaError_t run(const TreeFilter<T>& p, void* scratch, cudaStream_t stream) {
  if (p.images == 0 || p.channels == 0 || p.pixels == 0) return cudaSuccess;
  ResidentShape shape;
  const cudaError_t status = resident_shape<T>(p.images, filter_channels(p), p.pixels, &shape);
  if (status != cudaSuccess) return status;
  if (shape.lanes > 0) return filter_resident(p, shape, scratch, stream);
  return filter_lanes(p) == kNarrow ? filter<T, kNarrow>(p, scratch, stream)
                                    : filter<T, kWide>(p, scratch, stream);
}

template <typename T>
std::int64_t scratch_bytes(const TreeFilterBackward<T>& p) {
  Scratch memory;
  ResidentShape shape;
  if (backward_shape(p, &shape) == cudaSuccess && shape.lanes > 0)
    resident_arrays_in(memory, p, shape.fit);
  else
    arrays_in(memory, p, backward_lanes(p));
  return memory.bytes();
}

template <typename T>
cudaError_t run(const TreeFilterBackward<T>& p, void* scratch, cudaStream_t stream) {
  if (p.images == 0 || p.pixels == 0) return cudaSuccess;
  if (p.channels == 0) { // for which the filter keeps nothing
    if (p.grad_similarity == nullptr) return cudaSuccess;
    const auto entries = static_cast<std::size_t>(p.images * p.pixels);
    return fill_with_zeros(p.grad_similarity, entries * sizeof(T), stream);
  }
  ResidentShape shape;
  const cudaError_t status = backward_shape(p, &shape);
  if (status != cudaSuccess) return status;
  // The kernels read it alone; Paths is one type for who writes and who reads.
  const Kept<T> kept = kept_in<T>(p, const_cast<std::int32_t*>(p.kept));
  if (shape.lanes > 0) return backward_resident(p, kept, shape, scratch, stream);
  return backward_lanes(p) == kNarrow ? backward<T, kNarrow>(p, kept, scratch, stream)
                                      : backward<T, kWide>(p, kept, scratch, stream);
}

template std::int64_t scratch_bytes(const TreeFilter<float>&);
template std::int64_t scratch_bytes(const TreeFilter<double>&);
template cudaError_t run(const TreeFilter<float>&, void*, cudaStream_t);
template cudaError_t run(const TreeFilter<double>&, void*, cudaStream_t);
template std::int64_t scratch_bytes(const TreeFilterBackward<float>&);
template std::int64_t scratch_bytes(const TreeFilterBackward<double>&);
template cudaError_t run(const TreeFilterBackward<float>&, void*, cudaStream_t);
template cudaError_t run(const TreeFilterBackward<double>&, void*, cudaStream_t);

} // namespace point2mask::cuda
