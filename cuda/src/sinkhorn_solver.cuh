#pragma once

// Sinkhorn's solve of one image by the blocks of a group: everything that has the size of its
// targets. Every block does all of it, on the same numbers in the same order, so that all come to
// the same decisions; they meet once an iteration, to exchange partial sums of the columns.

#include <cmath>
#include <cstdint>

#include "point2mask/cuda.hpp"
#include "point2mask/group_barrier.cuh"
#include "sinkhorn_chunk.cuh"
#include "transport_rows.cuh"

namespace point2mask::cuda {

// The reference moves when |log v| passes this: row sums then stay within 2^29 K of 1.
constexpr double kLargestLogScaling = 20;
// Each move of the matrix in place rounds its exponents once more; after so many it is built from
// the cost again.
constexpr int kMostMoves = 16;

// What an iteration does to the kernel matrix first.
enum class Matrix { keep, move, build };

// From so many targets on the blocks of a group divide the sums over all chunks among them, and
// meet once more to exchange the totals. Below, that barrier costs more than every block's own sum.
constexpr std::int64_t kDividedTargets = 40;

// How a launch divides its work.
struct SinkhornShape {
  SinkhornVariant variant;
  std::int64_t tiles, chunk_tiles, chunks; // of an image
  std::int64_t group_blocks, groups;       // blocks that share an image, images at a time
  int piece_tiles;                         // that are scaled at a time, resident: a chunk
  int buffer_tiles;                        // that shared memory holds
  bool divides_sums;                       // see kDividedTargets
  unsigned threads;
  std::size_t shared_bytes;
  double column_lambda; // lambda2
};

// Device memory of a launch. The last four are empty where shared memory has them.
template <typename T>
struct SinkhornScratch {
  unsigned long long* arrived; // [groups, kCounterStride]
  double* part_sum;            // [groups, 2, K + 1, chunks]
  T* part_shift;               // [groups, 2, K + 1, chunks]
  Shifted<T>* divided;         // [groups, K + 1] if sums are divided
  Shifted<T>* totals;          // [blocks, K + 1]
  double* columns;             // [blocks, 3, K]
  T* vectors;                  // [blocks, 3, K]
  std::int32_t* target;        // [blocks, K]
};

template <typename T, typename Stored>
struct SinkhornSolver {
  const Sinkhorn<T, Stored>& p;
  const SinkhornShape& shape;
  const SinkhornScratch<T>& scratch;
  SinkhornChunk<T, Stored> work;
  GroupBarrier barrier;
  int first_chunk, end_chunk; // this block's
  // [columns]; a thread owns those of its number, so only moved(), `potential` need a barrier
  double* potential;  // beside it log_supply() and moved()
  Shifted<T>* totals; // [columns + 1] sums over the image
  T* tops;            // [chunks of this block] of the resident kernel matrix
  int buffer;

  __device__ __forceinline__ SinkhornSolver(const Sinkhorn<T, Stored>& problem,
                                            const RowModel<T>& rows, const SinkhornShape& how,
                                            const SinkhornScratch<T>& memory)
      : p(problem), shape(how), scratch(memory), work(rows) {}

  __device__ __forceinline__ bool resident() const {
    return shape.variant == SinkhornVariant::resident;
  }
  // Partial sums alternate between two buffers: one is read while the next is written already.
  __device__ __forceinline__ void use_buffer(int which) {
    const std::int64_t size = (which - buffer) * (p.targets + 1) * shape.chunks;
    work.part_sum += size;
    work.part_shift += size;
    buffer = which;
  }
  __device__ __forceinline__ double* log_supply() const { return potential + p.targets; }
  __device__ __forceinline__ double* moved() const { return potential + 2 * p.targets; }
  __device__ __forceinline__ double log_scaling(int c) const {
    return (potential[c] - static_cast<double>(work.reference[c])) / p.epsilon;
  }
  __device__ __forceinline__ bool alive(int c) const { return potential[c] > -infinity<double>(); }

  // f(c) for the columns that this thread owns.
  template <typename F>
  __device__ __forceinline__ void for_own(int columns, F f) const {
    for (int c = work.thread(); c < columns; c += work.threads()) f(c);
  }

  // Over all columns, the same in every thread.
  template <typename F>
  __device__ __forceinline__ double sum_of(int count, F f) const {
    double total = 0;
    for (int c = work.lane(); c < count; c += kWarp) total += f(c);
    return warp_sum(total);
  }

  __device__ __forceinline__ double total_supply(std::int64_t image) const {
    const T* const supply = p.supply + image * p.targets;
    return sum_of(static_cast<int>(p.targets),
                  [&](int k) { return static_cast<double>(__ldg(supply + k)); });
  }

  // The targets with supply become columns, in their order.
  __device__ __forceinline__ void select_columns(std::int64_t image) {
    const T* const supply = p.supply + image * p.targets;
    int count = 0;
    for (std::int64_t base = 0; base < p.targets; base += kWarp) {
      const std::int64_t k = base + work.lane();
      const bool chosen = k < p.targets && __ldg(supply + k) > T(0);
      const unsigned all = __ballot_sync(kFullWarp, chosen);
      const unsigned below = (1U << work.lane()) - 1U;
      if (work.warp() == 0 && chosen)
        work.target[count + __popc(all & below)] = static_cast<std::int32_t>(k);
      count += __popc(all);
    }
    work.columns = count;
    __syncthreads();
    for_own(count, [&](int c) {
      const std::int64_t k = image * p.targets + work.target[c];
      potential[c] = p.initial_potential ? static_cast<double>(__ldg(p.initial_potential + k)) : 0;
      work.reference[c] = T(0); // what the first move starts from is read, though never used
      log_supply()[c] = log(static_cast<double>(__ldg(p.supply + k)));
    });
  }

  __device__ __forceinline__ std::int64_t first_pixel(std::int64_t chunk) const {
    return chunk * shape.chunk_tiles * kTilePixels;
  }
  __device__ __forceinline__ std::int64_t end_pixel(std::int64_t chunk) const {
    return min(first_pixel(chunk + 1), p.pixels);
  }

  // Masses in a unit that makes their mean about 1: a power of two, so nothing is rounded.
  __device__ __forceinline__ bool choose_unit() {
    for (int chunk = first_chunk; chunk < end_chunk; ++chunk)
      work.sum_demand(first_pixel(chunk), end_pixel(chunk), chunk);
    barrier.wait();
    const double total = work.combine(0).sum;
    use_buffer(1 - buffer);
    if (!(total > 0)) return false;
    work.mass_unit = ldexp(1.0, -ilogb(total / static_cast<double>(p.pixels)));
    return true;
  }

  // The reference moves to the potential; the scaling keeps what T cannot hold of it, unless
  // epsilon lies below the rounding of T anyway.
  __device__ __forceinline__ void set_reference() {
    for_own(work.columns, [&](int c) {
      const T next = static_cast<T>(potential[c]);
      const double change = static_cast<double>(next) - static_cast<double>(work.reference[c]);
      work.moves[c] = alive(c) ? static_cast<T>(change * (kLog2E / p.epsilon)) : T(0);
      work.reference[c] = next;
      const double rest = alive(c) ? log_scaling(c) : 0;
      if (abs(rest) > 1) potential[c] = static_cast<double>(work.reference[c]);
      work.scaling[c] = alive(c) ? (abs(rest) > 1 ? T(1) : static_cast<T>(exp(rest))) : T(0);
    });
    __syncthreads();
  }

  // Sums of this block's chunks by scaling.
  __device__ __forceinline__ void scale_chunks(Matrix matrix) const {
    for (int chunk = first_chunk; chunk < end_chunk; ++chunk) {
      const std::int64_t begin = chunk * shape.chunk_tiles;
      const std::int64_t end = min(begin + shape.chunk_tiles, shape.tiles);
      for (std::int64_t tile = begin; tile < end; tile += shape.piece_tiles) {
        const int count = static_cast<int>(min(std::int64_t{shape.piece_tiles}, end - tile));
        const int place = resident() ? chunk - first_chunk : 0;
        const int slot = place * shape.piece_tiles;
        T top = matrix == Matrix::build ? work.build(tile, count, slot) : tops[place];
        if (matrix == Matrix::move) top += work.move(count, slot);
        // Without relaxed demands top stays 0, and nothing lies between here and the others' reads.
        const bool changed = matrix == Matrix::build || (matrix == Matrix::move && work.relaxed());
        if (changed && work.thread() == 0) tops[place] = top;
        work.scale_tiles(count, slot, top, chunk, tile == begin);
      }
    }
  }

  // The same in the log domain.
  __device__ __forceinline__ void log_chunks() const {
    for (int chunk = first_chunk; chunk < end_chunk; ++chunk) {
      const std::int64_t begin = first_pixel(chunk), end = end_pixel(chunk);
      for (std::int64_t pixel = begin; pixel < end; pixel += work.threads()) {
        const auto count = static_cast<int>(min(std::int64_t{work.threads()}, end - pixel));
        work.log_piece(pixel, count, chunk, pixel == begin);
      }
    }
  }

  // The columns' sums over the image, once all blocks have theirs: every block's own, or each made
  // by one block for all. A column is summed in the same order either way.
  __device__ __forceinline__ void collect(int columns) {
    const int meetings = shape.divides_sums ? 2 : 1;
    const unsigned group = blockIdx.x / static_cast<unsigned>(shape.group_blocks);
    Shifted<T>* const divided = scratch.divided + group * (p.targets + 1);
#pragma unroll 1
    for (int meeting = 0; meeting < meetings; ++meeting) {
      barrier.wait();
      if (meeting > 0) break;
      const int makers = shape.divides_sums ? static_cast<int>(shape.group_blocks) : 1;
      const int own = static_cast<int>(blockIdx.x) % makers;
#pragma unroll 1
      for (int c = own * work.warps() + work.warp(); c < columns; c += makers * work.warps()) {
        const Shifted<T> total = work.combine(c);
        if (work.lane() == 0) (shape.divides_sums ? divided : totals)[c] = total;
      }
    }
    if (shape.divides_sums) for_own(columns, [&](int c) { totals[c] = divided[c]; });
    use_buffer(1 - buffer);
    __syncthreads();
  }

  // Whether a column's sum by scaling may lack flushed entries that matter.
  __device__ __forceinline__ bool underflows() const {
    constexpr double kUnderflow = sizeof(T) == 4 ? 0x1p-76 : 0x1p-847; // kFlush and a mantissa
    const double least = kUnderflow * (totals[work.columns].sum + static_cast<double>(p.pixels));
    bool too_small = false;
    for_own(work.columns,
            [&](int c) { too_small = too_small || (alive(c) && !(totals[c].sum > least)); });
    return __syncthreads_or(too_small) != 0;
  }

  // In the log domain a column has mass unless no pixel may serve it: then it dies, the first
  // time. Returns whether any is alive.
  __device__ __forceinline__ bool keep_alive() const {
    bool any = false;
    for_own(work.columns, [&](int c) {
      if (totals[c].sum > 0)
        any = any || alive(c);
      else
        potential[c] = -infinity<double>();
    });
    return __syncthreads_or(any) != 0;
  }

  // The targets' half of the iteration; returns whether the scalings stay in range.
  __device__ __forceinline__ bool update(bool wants_error) {
    bool in_range = true;
    for_own(work.columns, [&](int c) {
      moved()[c] = 0;
      if (!alive(c)) return;
      const double before = potential[c];
      const double log_sum = static_cast<double>(totals[c].shift) + log2(totals[c].sum);
      const double log_mass = kLn2 * log_sum + log_scaling(c) - ilogb(work.mass_unit) * kLn2;
      potential[c] =
          shape.column_lambda * (before - p.epsilon * log_mass) + p.epsilon * log_supply()[c];
      if (wants_error) {
        const double step = (potential[c] - before) / p.epsilon;
        // log of |exp(step) - 1|, of which neither factor of the product need be finite.
        moved()[c] = exp(log_mass + (step > 40 ? step : log(abs(expm1(step)))));
      }
      const double log_v = log_scaling(c);
      in_range = in_range && abs(log_v) <= kLargestLogScaling;
      work.scaling[c] = static_cast<T>(exp(log_v)); // unused if out of range
    });
    return __syncthreads_and(in_range) != 0;
  }

  __device__ __forceinline__ void publish(std::int64_t image, int done, double error) const {
    double mean = 0;
    if (std::isinf(p.supply_relaxation) && std::isinf(p.demand_relaxation)) {
      const double count = sum_of(work.columns, [&](int c) { return alive(c) ? 1.0 : 0.0; });
      mean = sum_of(work.columns, [&](int c) { return alive(c) ? potential[c] : 0.0; });
      mean /= count > 0 ? count : 1.0;
    }
    T* const out = p.potential + image * p.targets;
    for_own(static_cast<int>(p.targets), [&](int k) { out[k] = -infinity<T>(); });
    __syncthreads();
    for_own(work.columns, [&](int c) {
      if (alive(c)) out[work.target[c]] = static_cast<T>(potential[c] - mean);
    });
    if (work.thread() != 0) return;
    p.iterations[image] = done;
    p.marginal_error[image] = static_cast<T>(error);
  }

  __device__ __forceinline__ void solve(std::int64_t image, bool publishes) {
    work.cost = p.cost + image * p.targets * p.pixels;
    work.demand = p.demand + image * p.pixels;
    select_columns(image);
    const bool runs = choose_unit() && work.columns > 0;
    if (!runs) work.columns = 0;
    // Even without iterations a log step is needed, to see which targets take part.
    const bool always_log = shape.variant == SinkhornVariant::logarithmic || p.max_iterations == 0;
    Matrix matrix = Matrix::build;
    bool log_step = always_log;
    int done = 0, moves = 0; // of the matrix since it was built
    double error = runs ? infinity<double>() : 0;
    while (runs) {
      if (!resident() || (matrix == Matrix::move && moves == kMostMoves)) matrix = Matrix::build;
      moves = matrix == Matrix::build ? 0 : moves + (matrix == Matrix::move ? 1 : 0);
      if (matrix != Matrix::keep || log_step) set_reference();
      if (log_step) {
        log_chunks();
      } else {
        scale_chunks(matrix);
      }
      collect(work.columns + (log_step ? 0 : 1));
      if (!log_step && underflows()) { // the same iteration again
        log_step = true;
        continue;
      }
      if (log_step && !keep_alive()) {
        error = 0;
        break;
      }
      if (p.max_iterations == 0) break;
      ++done;
      const bool wants_error = p.tolerance > 0 || done == p.max_iterations;
      const bool in_range = update(wants_error);
      matrix = log_step ? Matrix::build : in_range ? Matrix::keep : Matrix::move;
      log_step = always_log;
      if (wants_error)
        error = sum_of(work.columns, [&](int c) { return moved()[c]; }) / total_supply(image);
      if (done == p.max_iterations || (p.tolerance > 0 && error <= p.tolerance)) break;
    }
    if (publishes) publish(image, done, error);
    __syncthreads(); // the next image overwrites the columns
  }
};

} // namespace point2mask::cuda
