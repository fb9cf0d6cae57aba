#pragma once

// The passes over a tree, children to parents and parents to children, as rounds over the levels of
// its paths. They run on rows: one row a rank, kLanes channels side by side, so that
// whatever order the ranks are visited in, memory is read and written in whole sectors.
//
// An algebra says what the passes compute. With + and * for its plus and times:
//   up:   row[i] = row[i] + weight[c] * row[c], over the children c of i
//   down: row[i] = outside(row[i], weight[i]) + weight[i] * row[parent of i]
// zero is neutral in + and zero for *; times is associative through compose, so that along a path
// both are scans over maps v -> own + weight * v.

#include <climits>

#include "point2mask/tree_paths.cuh"
#include "point2mask/warp.cuh"

namespace point2mask::cuda::tree {

template <typename V, int kLanes>
struct alignas(sizeof(V) * kLanes < 16 ? sizeof(V) * kLanes : 16) Row {
  V lane[kLanes];
};

// Rows that channels take.
constexpr __host__ __device__ __forceinline__ std::int64_t groups_of(std::int64_t channels,
                                                                     int lanes) {
  return (channels + lanes - 1) / lanes;
}

template <typename T>
__device__ __forceinline__ T shuffle_up(T value, unsigned by) {
  return __shfl_up_sync(kFullWarp, value, by);
}
template <typename T>
__device__ __forceinline__ T shuffle_from(T value, int lane) {
  return __shfl_sync(kFullWarp, value, lane);
}

// Sums over paths of products of weights.
template <typename T>
struct Sum {
  using Value = T;
  using Weight = T;
  static __device__ __forceinline__ T zero() { return T(0); }
  static __device__ __forceinline__ T plus(T a, T b) { return a + b; }
  static __device__ __forceinline__ T times(T weight, T value, int) { return weight * value; }
  static __device__ __forceinline__ T compose(T weight, T inner) { return weight * inner; }
  // What a pixel's subtree gave to its parent does not come back.
  static __device__ __forceinline__ T outside(T own, T weight) {
    return own - weight * (weight * own);
  }
};

template <typename Algebra, int kLanes>
struct Pass {
  using Value = typename Algebra::Value;
  using Weight = typename Algebra::Weight;
  Paths paths;
  std::int64_t groups;        // of kLanes channels
  const Weight* weight;       // [B, weight_groups, N], of the edge from each rank to its parent
  std::int64_t weight_groups; // 1 or groups; entry 0 is not read
  Value* in;                  // [B, groups, N, kLanes]
  Value* out;                 // the same; may be `in`. The upward pass works in `in` alone
};

// Shared memory of a block for its long paths.
template <typename Algebra, int kLanes>
struct alignas(16) LongPaths {
  static constexpr int kMost = 32, kMostWarps = 32;
  std::int32_t count; // of a level's long paths; 0 before a level
  std::int32_t head[kMost];
  typename Algebra::Weight weight[kMostWarps]; // each warp's 32 ranks as one map v -> own + w * v
  Row<typename Algebra::Value, kLanes> own[kMostWarps];
};

// One image and group of a pass. Rows, by rank, is a pointer or Split.
template <typename Algebra, int kLanes, typename Rows = Row<typename Algebra::Value, kLanes>*>
struct View {
  using Weight = typename Algebra::Weight;
  using Lanes = Row<typename Algebra::Value, kLanes>;
  using Long = LongPaths<Algebra, kLanes>;
  static constexpr int kCount = kLanes;
  const std::int32_t *parent, *light, *sibling;
  const Weight* weight;
  Rows in, out;

  __device__ __forceinline__ View(const Pass<Algebra, kLanes>& p, std::int64_t image,
                                  std::int64_t group)
      : parent(p.paths.parent + image * p.paths.pixels),
        light(p.paths.light + image * p.paths.pixels),
        sibling(p.paths.sibling + image * p.paths.pixels),
        weight(p.weight +
               (p.weight_groups == 1 ? image : image * p.groups + group) * p.paths.pixels),
        in(reinterpret_cast<Lanes*>(p.in) + (image * p.groups + group) * p.paths.pixels),
        out(reinterpret_cast<Lanes*>(p.out) + (image * p.groups + group) * p.paths.pixels) {}

  // One image whose rows lie in shared memory, all or some.
  __device__ __forceinline__ View(const Paths& paths, std::int64_t image, const Weight* weights,
                                  Rows rows)
      : parent(paths.parent + image * paths.pixels),
        light(paths.light + image * paths.pixels),
        sibling(paths.sibling + image * paths.pixels),
        weight(weights + image * paths.pixels),
        in(rows),
        out(rows) {}

  static __device__ __forceinline__ Lanes zeros() {
    Lanes row;
#pragma unroll
    for (int c = 0; c < kLanes; ++c) row.lane[c] = Algebra::zero();
    return row;
  }
  static __device__ __forceinline__ Weight compose(Weight w, Weight inner) {
    return Algebra::compose(w, inner);
  }
  // own + w * other
  static __device__ __forceinline__ void add(Lanes& own, Weight w, const Lanes& other) {
#pragma unroll
    for (int c = 0; c < kLanes; ++c)
      own.lane[c] = Algebra::plus(own.lane[c], Algebra::times(w, other.lane[c], c));
  }
  // The row of a rank and what its light children give it, that of highest rank first.
  __device__ __forceinline__ Lanes with_light_children(std::int32_t rank) const {
    Lanes own = in[rank];
    for (std::int32_t c = light[rank]; c >= 0; c = sibling[c]) add(own, weight[c], in[c]);
    return own;
  }
  // The constant part of the downward map of a rank that is not the root.
  static __device__ __forceinline__ Lanes without_subtree(Lanes own, Weight w) {
#pragma unroll
    for (int c = 0; c < kLanes; ++c) own.lane[c] = Algebra::outside(own.lane[c], w);
    return own;
  }
  // What comes into a path from above.
  __device__ __forceinline__ Lanes above(std::int32_t head) const {
    return head == 0 ? zeros() : out[parent[head]];
  }
};

// A path by one thread.
template <typename V>
__device__ __forceinline__ void walk_up(const V& v, std::int32_t head, std::int32_t last) {
  auto carry = v.with_light_children(last);
  v.in[last] = carry;
  for (std::int32_t i = last; i-- > head;) {
    auto own = v.with_light_children(i);
    v.add(own, v.weight[i + 1], carry);
    v.in[i] = own;
    carry = own;
  }
}

// On the way down a visit sees every rank but the root: visit(rank, weight, row after the upward
// pass, the parent's final row).
struct NoVisit {
  static constexpr bool kUsed = false;
};

template <typename V, typename Visit>
__device__ __forceinline__ void walk_down(const V& v, std::int32_t head, std::int32_t last,
                                          const Visit& visit) {
  auto carry = v.above(head);
  for (std::int32_t i = head; i <= last; ++i) {
    if (i > 0) {
      const auto w = v.weight[i];
      const auto up = v.in[i];
      if constexpr (Visit::kUsed) visit(i, w, up, carry);
      auto own = v.without_subtree(up, w);
      v.add(own, w, carry);
      carry = own;
    } else {
      carry = v.in[0];
    }
    v.out[i] = carry;
  }
}

// Paths longer than kWalk are scanned by a warp, those longer than kLong by a block; the others are
// walked by a thread.
constexpr std::int32_t kWalk = 16, kLong = 256;

// Inclusive scan over the lanes of a warp, or (kBlock) of a block, of the maps v -> own + w * v,
// lane 0 innermost, applied to `carry`. Carry becomes the last lane's result, and what is returned
// is the one that came into the warp. A path's 32 ranks are added up alike by both.
template <bool kBlock, typename V>
__device__ __forceinline__ typename V::Lanes scan(const V& v, typename V::Long& shared,
                                                  typename V::Weight w, typename V::Lanes& own,
                                                  typename V::Lanes& carry) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int by = 1; by < kWarp; by *= 2) {
    const auto inner_weight = shuffle_up(w, static_cast<unsigned>(by));
    typename V::Lanes inner;
#pragma unroll
    for (int c = 0; c < V::kCount; ++c)
      inner.lane[c] = shuffle_up(own.lane[c], static_cast<unsigned>(by));
    if (lane < by) continue;
    v.add(own, w, inner);
    w = v.compose(w, inner_weight);
  }
  auto before = carry;
  if constexpr (kBlock) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int warps = static_cast<int>(blockDim.x) / kWarp;
    if (lane == kWarp - 1) {
      shared.weight[warp] = w;
      shared.own[warp] = own;
    }
    __syncthreads();
#pragma unroll 1 // registers would cost more than the steps do
    for (int other = 0; other < warps; ++other) {
      if (other == warp) before = carry;
      auto next = shared.own[other];
      v.add(next, shared.weight[other], carry);
      carry = next;
    }
    __syncthreads();
    v.add(own, w, before);
  } else {
    v.add(own, w, carry);
#pragma unroll
    for (int c = 0; c < V::kCount; ++c) carry.lane[c] = shuffle_from(own.lane[c], kWarp - 1);
  }
  return before;
}

// A thread's place in what scans a path together, and how many there are.
template <bool kBlock>
__device__ __forceinline__ std::int32_t place() {
  return static_cast<std::int32_t>(kBlock ? threadIdx.x : threadIdx.x % kWarp);
}
template <bool kBlock>
__device__ __forceinline__ std::int32_t places() {
  return kBlock ? static_cast<std::int32_t>(blockDim.x) : kWarp;
}

// A path, a rank a thread at a time.
template <bool kBlock, typename V>
__device__ __forceinline__ void scan_up(const V& v, typename V::Long& shared, std::int32_t head,
                                        std::int32_t last) {
  auto carry = v.zeros();
  for (std::int32_t top = last; top >= head; top -= places<kBlock>()) {
    const std::int32_t i = top - place<kBlock>();
    auto own = v.zeros();
    typename V::Weight w{};
    if (i >= head) {
      own = v.with_light_children(i);
      if (i < last) w = v.weight[i + 1];
    }
    scan<kBlock>(v, shared, w, own, carry);
    if (i >= head) v.in[i] = own;
  }
}

template <bool kBlock, typename V, typename Visit>
__device__ __forceinline__ void scan_down(const V& v, typename V::Long& shared, std::int32_t head,
                                          std::int32_t last, const Visit& visit) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  auto carry = v.above(head);
  for (std::int32_t bottom = head; bottom <= last; bottom += places<kBlock>()) {
    const std::int32_t i = bottom + place<kBlock>();
    auto own = v.zeros();
    typename V::Weight w{};
    if (i <= last) own = v.in[i];
    const auto up = own;
    if (i > 0 && i <= last) {
      w = v.weight[i];
      own = v.without_subtree(up, w);
    }
    auto above = scan<kBlock>(v, shared, w, own, carry);
    if constexpr (Visit::kUsed) {
#pragma unroll
      for (int c = 0; c < V::kCount; ++c) {
        const auto beside = shuffle_up(own.lane[c], 1U);
        if (lane > 0) above.lane[c] = beside;
      }
      if (i > 0 && i <= last) visit(i, w, up, above);
    }
    if (i <= last) v.out[i] = own;
  }
}

template <bool kUp, bool kBlock, typename V, typename Visit>
__device__ __forceinline__ void scan_path(const V& v, typename V::Long& shared, std::int32_t head,
                                          std::int32_t last, const Visit& visit) {
  if constexpr (kUp)
    scan_up<kBlock>(v, shared, head, last);
  else
    scan_down<kBlock>(v, shared, head, last, visit);
}

// One level of an image, by `blocks` blocks of which this is the one numbered `block`. The block
// meets at a barrier before the next level.
template <bool kUp, typename V, typename Visit = NoVisit>
__device__ __forceinline__ void pass_level(const Paths& paths, const V& v, typename V::Long& shared,
                                           std::int64_t image, std::int32_t level,
                                           std::int64_t block, std::int64_t blocks,
                                           const Visit& visit = {}) {
  const std::int64_t base = image * paths.pixels;
  const std::int32_t* const level_end = paths.level_end + base;
  const std::int64_t end = level_end[level];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  std::int64_t first =
      (level > 0 ? level_end[level - 1] : 0) + block * blockDim.x + threadIdx.x - lane;
  for (; first < end; first += blocks * blockDim.x) {
    std::int32_t head = 0, last = -1;
    if (first + lane < end) {
      head = paths.head[base + first + lane];
      last = paths.last[base + head];
    }
    // The block's list takes so many long paths; what is left over a warp scans as well.
    std::int32_t listed = shared.kMost;
    if (last - head >= kLong) listed = atomicAdd(&shared.count, 1);
    if (listed < shared.kMost) shared.head[listed] = head;
    const bool walk = last - head < kWalk;
    if (walk && last >= 0) {
      if constexpr (kUp)
        walk_up(v, head, last);
      else
        walk_down(v, head, last, visit);
    }
    const bool scans = !walk && listed >= shared.kMost;
    for (unsigned rest = __ballot_sync(kFullWarp, scans); rest != 0; rest &= rest - 1) {
      const int owner = __ffs(static_cast<int>(rest)) - 1;
      scan_path<kUp, false>(v, shared, shuffle_from(head, owner), shuffle_from(last, owner), visit);
    }
  }
  __syncthreads();
  const std::int32_t count = shared.count < shared.kMost ? shared.count : shared.kMost;
  for (std::int32_t i = 0; i < count; ++i) {
    const std::int32_t head = shared.head[i];
    scan_path<kUp, true>(v, shared, head, paths.last[base + head], visit);
    if (threadIdx.x == 0) shared.count = 0; // all have read it before the barriers of the scan
  }
}

// Levels [first, end) of every image, deepest first if kUp. Several levels need a single block in
// the grid's x: the barrier is what orders them.
template <bool kUp, typename Algebra, int kLanes>
__global__ void __launch_bounds__(kThreads, kRowBlocks)
    pass_kernel(Pass<Algebra, kLanes> p, std::int32_t first, std::int32_t end) {
  using Shared = LongPaths<Algebra, kLanes>;
  POINT2MASK_SHARED(Shared, shared, 1);
  if (threadIdx.x == 0) shared->count = 0;
  __syncthreads();
  for (std::int64_t image = blockIdx.z; image < p.paths.images; image += gridDim.z) {
    const std::int32_t levels = p.paths.levels[image] < end ? p.paths.levels[image] : end;
    for (std::int64_t group = blockIdx.y; group < p.groups; group += gridDim.y) {
      const View<Algebra, kLanes> v(p, image, group);
      for (std::int32_t step = first; step < levels; ++step) {
        pass_level<kUp>(p.paths, v, *shared, image, kUp ? first + levels - 1 - step : step,
                        blockIdx.x, gridDim.x);
        __syncthreads();
      }
    }
  }
}

// Images up to this size are left to one block, which needs one launch for all levels.
constexpr std::int64_t kOneBlockPixels = 1024;

// One launch a level for as many levels as a heavy-first tree can have, and one launch with one
// block an image for all others.
template <bool kUp, typename Algebra, int kLanes>
cudaError_t run_pass(const Pass<Algebra, kLanes>& p, cudaStream_t stream) {
  if (p.groups == 0) return cudaSuccess;
  const dim3 block(kThreads);
  dim3 grid(blocks_for(p.paths.pixels, 8 * kThreads), blocks_for(p.groups, 1),
            blocks_for(p.paths.images, 1));
  std::int32_t own = 0; // levels with a launch of their own
  if (p.paths.pixels > kOneBlockPixels)
    while (p.paths.pixels >> own > 0) ++own;
  cudaError_t status = cudaSuccess;
  for (std::int32_t i = 0; i <= own && status == cudaSuccess; ++i) {
    const std::int32_t level = kUp ? own - i : i;
    const bool others = level == own;
    status = launch(pass_kernel<kUp, Algebra, kLanes>, others ? dim3(1, grid.y, grid.z) : grid,
                    block, 0, stream, p, level, others ? INT_MAX : level + 1);
  }
  return status;
}

} // namespace point2mask::cuda::tree
