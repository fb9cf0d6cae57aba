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

// Where the parts of a block's shared memory begin, in bytes. A streaming block leaves what it
// would read once an iteration to device memory, a logarithmic one all of the size of the columns.
struct SharedLayout {
  std::size_t warp_sums, columns, totals, warp_tops, rows, sums, vectors, kernel, weight, tops,
      target, end;
};

template <typename T>
__host__ __device__ __forceinline__ SharedLayout shared_layout(std::int64_t targets,
                                                               std::int64_t threads,
                                                               SinkhornVariant variant,
                                                               std::int64_t piece_tiles,
                                                               std::int64_t buffer_tiles) {
  const auto most = [](std::int64_t a, std::int64_t b) { return a > b ? a : b; };
  const bool scales = variant != SinkhornVariant::logarithmic;
  const std::int64_t kept = variant == SinkhornVariant::resident ? targets : 0;
  SharedLayout at{};
  const auto take = [&at](std::int64_t count, std::size_t size) {
    const std::size_t begin = at.end;
    at.end += static_cast<std::size_t>(count) * size;
    return begin;
  };
  // From the strictest alignment to the least.
  at.warp_sums = take(threads / kWarp, sizeof(double));
  at.columns = take(3 * kept, sizeof(double));
  at.totals = take(kept > 0 ? kept + 1 : 0, sizeof(Shifted<T>));
  at.warp_tops = take(threads / kWarp, sizeof(T));
  at.rows = take(most(piece_tiles * kTileStride, 2 * threads), sizeof(T));
  at.sums = take(scales ? most(threads, targets) : 0, sizeof(T));
  at.vectors = take(scales ? 3 * targets : 0, sizeof(T));
  at.kernel = take(buffer_tiles * targets * kTileStride, sizeof(T));
  at.weight = take(buffer_tiles * kTilePixels, sizeof(T));
  at.tops = take(buffer_tiles, sizeof(T));
  at.target = take(kept, sizeof(std::int32_t));
  return at;
}

// Left to itself the compiler would stop at 64 registers on sm_120, for two blocks, and spill.
template <typename T, typename Stored>
__global__ void __launch_bounds__(kMostWarps* kWarp, 1)
    sinkhorn_kernel(Sinkhorn<T, Stored> p, RowModel<T> model, SinkhornShape shape,
                    SinkhornScratch<T> scratch) {
  POINT2MASK_DYNAMIC_SHARED(double, shared);
  const SharedLayout at =
      shared_layout<T>(p.targets, blockDim.x, shape.variant, shape.piece_tiles, shape.buffer_tiles);
  const auto part = [&](std::size_t begin) {
    return reinterpret_cast<unsigned char*>(shared) + begin;
  };
  const auto values = [&](std::size_t begin) { return reinterpret_cast<T*>(part(begin)); };
  const bool logarithmic = shape.variant == SinkhornVariant::logarithmic;
  const std::int64_t block = blockIdx.x, group = block / shape.group_blocks;
  const std::int64_t rank = block % shape.group_blocks, width = p.targets + 1;

  SinkhornSolver<T, Stored> solver(p, model, shape, scratch);
  SinkhornChunk<T, Stored>& work = solver.work;
  work.pixels = p.pixels;
  work.reference = logarithmic ? scratch.vectors + 3 * block * p.targets : values(at.vectors);
  work.scaling = work.reference + p.targets;
  work.moves = work.scaling + p.targets;
  work.kernel = values(at.kernel);
  work.weight = values(at.weight);
  work.rows = values(at.rows);
  work.sums = values(at.sums);
  work.warp_sums = reinterpret_cast<double*>(part(at.warp_sums));
  work.warp_tops = values(at.warp_tops);
  work.chunks = shape.chunks;
  solver.barrier = {scratch.arrived + group * kCounterStride, shape.group_blocks};
  work.part_sum = scratch.part_sum + 2 * group * width * shape.chunks;
  work.part_shift = scratch.part_shift + 2 * group * width * shape.chunks;
  solver.buffer = 0;
  solver.first_chunk = static_cast<int>(rank * shape.chunks / shape.group_blocks);
  solver.end_chunk = static_cast<int>((rank + 1) * shape.chunks / shape.group_blocks);
  solver.tops = values(at.tops);
  if (solver.resident()) {
    solver.potential = reinterpret_cast<double*>(part(at.columns));
    solver.totals = reinterpret_cast<Shifted<T>*>(part(at.totals));
    work.target = reinterpret_cast<std::int32_t*>(part(at.target));
  } else {
    solver.potential = scratch.columns + 3 * block * p.targets;
    solver.totals = scratch.totals + block * width;
    work.target = scratch.target + block * p.targets;
  }
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
  const auto bytes = [&](SinkhornVariant variant, std::int64_t piece, std::int64_t buffer) {
    return shared_layout<T>(p.targets, s.threads, variant, piece, buffer).end;
  };
  const auto use = [&](SinkhornVariant variant, std::int64_t piece, std::int64_t buffer,
                       std::int64_t* blocks) {
    s.variant = variant;
    s.piece_tiles = static_cast<int>(piece);
    s.buffer_tiles = static_cast<int>(buffer);
    s.shared_bytes = bytes(variant, piece, buffer);
    return resident_blocks(sinkhorn_kernel<T, Stored>, s.threads, s.shared_bytes, blocks);
  };

  std::int64_t blocks = 0, held = 0; // chunks that a block can hold
  const std::size_t without = bytes(SinkhornVariant::resident, s.chunk_tiles, 0);
  const std::size_t chunk =
      bytes(SinkhornVariant::resident, s.chunk_tiles, s.chunk_tiles) - without;
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
      if (bytes(SinkhornVariant::streaming, tiles, tiles) <= limit &&
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
  a.divided = memory.take<Shifted<T>>(shape.divides_sums ? shape.groups * width : 0);
  const std::int64_t outside = shape.variant == SinkhornVariant::resident ? 0 : blocks;
  a.totals = memory.take<Shifted<T>>(outside * width);
  a.columns = memory.take<double>(outside * 3 * p.targets);
  a.vectors =
      memory.take<T>(shape.variant == SinkhornVariant::logarithmic ? blocks * 3 * p.targets : 0);
  a.target = memory.take<std::int32_t>(outside * p.targets);
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
                         shape.shared_bytes, stream, p, RowModel<T>(p.epsilon, p.demand_relaxation),
                         shape, arrays);
}

#define POINT2MASK_INSTANTIATE(T, Stored)                                              \
  template cudaError_t sinkhorn_variant(const Sinkhorn<T, Stored>&, SinkhornVariant*); \
  template std::int64_t scratch_bytes(const Sinkhorn<T, Stored>&);                     \
  template cudaError_t run(const Sinkhorn<T, Stored>&, void*, cudaStream_t);
POINT2MASK_FOR_COSTS(POINT2MASK_INSTANTIATE)
#undef POINT2MASK_INSTANTIATE

} // namespace point2mask::cuda
