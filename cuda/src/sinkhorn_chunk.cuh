#pragma once

// The loops of sinkhorn over pixels. A block takes the chunks of its share of an image one after
// the other, a chunk in pieces; the result of a chunk is, for every column (a target that takes
// part), a sum of plan entries over the chunk's pixels.

#include <cstdint>

#include "transport_cost.cuh"
#include "transport_rows.cuh"

namespace point2mask::cuda {

constexpr int kTilePixels = kWarp;
// Words from one column of a tile to the next: odd, so that lanes which walk along their own column
// read from different banks.
constexpr int kTileStride = kTilePixels + 1;

// sum * 2^shift
template <typename T>
struct Shifted {
  T shift;
  double sum;
};

template <typename T>
__device__ __forceinline__ double shifted_to(T top, const Shifted<T>& value) {
  if (value.shift == top) return value.sum;
  return value.shift < top ? value.sum * static_cast<double>(exp2(value.shift - top)) : 0;
}

// An entry of the kernel matrix as it is kept: 2^exponent, or, where that counts as zero, the
// exponent itself, which is negative. So a change of the reference needs no look at the cost.
template <typename T>
__device__ __forceinline__ T kept(T exponent) {
  return exponent < kFlush<T> ? exponent : exp2(exponent);
}
template <typename T>
__device__ __forceinline__ T value_of(T entry) {
  return max(entry, T(0));
}
template <typename T>
__device__ __forceinline__ T exponent_of(T entry) {
  return entry > T(0) ? log2(entry) : entry;
}

template <typename T, typename Stored>
struct SinkhornChunk {
  const RowModel<T>& model;
  // The image.
  const Stored* cost;   // [K, N]
  const T* demand;      // [N]
  std::int32_t* target; // [columns]
  std::int64_t pixels;
  int columns;
  double mass_unit; // a power of two that makes the mean demand about 1
  // What the kernel matrix is relative to, [columns]; dead columns: -inf and 0.
  T* reference; // potential, rounded to T
  T* scaling;   // v = exp((potential - reference) / epsilon)
  T* moves;     // log2(e) / epsilon times the reference's last change
  // Shared memory.
  T* kernel;         // [tiles, columns, kTileStride] kept((reference - cost - row_max) scale)
  T* weight;         // [tiles, 32] the pixel's mass; relaxed: log2(mass) + row_max row_scale - top
  T* rows;           // [max(piece tiles * kTileStride, 2 * threads)] also of a tile's warps
  T* sums;           // [max(threads, columns)]
  double* warp_sums; // [warps]
  T* warp_tops;      // [warps]
  // Partial sums in device memory, [columns + 1, chunks]: the last column is the sum of the rows'
  // scalings.
  double* part_sum;
  T* part_shift;
  std::int64_t chunks;

  __device__ __forceinline__ explicit SinkhornChunk(const RowModel<T>& rows) : model(rows) {}

  __device__ __forceinline__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ __forceinline__ int threads() const { return static_cast<int>(blockDim.x); }
  __device__ __forceinline__ int lane() const { return thread() % kWarp; }
  __device__ __forceinline__ int warp() const { return thread() / kWarp; }
  __device__ __forceinline__ int warps() const { return threads() / kWarp; }
  __device__ __forceinline__ bool relaxed() const { return model.row_scale > 0; }

  __device__ __forceinline__ T mass(std::int64_t pixel) const {
    const T given = __ldg(demand + pixel);
    if (!(given > T(0))) return T(0);
    return max(static_cast<T>(static_cast<double>(given) * mass_unit), kSmallest<T>);
  }
  __device__ __forceinline__ T difference(int column, std::int64_t pixel) const {
    return reference[column] - load_cost(cost + target[column] * pixels + pixel);
  }

  // Adds a piece's sum to its chunk's; always the same thread for a column.
  __device__ __forceinline__ void fold(int column, std::int64_t chunk, Shifted<T> value,
                                       bool first) const {
    const std::int64_t at = column * chunks + chunk;
    if (!first) {
      const Shifted<T> before{part_shift[at], part_sum[at]};
      const T top = max(before.shift, value.shift);
      value = {top, shifted_to(top, before) + shifted_to(top, value)};
    }
    part_shift[at] = value.shift;
    part_sum[at] = value.sum;
  }

  // How `count` tiles are divided among the warps: where there are fewer tiles than warps, several
  // share the columns of one, each `slices`-th column from `slice` on; else a warp takes a tile
  // after the other. The first warp of a tile, in slice 0, has its weights.
  struct Share {
    int tile, slice, slices;
    bool works;
  };
  __device__ __forceinline__ int slices_of(int count) const { return max(warps() / count, 1); }
  __device__ __forceinline__ Share share_of(int from, int count) const {
    const int slices = slices_of(count), unit = from + warp();
    return {unit % count, unit / count, slices, unit < count * slices};
  }

  // body(share, row of all columns) for this warp's shares of `count` tiles in place `slot`. All
  // warps take part in each round, so that it may have barriers.
  template <typename Body>
  __device__ __forceinline__ void for_shares(int count, int slot, Body&& body) const {
    for (int from = 0; from < max(count, warps()); from += warps()) {
      const Share share = share_of(from, count);
      body(share, kernel + (slot + share.tile) * columns * kTileStride + lane());
    }
  }

  // The largest of what the warps of a tile found, in all of them.
  __device__ __forceinline__ T largest_of(const Share& share, int count, T own) const {
    if (share.slices == 1) return own;
    if (share.works) rows[thread()] = own;
    __syncthreads();
    for (int i = 0; i < share.slices; ++i)
      own = max(own, rows[(i * count + share.tile) * kWarp + lane()]);
    return own;
  }

  // Differences of a tile's pixel that are on their way from memory at the same time. One at a time
  // each would wait for the store of the one before, of which nobody knows that it goes elsewhere.
  static constexpr int kInFlight = 8;

  // The kernel matrix of `count` tiles from tile `first` of the image, in place `slot` of shared
  // memory, a lane a pixel. Returns top: what makes the largest weight 2^0 if relaxed, else 0.
  __device__ __forceinline__ T build(std::int64_t first, int count, int slot) const {
    T top = -infinity<T>();
    for_shares(count, slot, [&](const Share& share, T* q) {
      const std::int64_t pixel = (first + share.tile) * kTilePixels + lane();
      const bool inside = share.works && pixel < pixels;
      const int end = share.works ? columns : 0;
      T row_max = -infinity<T>();
#pragma unroll 1
      for (int from = share.slice; from < end; from += kInFlight * share.slices) {
        T d[kInFlight];
#pragma unroll
        for (int i = 0; i < kInFlight; ++i) {
          const int c = from + i * share.slices;
          d[i] = inside && c < columns ? difference(c, pixel) : -infinity<T>();
        }
#pragma unroll
        for (int i = 0; i < kInFlight; ++i) {
          const int c = from + i * share.slices;
          if (c < columns) q[c * kTileStride] = d[i];
          row_max = max(row_max, d[i]);
        }
      }
      row_max = largest_of(share, count, row_max);
      const bool served = row_max > -infinity<T>();
      if (!served) row_max = T(0);
#pragma unroll 4
      for (int c = share.slice; c < end; c += share.slices)
        q[c * kTileStride] = kept((q[c * kTileStride] - row_max) * model.scale);
      if (!share.works || share.slice > 0) return;
      const T own = served ? mass(pixel) : T(0);
      T& row_weight = weight[(slot + share.tile) * kTilePixels + lane()];
      row_weight = relaxed() ? log2(own) + row_max * model.row_scale : own;
      top = max(top, row_weight);
    });
    return relaxed() ? lower_weights(count, slot, top) : T(0);
  }

  // The same matrix after the reference has changed by `moves`, in place. Returns what top grows
  // by.
  __device__ __forceinline__ T move(int count, int slot) const {
    T top = -infinity<T>();
    for_shares(count, slot, [&](const Share& share, T* q) {
      const int end = share.works ? columns : 0;
      T row_max = -infinity<T>();
#pragma unroll 1 // a rare pass: registers matter more
      for (int c = share.slice; c < end; c += share.slices) {
        const T exponent = exponent_of(q[c * kTileStride]) + moves[c];
        q[c * kTileStride] = exponent;
        row_max = max(row_max, exponent);
      }
      row_max = largest_of(share, count, row_max);
      if (!(row_max > -infinity<T>())) row_max = T(0);
#pragma unroll 1 // a rare pass: registers matter more
      for (int c = share.slice; c < end; c += share.slices)
        q[c * kTileStride] = kept(q[c * kTileStride] - row_max);
      if (!relaxed() || !share.works || share.slice > 0) return;
      T& row_weight = weight[(slot + share.tile) * kTilePixels + lane()];
      row_weight += row_max * model.complement;
      top = max(top, row_weight);
    });
    return relaxed() ? lower_weights(count, slot, top) : T(0);
  }

  // Takes the largest of the weights' logarithms away from all, given the largest of the thread's
  // own; returns it, or 0 where no pixel has mass.
  __device__ __forceinline__ T lower_weights(int count, int slot, T top) const {
    top = warp_max(top);
    if (lane() == 0) warp_tops[warp()] = top;
    __syncthreads();
    for (int w = 0; w < warps(); ++w) top = max(top, warp_tops[w]);
    if (!(top > -infinity<T>())) return T(0);
    for (int t = warp(); t < count; t += warps()) weight[(slot + t) * kTilePixels + lane()] -= top;
    return top;
  }

  // An iteration's sums over `count` tiles in place `slot`: s = Q v with a lane a pixel, divided as
  // in build(), the rows' scalings r = weight s^-lambda, and Q^T r with a thread a column of some
  // of the tiles.
  __device__ __forceinline__ void scale_tiles(int count, int slot, T top, std::int64_t chunk,
                                              bool first) const {
    T total = T(0);
    T* const parts = rows + threads(); // behind what largest_of() may still be reading
    for_shares(count, slot, [&](const Share& share, const T* q) {
      const int end = share.works ? columns : 0;
      T s = T(0);
#pragma unroll 4
      for (int c = share.slice; c < end; c += share.slices)
        s += value_of(q[c * kTileStride]) * scaling[c];
      if (share.slices > 1) {
        parts[thread()] = s;
        __syncthreads();
      }
      if (!share.works || share.slice > 0) return;
      for (int i = 1; i < share.slices; ++i) s += parts[(i * count + share.tile) * kWarp + lane()];
      // A pixel without mass may have the sum 0: the smallest number keeps 0 / 0 away.
      s += kSmallest<T>;
      const T own = weight[(slot + share.tile) * kTilePixels + lane()];
      const T r = relaxed() ? exp2_flushed(own - model.lambda * log2(s)) : own / s;
      rows[share.tile * kTileStride + lane()] = r;
      total += r;
    });
    total = warp_sum(total);
    __syncthreads();
    if (lane() == 0) warp_sums[warp()] = static_cast<double>(total);
    const int wide = min(columns, threads());
    const int slices = min(threads() / wide, count);
    const int slice = thread() / wide;
    if (slice < slices) {
      for (int c = thread() % wide; c < columns; c += wide)
        sums[slice * columns + c] = column_sum(slice, slices, c, count, slot);
    }
    __syncthreads();
    for (int c = thread(); c <= columns; c += threads()) {
      double sum = 0;
      if (c < columns) {
        for (int i = 0; i < slices; ++i) sum += static_cast<double>(sums[i * columns + c]);
      } else {
        for (int w = 0; w < warps(); ++w) sum += warp_sums[w];
      }
      fold(c, chunk, {top, sum}, first);
    }
  }

  __device__ __forceinline__ T column_sum(int slice, int slices, int column, int count,
                                          int slot) const {
    T even = T(0), odd = T(0);
    for (int t = slice; t < count; t += slices) {
      const T* const q = kernel + ((slot + t) * columns + column) * kTileStride;
      const T* const r = rows + t * kTileStride;
#pragma unroll 8
      for (int j = 0; j < kTilePixels; j += 2) {
        even += value_of(q[j]) * r[j];
        odd += value_of(q[j + 1]) * r[j + 1];
      }
    }
    return even + odd;
  }

  // The same iteration in the log domain over the `count` pixels from `begin`, at most one a
  // thread, safe for columns whose sums underflow.
  __device__ __forceinline__ void log_piece(std::int64_t begin, int count, std::int64_t chunk,
                                            bool first) const {
    T row = -infinity<T>(), top = T(0);
    if (thread() < count) {
      PowerSum<T> total;
#pragma unroll 4
      for (int c = 0; c < columns; ++c)
        total.add(difference(c, begin + thread()), scaling[c], model.scale);
      const T own = total.sum > T(0) ? mass(begin + thread()) : T(0);
      if (own > T(0)) {
        top = total.largest;
        row = log2(own) + model.row_scale * top - model.lambda * log2(total.sum);
      }
    }
    rows[thread()] = row;
    rows[threads() + thread()] = top;
    __syncthreads();
    for (int c = warp(); c < columns; c += warps()) {
      PowerSum<T> part;
      for (int i = lane(); i < count; i += kWarp) {
        const T d = difference(c, begin + i) - rows[threads() + i];
        part.add(d * model.scale + rows[i], T(1), T(1));
      }
      const T largest = warp_max(part.largest);
      const Shifted<T> own{part.largest, static_cast<double>(part.sum)};
      const double sum = warp_sum(own.sum > 0 ? shifted_to(largest, own) : 0.0);
      if (lane() == 0) fold(c, chunk, {largest, sum}, first);
    }
    __syncthreads();
  }

  // The share of a chunk in the total demand, as the only column.
  __device__ __forceinline__ void sum_demand(std::int64_t begin, std::int64_t end,
                                             std::int64_t chunk) const {
    double sum = 0;
    for (std::int64_t i = begin + thread(); i < end; i += threads())
      sum += static_cast<double>(__ldg(demand + i));
    sum = warp_sum(sum);
    if (lane() == 0) warp_sums[warp()] = sum;
    __syncthreads();
    if (thread() == 0) {
      for (int w = 1; w < warps(); ++w) sum += warp_sums[w];
      part_sum[chunk] = sum;
      part_shift[chunk] = T(0);
    }
    __syncthreads();
  }

  // A column's total over all chunks, the same in every lane of the warp.
  __device__ __forceinline__ Shifted<T> combine(int column) const {
    const T* const shift = part_shift + column * chunks;
    const double* const sum = part_sum + column * chunks;
    T top = -infinity<T>();
    for (std::int64_t i = lane(); i < chunks; i += kWarp) top = max(top, shift[i]);
    top = warp_max(top);
    double total = 0;
    for (std::int64_t i = lane(); i < chunks; i += kWarp)
      total += shifted_to(top, Shifted<T>{shift[i], sum[i]});
    return {top, warp_sum(total)};
  }
};

} // namespace point2mask::cuda
