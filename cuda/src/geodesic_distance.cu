#include "point2mask/cuda.hpp"
#include "point2mask/grid.cuh"
#include "point2mask/simt.cuh"
#include "point2mask/warp.cuh"

namespace point2mask::cuda {
namespace {

constexpr int kMostWarps = 8; // of a block
// Blocks that a multiprocessor runs at least: two leave 128 registers a thread. Devices of compute
// capability 8 would spill some of them.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ / 100 == 8
constexpr int kBlocks = 1;
#else
constexpr int kBlocks = 2;
#endif
// A warp relaxes a tile in its registers, a lane a column; the outer two lanes hold columns of the
// neighbours. More rows mean fewer visits and more registers, of which the costs take 48 in either
// precision.
constexpr int kColumns = kWarp - 2;
template <typename T>
constexpr int kRows = 24 / static_cast<int>(sizeof(T));
constexpr int kWordsPerTile = 4; // of the lists of tiles

struct Tiles {
  int rows, columns, count;
};

template <typename T>
Tiles tiles_of(std::int64_t height, std::int64_t width) {
  Tiles tiles;
  tiles.rows = static_cast<int>((height + kRows<T> - 1) / kRows<T>);
  tiles.columns = static_cast<int>((width + kColumns - 1) / kColumns);
  tiles.count = tiles.rows * tiles.columns;
  return tiles;
}

std::size_t list_bytes(const Tiles& tiles) {
  return static_cast<std::size_t>(tiles.count) * kWordsPerTile * sizeof(int);
}

// Distances ordered as integers: the bits of a float.
__device__ __forceinline__ unsigned key_of(float distance) { return __float_as_uint(distance); }
__device__ __forceinline__ unsigned key_of(double distance) {
  return __float_as_uint(static_cast<float>(distance));
}
constexpr unsigned kNoKey = 0xffffffffU;

// What every round of a block knows of the tiles; `now` and the other index swap every round.
struct Progress {
  int pending[2];     // tiles to be visited some time
  int active[2];      // of them, tiles visited in a round
  unsigned lowest[2]; // the lowest key among the pending ones
};

// The tiles to visit. A tile is pending when a neighbour was lowered enough to lower one of its
// pixels; the distance of that neighbour is its key. A round visits those with the lowest keys.
struct Worklist {
  Progress* progress;
  int* memory; // [kWordsPerTile, tiles]
  int tiles;

  __device__ __forceinline__ unsigned* keys() const { // kNoKey where a tile is not pending
    return reinterpret_cast<unsigned*>(memory);
  }
  __device__ __forceinline__ int* pending(int round) const {
    return memory + std::int64_t{tiles} * (1 + round);
  }
  __device__ __forceinline__ int* active() const { return memory + std::int64_t{tiles} * 3; }

  __device__ __forceinline__ void defer(int tile, unsigned key, int next) const {
    pending(next)[atomicAdd(progress->pending + next, 1)] = tile;
    atomicMin(progress->lowest + next, key);
  }
  __device__ __forceinline__ void wake(int tile, unsigned key, int next) const {
    if (atomicMin(keys() + tile, key) == kNoKey)
      defer(tile, key, next);
    else
      atomicMin(progress->lowest + next, key);
  }
  // Moves the pending tiles with keys up to `most` to the active ones, the others to the next
  // round.
  __device__ __forceinline__ void select(int count, unsigned most, int now) const {
    for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
      const int tile = pending(now)[i];
      const unsigned key = keys()[tile];
      if (key > most) {
        defer(tile, key, now ^ 1);
      } else {
        keys()[tile] = kNoKey;
        active()[atomicAdd(progress->active + now, 1)] = tile;
      }
    }
  }
};

// One target's map and the costs of its image.
template <typename T>
struct Map {
  const T* edge_cost; // [8, H, W]
  T* distance;        // [H, W]
  int height, width;
  std::int64_t plane;
};

template <typename T>
__device__ __forceinline__ T infinity() {
  return static_cast<T>(INFINITY);
}

// Costs of the steps into the tile's pixels; +inf where there is none, so that lanes outside the
// tile are never lowered.
template <typename T>
__device__ __forceinline__ void load_costs(const Map<T>& m, int y0, int x, bool owned,
                                           T (&into)[kRows<T>][8]) {
  constexpr Steps steps = kSteps;
#pragma unroll
  for (int d = 0; d < 8; ++d) {
    const int from_x = x - steps.to[d].dx;
    const bool column = owned && from_x >= 0 && from_x < m.width;
    const T* const plane = m.edge_cost + d * m.plane;
#pragma unroll
    for (int r = 0; r < kRows<T>; ++r) {
      const int from_y = y0 + r - steps.to[d].dy;
      const bool valid = column && y0 + r < m.height && from_y >= 0 && from_y < m.height;
      const T cost = valid ? __ldg(plane + std::int64_t{from_y} * m.width + from_x) : infinity<T>();
      into[r][d] = cost >= T(0) ? cost : infinity<T>();
    }
  }
}

// The distances of a tile with a row and a column of the neighbours around it.
template <typename T>
struct Window {
  T column[3][kRows<T> + 2]; // to the left, of this lane, to the right
};

// Lowers the tile until its own steps lower nothing more. Returns the rows, one bit each, in which
// this lane was lowered.
template <typename T>
__device__ __forceinline__ unsigned relax(Window<T>& w, const T (&into)[kRows<T>][8]) {
  constexpr Steps steps = kSteps;
  unsigned lowered = 0, now;
  do {
    shuffle_beside(kFullWarp, w.column[1], w.column[0], w.column[2]);
    T least[kRows<T>];
    now = 0;
#pragma unroll
    for (int r = 0; r < kRows<T>; ++r) {
      least[r] = w.column[1][r + 1];
#pragma unroll
      for (int k = 0; k < 8; ++k)
        least[r] =
            fmin(least[r], w.column[1 - steps.to[k].dx][r + 1 - steps.to[k].dy] + into[r][k]);
      now |= least[r] < w.column[1][r + 1] ? 1U << r : 0U;
    }
#pragma unroll
    for (int r = 0; r < kRows<T>; ++r) w.column[1][r + 1] = least[r];
    lowered |= now;
  } while (__any_sync(kFullWarp, now != 0));
  return lowered;
}

template <typename T>
__device__ __forceinline__ T highest(T a, T b, T c) {
  return fmax(a, fmax(b, c));
}

__device__ __forceinline__ unsigned warp_min(unsigned key) {
#pragma unroll
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2)
    key = min(key, __shfl_xor_sync(kFullWarp, key, lanes));
  return key;
}

// Wakes the neighbours of a tile that a lowered pixel may lower: no step leads down, so a pixel
// beside it lay higher when the tile was loaded.
template <typename T>
__device__ __forceinline__ void wake_neighbours(const Window<T>& w, unsigned lowered,
                                                const Tiles& tiles, const Worklist& work, int tile,
                                                int next) {
  constexpr int kLast = kRows<T> - 1;
  const T(&left)[kRows<T> + 2] = w.column[0], (&here)[kRows<T> + 2] = w.column[1],
                            (&right)[kRows<T> + 2] = w.column[2];
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto key = [&](int r, T limit) {
    return (lowered >> r & 1U) && here[r + 1] < limit ? key_of(here[r + 1]) : kNoKey;
  };
  // Lane 0 wakes the neighbours above and below, the outer columns those on their side.
  unsigned with[3] = {
      warp_min(key(0, highest(left[0], here[0], right[0]))), kNoKey,
      warp_min(key(kLast, highest(left[kLast + 2], here[kLast + 2], right[kLast + 2])))};
  if (lane == 1 || lane == kColumns) {
    T beside[kRows<T> + 2];
#pragma unroll
    for (int r = 0; r < kRows<T> + 2; ++r) beside[r] = lane == 1 ? left[r] : right[r];
    with[0] = key(0, beside[0]);
    with[2] = key(kLast, beside[kLast + 2]);
#pragma unroll
    for (int r = 0; r < kRows<T>; ++r)
      with[1] = min(with[1], key(r, highest(beside[r], beside[r + 1], beside[r + 2])));
  } else if (lane != 0) {
    return;
  }
  const int row = tile / tiles.columns;
  const int column = tile % tiles.columns + (lane == 0 ? 0 : lane == 1 ? -1 : 1);
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const int to_row = row + i - 1;
    const bool exists = to_row >= 0 && to_row < tiles.rows && column >= 0 && column < tiles.columns;
    if (exists && with[i] != kNoKey) work.wake(to_row * tiles.columns + column, with[i], next);
  }
}

template <typename T>
__device__ __forceinline__ void visit(const Map<T>& m, const Tiles& tiles, const Worklist& work,
                                      int tile, int next) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int y0 = tile / tiles.columns * kRows<T>;
  const int x = tile % tiles.columns * kColumns + lane - 1;
  const bool within = x >= 0 && x < m.width, owned = within && lane >= 1 && lane <= kColumns;
  Window<T> w;
  T into[kRows<T>][8];
  T* const here = m.distance + std::int64_t{y0} * m.width + x; // of row 1
#pragma unroll
  for (int r = 0; r < kRows<T> + 2; ++r) {
    const bool inside = within && y0 + r >= 1 && y0 + r <= m.height;
    // The neighbours may be lowered meanwhile. What is not seen of it wakes this tile again.
    w.column[1][r] = inside ? load_relaxed(here + std::int64_t{r - 1} * m.width) : infinity<T>();
  }
  load_costs(m, y0, x, owned, into);
  const unsigned lowered = relax<T>(w, into);
#pragma unroll
  for (int r = 0; r < kRows<T>; ++r)
    if (lowered >> r & 1U) store_relaxed(here + std::int64_t{r} * m.width, w.column[1][r + 1]);
  if (__any_sync(kFullWarp, lowered != 0)) wake_neighbours(w, lowered, tiles, work, tile, next);
}

// Every pixel out of reach but the seeds; wakes the tiles that see one.
template <typename T>
__device__ __forceinline__ void plant(const Map<T>& m, const std::int32_t* seeds,
                                      std::int64_t points, const Tiles& tiles,
                                      const Worklist& work) {
  for (std::int64_t i = threadIdx.x; i < m.plane; i += blockDim.x) m.distance[i] = infinity<T>();
  for (int i = static_cast<int>(threadIdx.x); i < tiles.count; i += static_cast<int>(blockDim.x))
    work.keys()[i] = kNoKey;
  if (threadIdx.x == 0) *work.progress = {{0, 0}, {0, 0}, {kNoKey, kNoKey}};
  __syncthreads();
  for (std::int64_t i = threadIdx.x; i < points; i += blockDim.x) {
    const std::int32_t seed = seeds[i];
    if (seed < 0 || seed >= m.plane) continue;
    store_relaxed(m.distance + seed, T(0)); // several may name one pixel
    const int y = seed / m.width, x = seed % m.width;
    for (int row = max(0, y - 1) / kRows<T>; row <= min(m.height - 1, y + 1) / kRows<T>; ++row)
      for (int c = max(0, x - 1) / kColumns; c <= min(m.width - 1, x + 1) / kColumns; ++c)
        work.wake(row * tiles.columns + c, 0, 0);
  }
  __syncthreads();
}

// Visits tiles until none is pending. A round takes all of them if each warp gets one, else those
// whose keys lie within 2^shift of the lowest; the shift follows the number that were active.
template <typename T>
__device__ __forceinline__ void settle(const Map<T>& m, const Tiles& tiles, const Worklist& work) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  Progress& progress = *work.progress;
  int shift = 23; // at first, twice the distance
  for (int now = 0;; now ^= 1) {
    const int pending = progress.pending[now];
    if (pending == 0) break;
    const unsigned most =
        pending <= warps ? kNoKey - 1 : progress.lowest[now] + (1U << shift); // does not overflow
    work.select(pending, most, now);
    __syncthreads();
    const int active = progress.active[now];
    if (threadIdx.x == 0) { // all have read these, none needs them before the next barrier
      progress.pending[now] = progress.active[now ^ 1] = 0;
      progress.lowest[now] = kNoKey;
    }
    for (int i = warp; i < active; i += warps) visit(m, tiles, work, work.active()[i], now ^ 1);
    if (active < warps && active < pending) shift = min(30, shift + 1);
    if (active > 2 * warps) shift = max(0, shift - 1);
    __syncthreads();
  }
}

// One block a target.
template <typename T>
__global__ void __launch_bounds__(kMostWarps* kWarp, kBlocks)
    geodesic_distance_kernel(GeodesicDistance<T> p, Tiles tiles, int* lists) {
  POINT2MASK_SHARED(Progress, progress, 1);
  POINT2MASK_DYNAMIC_SHARED(int, shared);
  const std::int64_t plane = p.height * p.width;
  int* const memory =
      lists ? lists + std::int64_t{blockIdx.x} * kWordsPerTile * tiles.count : shared;
  const Worklist work{progress, memory, tiles.count};
  for (std::int64_t target = blockIdx.x; target < p.images * p.targets; target += gridDim.x) {
    const Map<T> m{p.edge_cost + target / p.targets * 8 * plane, p.distance + target * plane,
                   static_cast<int>(p.height), static_cast<int>(p.width), plane};
    plant(m, p.seeds + target * p.points, p.points, tiles, work);
    settle(m, tiles, work);
    __syncthreads(); // all have seen that none is pending
  }
}

struct Shape {
  Tiles tiles;
  unsigned threads, blocks;
  bool in_scratch; // the lists: they are longer than shared memory
};

// Where the lists lie in scratch memory there are no more blocks than run at the same time.
template <typename T>
cudaError_t choose_shape(const GeodesicDistance<T>& p, Shape* shape) {
  Shape& s = *shape;
  s.tiles = tiles_of<T>(p.height, p.width);
  // About as many warps as a front of active tiles can occupy.
  const int warps = s.tiles.count >= 4 * kMostWarps ? kMostWarps : (s.tiles.count + 3) / 4;
  s.threads = static_cast<unsigned>(warps * kWarp);
  s.blocks = blocks_for(p.images * p.targets, 1);
  s.in_scratch = list_bytes(s.tiles) + sizeof(Progress) > granted_shared_memory();
  if (!s.in_scratch) return cudaSuccess;
  std::int64_t most = 0;
  const cudaError_t status = resident_blocks(geodesic_distance_kernel<T>, s.threads, 0, &most);
  if (s.blocks > most) s.blocks = static_cast<unsigned>(most);
  return status;
}

template <typename T>
bool is_empty(const GeodesicDistance<T>& p) {
  return p.images * p.targets == 0 || p.height * p.width == 0;
}

} // namespace

template <typename T>
std::int64_t scratch_bytes(const GeodesicDistance<T>& p) {
  Shape shape;
  if (is_empty(p) || choose_shape(p, &shape) != cudaSuccess || !shape.in_scratch) return 0;
  return shape.blocks * static_cast<std::int64_t>(list_bytes(shape.tiles));
}

template <typename T>
cudaError_t run(const GeodesicDistance<T>& p, void* scratch, cudaStream_t stream) {
  if (is_empty(p)) return cudaSuccess;
  Shape s;
  const cudaError_t status = choose_shape(p, &s);
  if (status != cudaSuccess) return status;
  return launch(geodesic_distance_kernel<T>, dim3(s.blocks), dim3(s.threads),
                s.in_scratch ? 0 : list_bytes(s.tiles), stream, p, s.tiles,
                s.in_scratch ? static_cast<int*>(scratch) : nullptr);
}

template std::int64_t scratch_bytes(const GeodesicDistance<float>&);
template std::int64_t scratch_bytes(const GeodesicDistance<double>&);
template cudaError_t run(const GeodesicDistance<float>&, void*, cudaStream_t);
template cudaError_t run(const GeodesicDistance<double>&, void*, cudaStream_t);

} // namespace point2mask::cuda
