#include "point2mask/scratch.hpp"
#include "point2mask/tree_cuda.hpp"
#include "point2mask/tree_rows.cuh"

namespace point2mask::cuda {
namespace {

using namespace tree; // NOLINT(google-build-using-namespace)

// Edges in the order of (weight, rank), as numbers that are all different: for float one word, for
// double the weight's bits and the rank.
template <typename T>
struct Key;

template <>
struct Key<float> {
  Word bits; // ordered weight, rank
  static __device__ __forceinline__ Key of(float weight, std::int64_t rank) {
    return {ordered_bits(weight) << 32 | static_cast<Word>(rank)};
  }
  __device__ __forceinline__ std::int64_t rank() const {
    return static_cast<std::int64_t>(bits & 0xffffffffU);
  }
  __device__ __forceinline__ bool operator<(const Key& o) const { return bits < o.bits; }
  __device__ __forceinline__ bool operator==(const Key& o) const { return bits == o.bits; }
};

template <>
struct alignas(16) Key<double> {
  Word bits, number;
  static __device__ __forceinline__ Key of(double weight, std::int64_t rank) {
    return {ordered_bits(weight), static_cast<Word>(rank)};
  }
  __device__ __forceinline__ std::int64_t rank() const {
    return static_cast<std::int64_t>(number & 0xffffffffU);
  }
  __device__ __forceinline__ bool operator<(const Key& o) const {
    return bits < o.bits || (bits == o.bits && number < o.number);
  }
  __device__ __forceinline__ bool operator==(const Key& o) const {
    return bits == o.bits && number == o.number;
  }
};

__device__ __forceinline__ Key<float> shuffle_up(Key<float> key, unsigned by) {
  return {tree::shuffle_up(key.bits, by)};
}
__device__ __forceinline__ Key<float> shuffle_from(Key<float> key, int lane) {
  return {tree::shuffle_from(key.bits, lane)};
}
__device__ __forceinline__ Key<double> shuffle_up(Key<double> key, unsigned by) {
  return {tree::shuffle_up(key.bits, by), tree::shuffle_up(key.number, by)};
}
__device__ __forceinline__ Key<double> shuffle_from(Key<double> key, int lane) {
  return {tree::shuffle_from(key.bits, lane), tree::shuffle_from(key.number, lane)};
}

// The distance of a seed and that of a target without seeds; for keys they are below and above
// those of all edges, whose ranks lie in [1, 2^31).
template <typename V>
struct Extreme;
template <>
struct Extreme<float> {
  static __device__ __forceinline__ float seed() { return 0.0F; }
  static __device__ __forceinline__ float far() { return INFINITY; }
};
template <>
struct Extreme<double> {
  static __device__ __forceinline__ double seed() { return 0.0; }
  static __device__ __forceinline__ double far() { return static_cast<double>(INFINITY); }
};
template <>
struct Extreme<Key<float>> {
  static __device__ __forceinline__ Key<float> seed() { return {0}; }
  static __device__ __forceinline__ Key<float> far() { return {~Word{0}}; }
};
template <>
struct Extreme<Key<double>> {
  static __device__ __forceinline__ Key<double> seed() { return {0, 0}; }
  static __device__ __forceinline__ Key<double> far() { return {~Word{0}, ~Word{0}}; }
};

// The smallest of the largest weights. Nothing is taken back on the way down: what came up through
// an edge returns no smaller.
template <typename V>
struct Relax {
  using Value = V;
  using Weight = V;
  static __device__ __forceinline__ V zero() { return Extreme<V>::far(); }
  static __device__ __forceinline__ V plus(V own, V other) { return other < own ? other : own; }
  static __device__ __forceinline__ V times(V w, V value, int) { return w < value ? value : w; }
  static __device__ __forceinline__ V compose(V w, V inner) { return w < inner ? inner : w; }
  static __device__ __forceinline__ V outside(V own, V) { return own; }
};

// Sums over the pixels of a target that share a bottleneck: a weight is the set of lanes in which a
// rank's bottleneck is also its parent's.
struct Collect {
  using Value = double;
  using Weight = unsigned;
  static __device__ __forceinline__ double zero() { return 0.0; }
  static __device__ __forceinline__ double plus(double a, double b) { return a + b; }
  static __device__ __forceinline__ double times(unsigned lanes, double value, int lane) {
    return (lanes >> lane & 1U) != 0 ? value : 0.0;
  }
  static __device__ __forceinline__ unsigned compose(unsigned lanes, unsigned inner) {
    return lanes & inner;
  }
};

// rows [B, groups, N, kLanes] = far
template <typename V>
__global__ void __launch_bounds__(kThreads)
    clear_rows_kernel(V* rows, std::int64_t images, std::int64_t entries) {
  for_each(images, entries, [&](std::int64_t image, std::int64_t i) {
    rows[image * entries + i] = Extreme<V>::far();
  });
}

// A thread a target. Seeds outside the image count for nothing.
template <typename V, int kLanes>
__global__ void __launch_bounds__(kThreads)
    set_seeds_kernel(Paths paths, const std::int32_t* seeds, std::int64_t targets,
                     std::int64_t points, V* rows) {
  for_each(paths.images, targets, [&](std::int64_t image, std::int64_t k) {
    for (std::int64_t i = 0; i < points; ++i) {
      const std::int64_t pixel = seeds[(image * targets + k) * points + i];
      if (pixel < 0 || pixel >= paths.pixels) continue;
      const std::int64_t rank = paths.rank[image * paths.pixels + pixel];
      rows[in_rows<kLanes>(paths, targets, image, k, rank)] = Extreme<V>::seed();
    }
  });
}

template <int kLanes, typename V>
cudaError_t place_seeds(const Paths& paths, const std::int32_t* seeds, std::int64_t targets,
                        std::int64_t points, V* rows, cudaStream_t stream) {
  const std::int64_t entries = groups_of(targets, kLanes) * paths.pixels * kLanes;
  cudaError_t status = launch(clear_rows_kernel<V>, image_grid(entries, paths.images),
                              dim3(kThreads), 0, stream, rows, paths.images, entries);
  if (status == cudaSuccess)
    status = launch(set_seeds_kernel<V, kLanes>, image_grid(targets, paths.images), dim3(kThreads),
                    0, stream, paths, seeds, targets, points, rows);
  return status;
}

template <typename T>
struct DistanceArrays {
  Paths paths;
  T* rows;
};

template <typename T>
int distance_lanes(const BottleneckDistance<T>& p) {
  return p.targets <= kNarrow ? kNarrow : kWide;
}

template <typename T>
DistanceArrays<T> arrays_in(Scratch& scratch, const BottleneckDistance<T>& p, int lanes) {
  DistanceArrays<T> a;
  a.paths = paths_in(scratch, p.images, p.pixels);
  a.rows = scratch.take<T>(p.images * groups_of(p.targets, lanes) * p.pixels * lanes);
  return a;
}

template <typename T, int kLanes>
cudaError_t distance(const BottleneckDistance<T>& p, cudaStream_t stream) {
  Scratch scratch(p.scratch);
  const DistanceArrays<T> a = arrays_in(scratch, p, kLanes);
  const Pass<Relax<T>, kLanes> pass{a.paths, groups_of(p.targets, kLanes), p.weight, 1, a.rows,
                                    a.rows};
  cudaError_t status = find_paths(a.paths, p.order, p.parent, stream);
  if (status == cudaSuccess)
    status = place_seeds<kLanes>(a.paths, p.seeds, p.targets, p.points, a.rows, stream);
  if (status == cudaSuccess) status = run_pass<true>(pass, stream);
  if (status == cudaSuccess) status = run_pass<false>(pass, stream);
  if (status == cudaSuccess)
    status =
        to_pixels<T, kLanes>({a.paths, a.rows, p.targets, p.targets, false, p.distance}, stream);
  return status;
}

// --- the gradient. The pixels of a target that share a bottleneck edge are a connected part of the
// tree, with one highest rank: sums over the subtrees that stop where the bottleneck changes leave
// the part's gradient there. A target has at most one such part for every edge, so each sum has a
// place of its own to go to.

constexpr int kKeyLanes = 4;

template <typename T>
struct GradientArrays {
  Paths paths;
  Key<T>* edge;       // [B, N] key of the edge from each rank to its parent
  Key<T>* bottleneck; // [B, groups, N, kKeyLanes]
  unsigned* same;     // [B, groups, N] the lanes whose bottleneck is that of the parent
  double* sum;        // [B, groups, N, kKeyLanes] gradients, then their sums
  T* share;           // [B, groups, N, kKeyLanes] each target's gradient by each edge
};

template <typename T>
GradientArrays<T> arrays_in(Scratch& scratch, const BottleneckDistanceBackward<T>& p) {
  const std::int64_t entries = p.images * p.pixels;
  const std::int64_t ranks = entries * groups_of(p.targets, kKeyLanes);
  GradientArrays<T> a;
  a.paths = paths_in(scratch, p.images, p.pixels);
  a.edge = scratch.take<Key<T>>(entries);
  a.bottleneck = scratch.take<Key<T>>(ranks * kKeyLanes);
  a.same = scratch.take<unsigned>(ranks);
  a.sum = scratch.take<double>(ranks * kKeyLanes);
  a.share = scratch.take<T>(ranks * kKeyLanes);
  return a;
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    make_keys_kernel(const T* weight, std::int64_t images, std::int64_t pixels, Key<T>* edge) {
  for_each(images, pixels, [&](std::int64_t image, std::int64_t i) {
    edge[image * pixels + i] =
        i == 0 ? Extreme<Key<T>>::seed() : Key<T>::of(weight[image * pixels + i], i);
  });
}

template <typename T>
__global__ void __launch_bounds__(kThreads, kRowBlocks)
    compare_bottlenecks_kernel(GradientArrays<T> a, std::int64_t groups) {
  using Lanes = Row<Key<T>, kKeyLanes>;
  for_each(a.paths.images, a.paths.pixels, [&](std::int64_t image, std::int64_t i) {
    const std::int64_t parent = a.paths.parent[image * a.paths.pixels + i];
    for (std::int64_t group = 0; group < groups; ++group) {
      const std::int64_t base = (image * groups + group) * a.paths.pixels;
      const Lanes own = reinterpret_cast<const Lanes*>(a.bottleneck)[base + i];
      const Lanes up = reinterpret_cast<const Lanes*>(a.bottleneck)[base + parent];
      unsigned same = 0;
#pragma unroll
      for (int k = 0; k < kKeyLanes; ++k) {
        a.share[(base + i) * kKeyLanes + k] = T(0);
        if (i > 0 && own.lane[k] == up.lane[k]) same |= 1U << k;
      }
      a.same[base + i] = same;
    }
  });
}

// From the highest rank of each part to the rank of its bottleneck edge. A seed's bottleneck is
// rank 0 and that of a target without seeds lies behind all ranks: both have no edge.
template <typename T>
__global__ void __launch_bounds__(kThreads, kRowBlocks)
    send_sums_kernel(GradientArrays<T> a, std::int64_t groups) {
  for_each(a.paths.images, a.paths.pixels, [&](std::int64_t image, std::int64_t i) {
    for (std::int64_t group = 0; group < groups; ++group) {
      const std::int64_t base = (image * groups + group) * a.paths.pixels;
      const unsigned same = a.same[base + i];
#pragma unroll
      for (int k = 0; k < kKeyLanes; ++k) {
        if ((same >> k & 1U) != 0) continue;
        const std::int64_t rank = a.bottleneck[(base + i) * kKeyLanes + k].rank();
        if (rank > 0 && rank < a.paths.pixels)
          a.share[(base + rank) * kKeyLanes + k] =
              static_cast<T>(a.sum[(base + i) * kKeyLanes + k]);
      }
    }
  });
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    add_shares_kernel(GradientArrays<T> a, std::int64_t groups, T* grad_weight) {
  for_each(a.paths.images, a.paths.pixels, [&](std::int64_t image, std::int64_t i) {
    double sum = 0.0;
    for (std::int64_t group = 0; group < groups; ++group) {
      const std::int64_t at = (image * groups + group) * a.paths.pixels + i;
      for (int k = 0; k < kKeyLanes; ++k) sum += static_cast<double>(a.share[at * kKeyLanes + k]);
    }
    grad_weight[image * a.paths.pixels + i] = static_cast<T>(sum);
  });
}

} // namespace

template <typename T>
std::int64_t bottleneck_distance_scratch_bytes(const BottleneckDistance<T>& p) {
  Scratch scratch;
  arrays_in(scratch, p, distance_lanes(p));
  return scratch.bytes();
}

template <typename T>
cudaError_t bottleneck_distance(const BottleneckDistance<T>& p, cudaStream_t stream) {
  if (p.images == 0 || p.targets == 0 || p.pixels == 0) return cudaSuccess;
  return distance_lanes(p) == kNarrow ? distance<T, kNarrow>(p, stream)
                                      : distance<T, kWide>(p, stream);
}

template <typename T>
std::int64_t bottleneck_distance_backward_scratch_bytes(const BottleneckDistanceBackward<T>& p) {
  Scratch scratch;
  arrays_in(scratch, p);
  return scratch.bytes();
}

template <typename T>
cudaError_t bottleneck_distance_backward(const BottleneckDistanceBackward<T>& p,
                                         cudaStream_t stream) {
  if (p.images == 0 || p.pixels == 0) return cudaSuccess;
  Scratch scratch(p.scratch);
  const GradientArrays<T> a = arrays_in(scratch, p);
  const std::int64_t groups = groups_of(p.targets, kKeyLanes);
  const dim3 grid = image_grid(p.pixels, p.images), block(kThreads);
  const Pass<Relax<Key<T>>, kKeyLanes> relax{a.paths, groups,       a.edge,
                                             1,       a.bottleneck, a.bottleneck};
  const Pass<Collect, kKeyLanes> collect{a.paths, groups, a.same, groups, a.sum, a.sum};
  cudaError_t status = cudaSuccess;
  if (groups > 0) {
    status = find_paths(a.paths, p.order, p.parent, stream);
    if (status == cudaSuccess)
      status =
          launch(make_keys_kernel<T>, grid, block, 0, stream, p.weight, p.images, p.pixels, a.edge);
    if (status == cudaSuccess)
      status = place_seeds<kKeyLanes>(a.paths, p.seeds, p.targets, p.points, a.bottleneck, stream);
    if (status == cudaSuccess) status = run_pass<true>(relax, stream);
    if (status == cudaSuccess) status = run_pass<false>(relax, stream);
    if (status == cudaSuccess)
      status = launch(compare_bottlenecks_kernel<T>, grid, block, 0, stream, a, groups);
    if (status == cudaSuccess)
      status = to_rows<T, double, kKeyLanes>(
          {a.paths, p.grad_distance, p.targets, p.targets, nullptr, nullptr, a.sum}, stream);
    if (status == cudaSuccess) status = run_pass<true>(collect, stream);
    if (status == cudaSuccess)
      status = launch(send_sums_kernel<T>, grid, block, 0, stream, a, groups);
  }
  if (status == cudaSuccess)
    status = launch(add_shares_kernel<T>, grid, block, 0, stream, a, groups, p.grad_weight);
  return status;
}

template std::int64_t bottleneck_distance_scratch_bytes(const BottleneckDistance<float>&);
template std::int64_t bottleneck_distance_scratch_bytes(const BottleneckDistance<double>&);
template cudaError_t bottleneck_distance(const BottleneckDistance<float>&, cudaStream_t);
template cudaError_t bottleneck_distance(const BottleneckDistance<double>&, cudaStream_t);
template std::int64_t bottleneck_distance_backward_scratch_bytes(
    const BottleneckDistanceBackward<float>&);
template std::int64_t bottleneck_distance_backward_scratch_bytes(
    const BottleneckDistanceBackward<double>&);
template cudaError_t bottleneck_distance_backward(const BottleneckDistanceBackward<float>&,
                                                  cudaStream_t);
template cudaError_t bottleneck_distance_backward(const BottleneckDistanceBackward<double>&,
                                                  cudaStream_t);

} // namespace point2mask::cuda
