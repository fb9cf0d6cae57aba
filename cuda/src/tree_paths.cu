#include "point2mask/tree_paths.cuh"
#include "point2mask/warp.cuh"

namespace point2mask::cuda::tree {
namespace {

struct Search : Paths, PathScratch {};

// Entry 0 is the root. A parent that is no lower rank would lead astray: take the nearest that is.
__device__ __forceinline__ std::int32_t safe_parent(std::int64_t rank, std::int32_t parent) {
  const std::int64_t most = rank > 0 ? rank - 1 : 0;
  return static_cast<std::int32_t>(parent < 0 ? 0 : parent > most ? most : parent);
}

__device__ __forceinline__ bool is_head(const Paths& p, std::int64_t image, std::int64_t rank) {
  return rank == 0 || p.parent[image * p.pixels + rank] != rank - 1;
}

__global__ void __launch_bounds__(kThreads)
    start_paths_kernel(Search p, const std::int32_t* parent) {
  for_each(p.images, p.pixels, [&](std::int64_t image, std::int64_t i) {
    const std::int64_t at = image * p.pixels + i;
    const std::int32_t up = safe_parent(i, parent[at]);
    p.parent[at] = up;
    p.run[at] = i > 0 && up == i - 1 ? hop(i - 1, 0) : hop(i, 0);
    p.rank[at] = 0;
    p.light[at] = -1;
    p.cursor[at] = 0;
    if (i == 0) p.crowded[image] = 0;
  });
}

// Steps to a head's place in its parent's list. No pixel of a grid has so many children; of a
// star's each leaf would go past half of the others.
constexpr int kMostSteps = 64;

// Puts a head into its parent's list of light children, which is sorted by falling rank whoever
// comes first. A list only grows, so a place that was found is right unless something came there.
__device__ __forceinline__ void list_light_child(const Search& p, std::int64_t image,
                                                 std::int32_t head) {
  const std::int64_t base = image * p.pixels;
  std::int32_t* const sibling = p.sibling + base;
  std::int32_t* place = p.light + base + p.parent[base + head];
  for (int step = 0; step < kMostSteps; ++step) {
    const std::int32_t next = load_relaxed(place);
    if (next > head) {
      place = sibling + next;
      continue;
    }
    store_relaxed(sibling + head, next);
    __threadfence(); // the head's own link is there before anyone finds the head
    if (atomicCAS(place, next, head) == next) return;
  }
  store_relaxed(p.crowded + image, 1);
}

// The same lists of a crowded image by one block, in N / 32 steps however many children a rank has:
// a warp takes the ranks in their order, so that a head comes before all that its parent has yet.
__device__ __forceinline__ void list_in_order(const Paths& p, std::int64_t image) {
  const std::int64_t base = image * p.pixels;
  std::int32_t* const light = p.light + base;
  for (std::int64_t i = threadIdx.x; i < p.pixels; i += blockDim.x) light[i] = -1;
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x);
  for (std::int64_t first = 0; first < p.pixels && lane < kWarp; first += kWarp) {
    const std::int64_t i = first + lane;
    const bool head = i > 0 && i < p.pixels && is_head(p, image, i);
    const std::int32_t up = head ? p.parent[base + i] : -1 - lane;
    const unsigned group = __match_any_sync(kFullWarp, up), below = group & ((1U << lane) - 1);
    if (head)
      p.sibling[base + i] =
          below != 0 ? static_cast<std::int32_t>(first) + 31 - __clz(static_cast<int>(below))
                     : light[up];
    __syncwarp(); // the highest of a group writes what the lowest has read
    if (head && group >> lane == 1) light[up] = static_cast<std::int32_t>(i);
    __syncwarp();
  }
}

__global__ void __launch_bounds__(kThreads)
    list_light_children_kernel(Search p, const std::int32_t* order) {
  for_each(p.images, p.pixels, [&](std::int64_t image, std::int64_t i) {
    const std::int64_t base = image * p.pixels;
    const std::int32_t pixel = order[base + i];
    if (pixel >= 0 && pixel < p.pixels) p.rank[base + pixel] = static_cast<std::int32_t>(i);
    if (i > 0 && is_head(p, image, i)) list_light_child(p, image, static_cast<std::int32_t>(i));
  });
}

__global__ void __launch_bounds__(kThreads) list_in_order_kernel(Search p) {
  for (std::int64_t image = blockIdx.x; image < p.images; image += gridDim.x)
    if (p.crowded[image] != 0) list_in_order(p, image);
}

// A head's next hop leads to the head of its parent's path, over one light edge.
__global__ void __launch_bounds__(kThreads) link_heads_kernel(Search p) {
  for_each(p.images, p.pixels, [&](std::int64_t image, std::int64_t i) {
    const std::int64_t base = image * p.pixels;
    const bool head = is_head(p, image, i);
    p.depth[base + i] =
        head && i > 0 ? hop(hop_target(p.run[base + p.parent[base + i]]), 1) : hop(i, 0);
    if (i + 1 == p.pixels || is_head(p, image, i + 1))
      p.last[base + hop_target(p.run[base + i])] = static_cast<std::int32_t>(i);
  });
}

// What `body(image, rank, level)` is called with by all threads of a warp together; level -1 where
// the rank is no head.
template <typename Body>
__device__ __forceinline__ void for_each_head(const Search& p, Body&& body) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t image = blockIdx.y; image < p.images; image += gridDim.y)
    for (std::int64_t begin = std::int64_t{blockIdx.x} * blockDim.x; begin < p.pixels;
         begin += step) {
      const std::int64_t i = begin + threadIdx.x;
      const bool head = i < p.pixels && is_head(p, image, i);
      body(image, i, head ? static_cast<int>(hop_sum(p.depth[image * p.pixels + i])) : -1);
    }
}

// Adds one for every thread of the warp to the counter of its level, and returns what the counter
// was before this thread's one. Lanes of one level share an atomic.
__device__ __forceinline__ std::int32_t count_up(std::int32_t* counters, int level) {
  const unsigned group = __match_any_sync(kFullWarp, level);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int first = __ffs(static_cast<int>(group)) - 1;
  std::int32_t before = 0;
  if (lane == first && level >= 0) before = atomicAdd(counters + level, __popc(group));
  before = __shfl_sync(kFullWarp, before, first);
  return before + __popc(group & ((1U << lane) - 1));
}

__global__ void __launch_bounds__(kThreads) count_heads_kernel(Search p) {
  for_each_head(p, [&](std::int64_t image, std::int64_t, int level) {
    count_up(p.cursor + image * p.pixels, level);
  });
}

// Counts per level become where the levels begin (cursor) and end. One block an image; the first
// empty level is behind the last one, so that a tree of few levels takes one step.
__global__ void __launch_bounds__(kThreads) place_levels_kernel(Search p) {
  POINT2MASK_SHARED(std::int32_t, sums, kThreads);
  const int own = static_cast<int>(threadIdx.x);
  for (std::int64_t image = blockIdx.x; image < p.images; image += gridDim.x) {
    const std::int64_t base = image * p.pixels;
    std::int32_t before = 0;
    std::int64_t first = 0;
    for (bool more = true; more; first += kThreads) {
      const bool inside = first + own < p.pixels;
      const std::int32_t count = inside ? p.cursor[base + first + own] : 0;
      sums[own] = count;
      __syncthreads();
      for (int by = 1; by < kThreads; by *= 2) {
        const std::int32_t left = own >= by ? sums[own - by] : 0;
        __syncthreads();
        sums[own] += left;
        __syncthreads();
      }
      const std::int32_t end = before + sums[own];
      if (count > 0) {
        p.cursor[base + first + own] = end - count;
        p.level_end[base + first + own] = end;
      }
      before += sums[kThreads - 1];
      const int filled = __syncthreads_count(count > 0);
      if (own == 0 && filled < kThreads)
        p.levels[image] = static_cast<std::int32_t>(first) + filled;
      more = filled == kThreads;
    }
  }
}

__global__ void __launch_bounds__(kThreads) list_heads_kernel(Search p) {
  for_each_head(p, [&](std::int64_t image, std::int64_t i, int level) {
    const std::int64_t base = image * p.pixels;
    const std::int32_t place = count_up(p.cursor + base, level);
    if (level >= 0) p.head[base + place] = static_cast<std::int32_t>(i);
  });
}

// --- an image of whose ranks at least half fit the shared memory of a block takes one launch.

constexpr int kImageThreads = 1024;
constexpr std::int32_t kNoLevel = -1 - 0x7fffffff; // of a head; level l is -1 - l

// The head of every rank's path, but kNoLevel for the heads themselves. Returns how many there are.
__device__ __forceinline__ std::int32_t find_heads(const Paths& p, std::int64_t image,
                                                   const Split<std::int32_t>& top,
                                                   std::int32_t* warp_head) {
  const int own = static_cast<int>(threadIdx.x), lane = own % kWarp, warp = own / kWarp;
  std::int32_t heads = 0, before = 0; // the highest head so far
  for (std::int64_t begin = 0; begin < p.pixels; begin += blockDim.x) {
    const std::int64_t i = begin + own;
    const bool head = i < p.pixels && is_head(p, image, i);
    const unsigned all = __ballot_sync(kFullWarp, head), upto = all & ((2U << lane) - 1);
    const auto first = static_cast<std::int32_t>(i) - lane;
    if (lane == 0) warp_head[warp] = all != 0 ? first + 31 - __clz(static_cast<int>(all)) : -1;
    heads += __syncthreads_count(head);
    std::int32_t highest = before, left = before; // of the block, of the warps to the left
    for (int w = 0; w * kWarp < static_cast<int>(blockDim.x); ++w) {
      const std::int32_t its = warp_head[w];
      highest = its > highest ? its : highest;
      left = w < warp && its > left ? its : left;
    }
    if (i < p.pixels)
      top[i] = head ? kNoLevel : upto != 0 ? first + 31 - __clz(static_cast<int>(upto)) : left;
    before = highest;
    __syncthreads();
  }
  return heads;
}

// Lists the heads whose parent's path has the level before. They are marked behind a barrier:
// nobody reads what is written in the same step.
__device__ __forceinline__ void list_level(const Paths& p, std::int64_t image, std::int32_t level,
                                           const Split<std::int32_t>& top, std::int32_t* listed) {
  const std::int64_t base = image * p.pixels;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (std::int64_t begin = 0; begin < p.pixels; begin += blockDim.x) {
    const std::int64_t i = begin + threadIdx.x;
    bool ready = i < p.pixels && top[i] == kNoLevel;
    if (ready && i > 0) {
      const std::int32_t above = top[p.parent[base + i]];
      ready = (above >= 0 ? top[above] : above) == -level;
    }
    const unsigned group = __ballot_sync(kFullWarp, ready);
    if (group == 0) continue;
    std::int32_t place = 0;
    if (lane == 0) place = atomicAdd(listed, __popc(group));
    place = __shfl_sync(kFullWarp, place, 0) + __popc(group & ((1U << lane) - 1));
    if (ready) p.head[base + place] = static_cast<std::int32_t>(i);
  }
}

__global__ void __launch_bounds__(kImageThreads, 1)
    image_paths_kernel(Search p, const std::int32_t* order, const std::int32_t* parent,
                       std::int64_t fit) {
  POINT2MASK_DYNAMIC_SHARED(std::int32_t, listed);
  std::int32_t* const warp_head = listed + 1;
  for (std::int64_t image = blockIdx.x; image < p.images; image += gridDim.x) {
    const std::int64_t base = image * p.pixels;
    const Split<std::int32_t> top{warp_head + kImageThreads / kWarp, p.cursor + base, fit};
    if (threadIdx.x == 0) *listed = p.crowded[image] = 0;
    for (std::int64_t i = threadIdx.x; i < p.pixels; i += blockDim.x) {
      p.parent[base + i] = safe_parent(i, parent[base + i]);
      p.rank[base + i] = 0;
      p.light[base + i] = -1;
    }
    __syncthreads();
    const std::int32_t heads = find_heads(p, image, top, warp_head);
    for (std::int64_t i = threadIdx.x; i < p.pixels; i += blockDim.x) {
      const std::int32_t pixel = order[base + i];
      if (pixel >= 0 && pixel < p.pixels) p.rank[base + pixel] = static_cast<std::int32_t>(i);
      if (i > 0 && is_head(p, image, i)) list_light_child(p, image, static_cast<std::int32_t>(i));
      if (i + 1 == p.pixels || is_head(p, image, i + 1))
        p.last[base + (top[i] >= 0 ? top[i] : i)] = static_cast<std::int32_t>(i);
    }
    __syncthreads();
    if (p.crowded[image] != 0) list_in_order(p, image);
    std::int32_t level = 0;
    for (std::int32_t placed = 0; placed < heads; ++level) {
      list_level(p, image, level, top, listed);
      __syncthreads();
      const std::int32_t end = *listed;
      for (std::int64_t k = placed + static_cast<std::int64_t>(threadIdx.x); k < end;
           k += blockDim.x)
        top[p.head[base + k]] = -1 - level;
      if (threadIdx.x == 0) p.level_end[base + level] = end;
      placed = end;
      __syncthreads();
    }
    if (threadIdx.x == 0) p.levels[image] = level;
    __syncthreads();
  }
}

cudaError_t find_image_paths(const Search& p, const std::int32_t* order, const std::int32_t* parent,
                             cudaStream_t stream, bool* fits) {
  constexpr std::int64_t kOther = 1 + kImageThreads / kWarp; // words beside an entry a rank
  std::size_t limit = 0;
  const cudaError_t status = allow_shared_memory(image_paths_kernel, &limit);
  if (status != cudaSuccess) return status;
  const auto words = static_cast<std::int64_t>(limit / 4);
  const std::int64_t fit = words > kOther ? entries_that_fit(p.pixels, words - kOther) : 0;
  *fits = fit > 0;
  if (!*fits) return status;
  const auto warps = static_cast<unsigned>(blocks_for(p.pixels, kWarp));
  const unsigned threads = kWarp * (warps < kImageThreads / kWarp ? warps : kImageThreads / kWarp);
  return launch(image_paths_kernel, dim3(blocks_for(p.images, 1)), dim3(threads),
                static_cast<std::size_t>(4 * (kOther + fit)), stream, p, order, parent, fit);
}

} // namespace

Paths paths_in(std::int32_t* words, std::int64_t images, std::int64_t pixels) {
  const std::int64_t entries = images * pixels;
  Paths p;
  p.images = images;
  p.pixels = pixels;
  p.rank = words;
  p.parent = words + entries;
  p.light = words + 2 * entries;
  p.sibling = words + 3 * entries;
  p.last = words + 4 * entries;
  p.head = words + 5 * entries;
  p.level_end = words + 6 * entries;
  p.levels = words + 7 * entries;
  return p;
}

PathScratch path_scratch_in(Scratch& scratch, std::int64_t images, std::int64_t pixels) {
  const std::int64_t entries = images * pixels;
  PathScratch s;
  s.run = scratch.take<Word>(entries);
  s.depth = scratch.take<Word>(entries);
  s.cursor = scratch.take<std::int32_t>(entries);
  s.crowded = scratch.take<std::int32_t>(images);
  return s;
}

cudaError_t find_paths(const Paths& paths, const PathScratch& scratch, const std::int32_t* order,
                       const std::int32_t* parent, cudaStream_t stream) {
  const Search p{paths, scratch};
  bool fits = false;
  cudaError_t status = find_image_paths(p, order, parent, stream, &fits);
  if (fits || status != cudaSuccess) return status;
  const dim3 grid = image_grid(p.pixels, p.images), block(kThreads);
  status = launch(start_paths_kernel, grid, block, 0, stream, p, parent);
  if (status == cudaSuccess)
    status = launch(list_light_children_kernel, grid, block, 0, stream, p, order);
  if (status == cudaSuccess)
    status = launch(list_in_order_kernel, dim3(blocks_for(p.images, 1)), block, 0, stream, p);
  if (status == cudaSuccess) status = follow_hops(p.run, p.images, p.pixels, stream);
  if (status == cudaSuccess) status = launch(link_heads_kernel, grid, block, 0, stream, p);
  if (status == cudaSuccess) status = follow_hops(p.depth, p.images, p.pixels, stream);
  if (status == cudaSuccess) status = launch(count_heads_kernel, grid, block, 0, stream, p);
  if (status == cudaSuccess)
    status = launch(place_levels_kernel, dim3(blocks_for(p.images, 1)), block, 0, stream, p);
  if (status == cudaSuccess) status = launch(list_heads_kernel, grid, block, 0, stream, p);
  return status;
}

} // namespace point2mask::cuda::tree
