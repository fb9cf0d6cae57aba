// Sinkhorn iterations by absorbed scaling (Schmitzer 2019), in one launch. A group of blocks that
// wait for each other solves an image; where the kernel matrix exp((potential - cost) / epsilon)
// fits their shared memory it stays there over all iterations.

#include <algorithm>

#include "point2mask/scratch.hpp"
#include "sinkhorn_solver.cuh"

namespace point2mask::cuda {
namespace {

// Partial sums cover a chunk. Its size follows from N alone, so that the result of an image depends
// neither on the batch nor on how many blocks share it.
constexpr std::int64_t kLeastChunkTiles = 8, kMostChunks = 128;
constexpr unsigned kMostWarps = 16;

// Where the parts of a block's shared memory begin, in values of T behind the warps' sums.
struct SharedLayout {
  std::size_t rows, sums, columns, kernel, weight, tops, end;
};

__host__ __device__ __forceinline__ SharedLayout shared_layout(std::int64_t targets, int threads,
                                                               int piece_tiles, int buffer_tiles,
                                                               bool columns_in_shared) {
  const auto most = [](std::int64_t a, std::int64_t b) { return a > b ? a : b; };
  SharedLayout at{};
  at.rows = static_cast<std::size_t>(threads / kWarp); // after the warps' tops
  at.sums = at.rows + static_cast<std::size_t>(most(piece_tiles * kTileStride, 2 * threads));
  at.columns = at.sums + static_cast<std::size_t>(columns_in_shared ? most(threads, targets) : 0);
  at.kernel = at.columns + static_cast<std::size_t>(columns_in_shared ? 3 * targets : 0);
  at.weight = at.kernel + static_cast<std::size_t>(buffer_tiles * targets * kTileStride);
  at.tops = at.weight + static_cast<std::size_t>(buffer_tiles * kTilePixels);
  at.end = at.tops + static_cast<std::size_t>(buffer_tiles);
  return at;
}

// In float the compiler would stop at 64 registers on sm_120, for two blocks, and spill 208 bytes.
template <typename T, typename Stored>
__global__ void __launch_bounds__(kMostWarps* kWarp, sizeof(T) == 4 ? 1 : 0)
    sinkhorn_kernel(Sinkhorn<T, Stored> p, SinkhornShape shape, SinkhornScratch<T> scratch) {
  POINT2MASK_DYNAMIC_SHARED(double, shared);
  const bool logarithmic = shape.variant == SinkhornVariant::logarithmic;
  const SharedLayout at = shared_layout(p.targets, static_cast<int>(blockDim.x), shape.piece_tiles,
                                        shape.buffer_tiles, !logarithmic);
  T* const values = reinterpret_cast<T*>(shared + blockDim.x / kWarp);
  const std::int64_t block = blockIdx.x, group = block / shape.group_blocks;
  const std::int64_t rank = block % shape.group_blocks, width = p.targets + 1;
  double* const columns = scratch.columns + 3 * block * width;
  T* const vectors = scratch.vectors + 3 * block * width;
  const std::int64_t sums = (shape.divides_sums ? group : block) * width;

  SinkhornSolver<T, Stored> solver(p, shape);
  SinkhornChunk<T, Stored>& work = solver.work;
  work.target = solver.target = scratch.target + block * width;
  work.pixels = p.pixels;
  work.scale = static_cast<T>(kLog2E / p.epsilon);
  work.row_scale = static_cast<T>(shape.row_complement * kLog2E / p.epsilon);
  work.lambda = static_cast<T>(shape.row_lambda);
  work.complement = static_cast<T>(shape.row_complement);
  work.reference = logarithmic ? vectors : values + at.columns;
  work.scaling = work.reference + p.targets;
  work.moves = work.scaling + p.targets;
  work.kernel = values + at.kernel;
  work.weight = values + at.weight;
  work.rows = values + at.rows;
  work.sums = values + at.sums;
  work.warp_sums = shared;
  work.warp_tops = values;
  work.chunks = shape.chunks;
  solver.barrier = {scratch.arrived + group * kCounterStride, shape.group_blocks};
  solver.part_sum = scratch.part_sum + 2 * group * width * shape.chunks;
  solver.part_shift = scratch.part_shift + 2 * group * width * shape.chunks;
  solver.first_chunk = rank * shape.chunks / shape.group_blocks;
  solver.end_chunk = (rank + 1) * shape.chunks / shape.group_blocks;
  solver.potential = columns;
  solver.log_supply = columns + width;
  solver.moved = columns + 2 * width;
  solver.sum = scratch.sum + sums;
  solver.shift = scratch.shift + sums;
  solver.tops = values + at.tops;
  solver.use_buffer(0);
  for (std::int64_t image = group; image < p.images; image += shape.groups)
    solver.solve(image, rank == 0);
}

// Nothing to transport: every target is left out.
template <typename T>
__global__ void __launch_bounds__(kMostWarps* kWarp)
    leave_out_kernel(std::int64_t images, std::int64_t targets, T* potential,
                     std::int32_t* iterations, T* marginal_error) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  const std::int64_t first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (std::int64_t i = first; i < images * targets; i += step) potential[i] = -infinity<T>();
  for (std::int64_t i = first; i < images; i += step) {
    iterations[i] = 0;
    marginal_error[i] = T(0);
  }
}

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

template <typename T, typename Stored>
cudaError_t choose_shape(const Sinkhorn<T, Stored>& p, SinkhornShape* shape) {
  SinkhornShape& s = *shape;
  const Damping rows(p.demand_relaxation, p.epsilon);
  s.row_lambda = rows.lambda;
  s.row_complement = rows.complement;
  s.column_lambda = Damping(p.supply_relaxation, p.epsilon).lambda;
  s.tiles = divide_up(p.pixels, kTilePixels);
  s.chunk_tiles = std::max(kLeastChunkTiles, divide_up(s.tiles, kMostChunks));
  s.chunk_tiles = std::min(s.chunk_tiles, s.tiles);
  s.chunks = divide_up(s.tiles, s.chunk_tiles);
  const std::int64_t useful = std::max(s.chunk_tiles, divide_up(p.targets, kWarp));
  const auto warps = static_cast<int>(std::min<std::int64_t>(useful, kMostWarps));
  s.threads = static_cast<unsigned>(warps * kWarp);

  std::size_t limit = 0;
  cudaError_t status = allow_shared_memory(sinkhorn_kernel<T, Stored>, &limit);
  if (status != cudaSuccess) return status;
  const auto bytes = [&](std::int64_t piece, std::int64_t buffer, bool columns_in_shared) {
    return static_cast<std::size_t>(warps) * sizeof(double) +
           shared_layout(p.targets, warps * kWarp, static_cast<int>(piece),
                         static_cast<int>(buffer), columns_in_shared)
                   .end *
               sizeof(T);
  };
  const auto use = [&](SinkhornVariant variant, std::int64_t piece, std::int64_t buffer,
                       std::int64_t* blocks) {
    s.variant = variant;
    s.piece_tiles = static_cast<int>(piece);
    s.buffer_tiles = static_cast<int>(buffer);
    s.shared_bytes = bytes(piece, buffer, variant != SinkhornVariant::logarithmic);
    return resident_blocks(sinkhorn_kernel<T, Stored>, s.threads, s.shared_bytes, blocks);
  };

  std::int64_t blocks = 0, held = 0; // chunks that a block can hold
  const std::size_t without = bytes(s.chunk_tiles, 0, true);
  const std::size_t chunk = bytes(s.chunk_tiles, s.chunk_tiles, true) - without;
  if (limit > without)
    held = std::min<std::int64_t>(static_cast<std::int64_t>((limit - without) / chunk), s.chunks);
  bool fits = false;
  if (held > 0) {
    status = use(SinkhornVariant::resident, s.chunk_tiles, held * s.chunk_tiles, &blocks);
    if (status != cudaSuccess) return status;
    const std::int64_t needed = divide_up(s.chunks, held);
    fits = needed <= blocks;
    if (fits) { // as many blocks an image as there are for it, and no more memory than they need
      s.group_blocks = std::clamp(blocks / p.images, needed, std::min(s.chunks, blocks));
      const std::int64_t each = divide_up(s.chunks, s.group_blocks);
      status = use(SinkhornVariant::resident, s.chunk_tiles, each * s.chunk_tiles, &blocks);
    }
  }
  if (!fits) {
    // The largest piece that leaves the fewest warps without a share of its tiles.
    std::int64_t piece = 0;
    for (std::int64_t tiles = 1; tiles <= std::min<std::int64_t>(warps, s.chunk_tiles); ++tiles)
      if (bytes(tiles, tiles, true) <= limit &&
          (piece == 0 || warps / tiles * tiles >= warps / piece * piece))
        piece = tiles;
    status = piece > 0 ? use(SinkhornVariant::streaming, piece, piece, &blocks)
                       : use(SinkhornVariant::logarithmic, 0, 0, &blocks);
    if (blocks > 0)
      s.group_blocks = std::clamp<std::int64_t>(blocks / p.images, 1, std::min(s.chunks, blocks));
  }
  if (status == cudaSuccess && blocks == 0) status = cudaErrorInvalidConfiguration;
  if (status == cudaSuccess) s.groups = std::min(p.images, blocks / s.group_blocks);
  s.divides_sums = p.targets >= kDividedTargets && s.group_blocks > 1;
  return status;
}

template <typename T, typename Stored>
SinkhornScratch<T> arrays_in(Scratch& memory, const Sinkhorn<T, Stored>& p,
                             const SinkhornShape& shape) {
  const std::int64_t width = p.targets + 1, blocks = shape.groups * shape.group_blocks;
  SinkhornScratch<T> a;
  a.arrived = memory.take<unsigned long long>(shape.groups * kCounterStride);
  a.part_sum = memory.take<double>(shape.groups * 2 * width * shape.chunks);
  a.part_shift = memory.take<T>(shape.groups * 2 * width * shape.chunks);
  const std::int64_t sums = shape.divides_sums ? shape.groups : blocks;
  a.sum = memory.take<double>(sums * width);
  a.shift = memory.take<T>(sums * width);
  a.columns = memory.take<double>(blocks * 3 * width);
  a.vectors = memory.take<T>(blocks * 3 * width);
  a.target = memory.take<std::int32_t>(blocks * width);
  return a;
}

template <typename T, typename Stored>
bool is_empty(const Sinkhorn<T, Stored>& p) {
  return p.images == 0 || p.targets == 0 || p.pixels == 0;
}

} // namespace

template <typename T, typename Stored>
cudaError_t sinkhorn_variant(const Sinkhorn<T, Stored>& p, SinkhornVariant* variant) {
  *variant = SinkhornVariant::resident;
  if (is_empty(p)) return cudaSuccess;
  SinkhornShape shape;
  const cudaError_t status = choose_shape(p, &shape);
  *variant = shape.variant;
  return status;
}

template <typename T, typename Stored>
std::int64_t scratch_bytes(const Sinkhorn<T, Stored>& p) {
  SinkhornShape shape;
  if (is_empty(p) || choose_shape(p, &shape) != cudaSuccess) return 0;
  Scratch memory;
  arrays_in(memory, p, shape);
  return memory.bytes();
}

template <typename T, typename Stored>
cudaError_t run(const Sinkhorn<T, Stored>& p, void* scratch, cudaStream_t stream) {
  if (p.images == 0) return cudaSuccess;
  if (is_empty(p)) {
    const std::int64_t values = p.images * std::max<std::int64_t>(p.targets, 1);
    return launch(leave_out_kernel<T>, dim3(blocks_for(values, kMostWarps * kWarp)),
                  dim3(kMostWarps * kWarp), 0, stream, p.images, p.targets, p.potential,
                  p.iterations, p.marginal_error);
  }
  SinkhornShape shape;
  cudaError_t status = choose_shape(p, &shape);
  if (status != cudaSuccess) return status;
  Scratch memory(scratch);
  const SinkhornScratch<T> arrays = arrays_in(memory, p, shape);
  const std::size_t counters = static_cast<std::size_t>(shape.groups * kCounterStride);
  status = fill_with_zeros(arrays.arrived, counters * sizeof(unsigned long long), stream);
  if (status != cudaSuccess) return status;
  const auto blocks = static_cast<unsigned>(shape.groups * shape.group_blocks);
  return launch_together(sinkhorn_kernel<T, Stored>, dim3(blocks), dim3(shape.threads),
                         shape.shared_bytes, stream, p, shape, arrays);
}

#define POINT2MASK_INSTANTIATE(T, Stored)                                              \
  template cudaError_t sinkhorn_variant(const Sinkhorn<T, Stored>&, SinkhornVariant*); \
  template std::int64_t scratch_bytes(const Sinkhorn<T, Stored>&);                     \
  template cudaError_t run(const Sinkhorn<T, Stored>&, void*, cudaStream_t);
POINT2MASK_FOR_COSTS(POINT2MASK_INSTANTIATE)
#undef POINT2MASK_INSTANTIATE

} // namespace point2mask::cuda
