#include "point2mask/geodesic_cuda.hpp"
#include "point2mask/grid.cuh"
#include "point2mask/simt.cuh"

namespace point2mask::cuda {
namespace {

constexpr int kWarp = 32;
constexpr unsigned kFullWarp = 0xffffffffU;
// A warp relaxes a tile in its registers, a lane a column; the outer two lanes hold columns of the
// neighbours. More rows mean fewer visits; these are what fits with their costs.
constexpr int kColumns = kWarp - 2;
template <typename T>
constexpr int kRows = 24 / static_cast<int>(sizeof(T));
template <typename T>
constexpr int kMostWarps = 64 / static_cast<int>(sizeof(T)); // a block, with 128 words a thread
constexpr int kWordsPerTile = 3;                             // of the lists of tiles

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

// The tiles to visit, round by round. What a round lists is visited in the next; between the two
// lies a barrier.
struct Worklist {
  int* counts; // [3] tiles listed for this round and the next, and a zero for the one after
  int* stamp;  // [tiles] the last round a tile was listed for
  int* lists;  // [2, tiles]
  int tiles;

  __device__ __forceinline__ void push(int tile, int round) const {
    if (atomicExch(stamp + tile, round) == round) return;
    lists[(round & 1) * tiles + atomicAdd(counts + round % 3, 1)] = tile;
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

// Lowers the tile until its own steps lower nothing more; d has a row of the neighbours above and
// below. Returns the rows, one bit each, in which this lane was lowered.
template <typename T>
__device__ __forceinline__ unsigned relax(T (&d)[kRows<T> + 2], const T (&into)[kRows<T>][8]) {
  constexpr Steps steps = kSteps;
  unsigned lowered = 0, now;
  do {
    T before[3][kRows<T> + 2]; // in the columns to the left, here and to the right
    shuffle_beside(kFullWarp, d, before[0], before[2]);
#pragma unroll
    for (int r = 0; r < kRows<T> + 2; ++r) before[1][r] = d[r];
    now = 0;
#pragma unroll
    for (int r = 0; r < kRows<T>; ++r) {
      T least = d[r + 1];
#pragma unroll
      for (int k = 0; k < 8; ++k)
        least = fmin(least, before[1 - steps.to[k].dx][r + 1 - steps.to[k].dy] + into[r][k]);
      now |= least < d[r + 1] ? 1U << r : 0U;
      d[r + 1] = least;
    }
    lowered |= now;
  } while (__any_sync(kFullWarp, now != 0));
  return lowered;
}

// Lists the neighbours of a tile that see a lowered pixel, one lane a neighbour.
template <typename T>
__device__ __forceinline__ void wake_neighbours(const Tiles& tiles, const Worklist& work, int tile,
                                                unsigned lowered, int round) {
  constexpr Steps steps = kSteps;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const unsigned top = __ballot_sync(kFullWarp, (lowered & 1U) != 0);
  const unsigned bottom = __ballot_sync(kFullWarp, (lowered >> (kRows<T> - 1) & 1U) != 0);
  const unsigned any = __ballot_sync(kFullWarp, lowered != 0);
  const int row = tile / tiles.columns, column = tile % tiles.columns;
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    const int dy = steps.to[k].dy, dx = steps.to[k].dx;
    const unsigned rows = dy < 0 ? top : dy > 0 ? bottom : any;
    const unsigned seen = dx < 0 ? rows >> 1 & 1U : dx > 0 ? rows >> kColumns & 1U : rows;
    const bool exists =
        row + dy >= 0 && row + dy < tiles.rows && column + dx >= 0 && column + dx < tiles.columns;
    if (lane == k && seen != 0 && exists) work.push(tile + dy * tiles.columns + dx, round);
  }
}

template <typename T>
__device__ __forceinline__ void visit(const Map<T>& m, const Tiles& tiles, const Worklist& work,
                                      int tile, int round) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int y0 = tile / tiles.columns * kRows<T>;
  const int x = tile % tiles.columns * kColumns + lane - 1;
  const bool within = x >= 0 && x < m.width, owned = within && lane >= 1 && lane <= kColumns;
  T d[kRows<T> + 2], into[kRows<T>][8];
  T* const here = m.distance + std::int64_t{y0} * m.width + x; // of row 1
#pragma unroll
  for (int r = 0; r < kRows<T> + 2; ++r) {
    const bool inside = within && y0 + r >= 1 && y0 + r <= m.height;
    // The neighbours may be lowered meanwhile. What is not seen of it lists this tile again.
    d[r] = inside ? load_relaxed(here + std::int64_t{r - 1} * m.width) : infinity<T>();
  }
  load_costs(m, y0, x, owned, into);
  const unsigned lowered = relax<T>(d, into);
#pragma unroll
  for (int r = 0; r < kRows<T>; ++r)
    if (lowered >> r & 1U) store_relaxed(here + std::int64_t{r} * m.width, d[r + 1]);
  wake_neighbours<T>(tiles, work, tile, lowered, round + 1);
}

// Every pixel out of reach but the seeds; lists the tiles that see one for round 0.
template <typename T>
__device__ __forceinline__ void plant(const Map<T>& m, const std::int32_t* seeds,
                                      std::int64_t points, const Tiles& tiles,
                                      const Worklist& work) {
  for (std::int64_t i = threadIdx.x; i < m.plane; i += blockDim.x) m.distance[i] = infinity<T>();
  for (int i = static_cast<int>(threadIdx.x); i < tiles.count; i += static_cast<int>(blockDim.x))
    work.stamp[i] = -1;
  if (threadIdx.x < 3) work.counts[threadIdx.x] = 0;
  __syncthreads();
  for (std::int64_t i = threadIdx.x; i < points; i += blockDim.x) {
    const std::int32_t seed = seeds[i];
    if (seed < 0 || seed >= m.plane) continue;
    store_relaxed(m.distance + seed, T(0)); // several may name one pixel
    const int y = seed / m.width, x = seed % m.width;
    for (int row = max(0, y - 1) / kRows<T>; row <= min(m.height - 1, y + 1) / kRows<T>; ++row)
      for (int c = max(0, x - 1) / kColumns; c <= min(m.width - 1, x + 1) / kColumns; ++c)
        work.push(row * tiles.columns + c, 0);
  }
  __syncthreads();
}

// One block a target; a round's tiles are shared among its warps.
template <typename T>
__global__ void __launch_bounds__(kMostWarps<T>* kWarp)
    geodesic_distance_kernel(GeodesicDistance<T> p, Tiles tiles) {
  POINT2MASK_SHARED(int, counts, 3);
  POINT2MASK_DYNAMIC_SHARED(int, shared);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const std::int64_t plane = p.height * p.width;
  int* const memory =
      p.scratch ? p.scratch + std::int64_t{blockIdx.x} * kWordsPerTile * tiles.count : shared;
  const Worklist work{counts, memory, memory + tiles.count, tiles.count};
  for (std::int64_t target = blockIdx.x; target < p.images * p.targets; target += gridDim.x) {
    const Map<T> m{p.edge_cost + target / p.targets * 8 * plane, p.distance + target * plane,
                   static_cast<int>(p.height), static_cast<int>(p.width), plane};
    plant(m, p.seeds + target * p.points, p.points, tiles, work);
    for (int round = 0;; ++round) {
      const int active = counts[round % 3];
      if (active == 0) break;
      if (threadIdx.x == 0) counts[(round + 2) % 3] = 0;
      for (int i = warp; i < active; i += warps)
        visit(m, tiles, work, work.lists[(round & 1) * tiles.count + i], round);
      __syncthreads();
    }
    __syncthreads(); // all have seen the zero
  }
}

} // namespace

template <typename T>
std::size_t geodesic_distance_scratch_bytes(std::int64_t images, std::int64_t targets,
                                            std::int64_t height, std::int64_t width,
                                            std::size_t shared_bytes) {
  const std::size_t bytes = list_bytes(tiles_of<T>(height, width));
  if (bytes <= shared_bytes || images * targets == 0) return 0;
  return blocks_for(images * targets, 1) * bytes;
}

template <typename T>
cudaError_t geodesic_distance(const GeodesicDistance<T>& p, cudaStream_t stream) {
  if (p.images * p.targets == 0 || p.height * p.width == 0) return cudaSuccess;
  const Tiles tiles = tiles_of<T>(p.height, p.width);
  // About as many warps as a front of active tiles can occupy.
  const int warps = tiles.count >= 4 * kMostWarps<T> ? kMostWarps<T> : (tiles.count + 3) / 4;
  return launch(geodesic_distance_kernel<T>, dim3(blocks_for(p.images * p.targets, 1)),
                dim3(static_cast<unsigned>(warps * kWarp)), p.scratch ? 0 : list_bytes(tiles),
                stream, p, tiles);
}

template std::size_t geodesic_distance_scratch_bytes<float>(std::int64_t, std::int64_t,
                                                            std::int64_t, std::int64_t,
                                                            std::size_t);
template std::size_t geodesic_distance_scratch_bytes<double>(std::int64_t, std::int64_t,
                                                             std::int64_t, std::int64_t,
                                                             std::size_t);
template cudaError_t geodesic_distance(const GeodesicDistance<float>&, cudaStream_t);
template cudaError_t geodesic_distance(const GeodesicDistance<double>&, cudaStream_t);

} // namespace point2mask::cuda
