// Gradient of sinkhorn's potential by implicit differentiation; the equations and their symbols are
// those of cpp/src/transport_backward.cpp. A pass over the cost gives the rows' softmax divisors, a
// second P^T S, a block an image solves the K x K system, and a last pass writes the gradients.

#include <algorithm>

#include "point2mask/cuda.hpp"
#include "point2mask/scratch.hpp"
#include "transport_laplacian.cuh"
#include "transport_rows.cuh"

namespace point2mask::cuda {
namespace {

// Threads of a block, kSide x kSide. The blocks a multiprocessor that kernels ask for leave them
// the registers they need: left to itself the compiler would rather spill than take more than 64.
constexpr int kThreads = 256, kSide = 16;
constexpr std::int64_t kMostParts = 64, kLeastParts = 8;
constexpr std::int64_t kChunkPixels = 512; // summed in T, beyond in double

// Device memory of a launch.
template <typename T>
struct BackwardScratch {
  T *largest, *inverse, *factor; // [B, N] the rows, see Row
  double* coupling;              // [B, parts, K, K] P^T S; upper triangle
  double* vectors;               // [B, 5, K]
  std::int32_t* component;       // [B, K]
  std::int32_t* last_change;     // [B]
  unsigned long long* arrived;   // [B, kCounterStride]
  T* adjoint;                    // [B, K] lambda2 z
};

// Sums over N are formed in `parts` parts, each over a range of chunks: fixed by N and K.
struct Shape {
  std::int64_t chunks, parts, blocks; // blocks of 32 targets

  Shape(std::int64_t targets, std::int64_t pixels)
      : chunks((pixels + kChunkPixels - 1) / kChunkPixels), blocks((targets + kWarp - 1) / kWarp) {
    const std::int64_t pairs = std::max<std::int64_t>(blocks * (blocks + 1) / 2, 1);
    parts = std::clamp<std::int64_t>(chunks, 1, std::max(kLeastParts, kMostParts / pairs));
  }
};

template <typename T>
struct Pixel {
  const T* cost; // of the pixel, [K] with stride N
  const T* potential;
  std::int64_t stride;

  __device__ __forceinline__ Pixel(const SinkhornBackward<T>& p, std::int64_t image,
                                   std::int64_t pixel)
      : cost(p.cost + image * p.targets * p.pixels + pixel),
        potential(p.potential + image * p.targets),
        stride(p.pixels) {}
  __device__ __forceinline__ T operator()(std::int64_t k) const {
    return __ldg(potential + k) - __ldg(cost + k * stride);
  }
};

template <typename T>
__device__ __forceinline__ Row<T> stored_row(const BackwardScratch<T>& scratch, std::int64_t at) {
  return {__ldg(scratch.largest + at), __ldg(scratch.inverse + at), __ldg(scratch.factor + at)};
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    rows_kernel(SinkhornBackward<T> p, RowModel<T> model, BackwardScratch<T> scratch) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t image = blockIdx.y; image < p.images; image += gridDim.y) {
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < p.pixels;
         i += step) {
      const Row<T> row = row_of(p.targets, model, Pixel<T>(p, image, i));
      const std::int64_t at = image * p.pixels + i;
      scratch.largest[at] = row.largest;
      scratch.inverse[at] = row.inverse;
      scratch.factor[at] = row.factor;
    }
  }
}

// A block forms 32 x 32 entries of P^T S over a part of the pixels, a thread 2 x 2 of them. Of 32
// pixels at a time the softmaxes of both sides' targets stand in shared memory.
template <typename T>
__global__ void __launch_bounds__(kThreads, 2)
    couple_kernel(SinkhornBackward<T> p, RowModel<T> model, BackwardScratch<T> scratch,
                  Shape shape) {
  constexpr int kStride = kWarp + 1;
  POINT2MASK_SHARED(T, left, kWarp * kStride);  // [target, pixel] P
  POINT2MASK_SHARED(T, right, kWarp * kStride); // [target, pixel] S
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
  const int x = thread % kSide, y = thread / kSide;
  const std::int64_t squares = shape.blocks * shape.blocks;
  for (std::int64_t work = blockIdx.x; work < p.images * shape.parts * squares; work += gridDim.x) {
    const std::int64_t first_k = work % squares / shape.blocks * kWarp;
    const std::int64_t first_l = work % shape.blocks * kWarp;
    const std::int64_t part = work / squares % shape.parts, image = work / squares / shape.parts;
    if (first_l < first_k) continue;
    double total[2][2] = {{0, 0}, {0, 0}};
    const std::int64_t end = (part + 1) * shape.chunks / shape.parts;
    for (std::int64_t chunk = part * shape.chunks / shape.parts; chunk < end; ++chunk) {
      T sum[2][2] = {{T(0), T(0)}, {T(0), T(0)}};
      for (std::int64_t begin = chunk * kChunkPixels;
           begin < min((chunk + 1) * kChunkPixels, p.pixels); begin += kWarp) {
        const std::int64_t pixel = begin + lane;
        const bool inside = pixel < p.pixels;
        const Pixel<T> difference(p, image, pixel);
        const std::int64_t at = image * p.pixels + pixel;
        Row<T> row{T(0), T(0), T(0)};
        T mass = T(0);
        if (inside) {
          row = stored_row(scratch, at);
          mass = row.factor * __ldg(p.demand + at);
        }
        for (int i = thread / kWarp; i < kWarp; i += kThreads / kWarp) {
          const std::int64_t k = first_k + i, l = first_l + i;
          const bool has_k = inside && k < p.targets, has_l = inside && l < p.targets;
          left[i * kStride + lane] = has_k ? mass * row.share(difference(k), model) : T(0);
          right[i * kStride + lane] = has_l ? row.share(difference(l), model) : T(0);
        }
        __syncthreads();
#pragma unroll 4
        for (int j = 0; j < kWarp; ++j) {
          const T k0 = left[y * kStride + j], k1 = left[(y + kSide) * kStride + j];
          const T l0 = right[x * kStride + j], l1 = right[(x + kSide) * kStride + j];
          sum[0][0] += k0 * l0;
          sum[0][1] += k0 * l1;
          sum[1][0] += k1 * l0;
          sum[1][1] += k1 * l1;
        }
        __syncthreads();
      }
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j) total[i][j] += static_cast<double>(sum[i][j]);
    }
    double* const out = scratch.coupling + (image * shape.parts + part) * p.targets * p.targets;
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 2; ++j) {
        const std::int64_t k = first_k + y + i * kSide, l = first_l + x + j * kSide;
        if (k < p.targets && l < p.targets) out[k * p.targets + l] = total[i][j];
      }
    }
  }
}

// A group of blocks an image, and each group every groups'th image.
template <typename T>
__global__ void __launch_bounds__(kThreads, 1)
    solve_kernel(SinkhornBackward<T> p, BackwardScratch<T> scratch, Shape shape,
                 std::int64_t group_blocks, double lambda, double complement,
                 double column_lambda) {
  const std::int64_t n = p.targets;
  const std::int64_t group = blockIdx.x / group_blocks, groups = gridDim.x / group_blocks;
  GroupBarrier barrier{scratch.arrived + group * kCounterStride, group_blocks};
  for (std::int64_t image = group; image < p.images; image += groups) {
    double* const vectors = scratch.vectors + image * 5 * n;
    const Laplacian system{scratch.coupling + image * shape.parts * n * n,
                           vectors,
                           vectors + n,
                           vectors + 2 * n,
                           vectors + 3 * n,
                           vectors + 4 * n,
                           scratch.component + image * n,
                           scratch.last_change + image,
                           lambda,
                           complement,
                           n,
                           blockIdx.x % group_blocks,
                           barrier};
    system.add_parts(shape.parts);
    const T* const potential = p.potential + image * n;
    for (std::int64_t k = system.thread(); k < n; k += system.threads()) {
      const bool active = __ldg(potential + k) > -infinity<T>();
      system.z[k] = active ? static_cast<double>(__ldg(p.grad_potential + image * n + k)) : 0.0;
    }
    system.solve();
    for (std::int64_t k = system.thread(); k < n; k += system.threads()) {
      const bool active = __ldg(potential + k) > -infinity<T>();
      const double supply = static_cast<double>(__ldg(p.supply + image * n + k));
      p.grad_supply[image * n + k] =
          active ? static_cast<T>(p.epsilon * system.mass[k] * system.z[k] / supply) : T(0);
      scratch.adjoint[image * n + k] = active ? static_cast<T>(column_lambda * system.z[k]) : T(0);
    }
  }
}

// One thread a pixel.
template <typename T>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 4 ? 0 : 4)
    gradient_kernel(SinkhornBackward<T> p, RowModel<T> model, BackwardScratch<T> scratch) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t image = blockIdx.y; image < p.images; image += gridDim.y) {
    const T* const adjoint = scratch.adjoint + image * p.targets;
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < p.pixels;
         i += step) {
      const std::int64_t at = image * p.pixels + i;
      const Pixel<T> difference(p, image, i);
      const Row<T> row = stored_row(scratch, at);
      const T demand = __ldg(p.demand + at), mass = row.factor * demand;
      T mean = T(0);
#pragma unroll 4
      for (std::int64_t k = 0; k < p.targets; ++k)
        mean += __ldg(adjoint + k) * row.share(difference(k), model);
      p.grad_demand[at] = demand > T(0) ? -static_cast<T>(p.epsilon) * row.factor * mean : T(0);
      T* const out = p.grad_cost + image * p.targets * p.pixels + i;
#pragma unroll 4
      for (std::int64_t k = p.targets - 1; k >= 0; --k)
        out[k * p.pixels] =
            mass * row.share(difference(k), model) * (__ldg(adjoint + k) - model.lambda * mean);
    }
  }
}

template <typename T>
BackwardScratch<T> arrays_in(Scratch& memory, const SinkhornBackward<T>& p, const Shape& shape) {
  BackwardScratch<T> a;
  a.largest = memory.take<T>(p.images * p.pixels);
  a.inverse = memory.take<T>(p.images * p.pixels);
  a.factor = memory.take<T>(p.images * p.pixels);
  a.coupling = memory.take<double>(p.images * shape.parts * p.targets * p.targets);
  a.vectors = memory.take<double>(p.images * 5 * p.targets);
  a.component = memory.take<std::int32_t>(p.images * p.targets);
  a.last_change = memory.take<std::int32_t>(p.images);
  a.arrived = memory.take<unsigned long long>(p.images * kCounterStride);
  a.adjoint = memory.take<T>(p.images * p.targets);
  return a;
}

template <typename T>
cudaError_t solve(const SinkhornBackward<T>& p, const BackwardScratch<T>& arrays,
                  const Shape& shape, double lambda, double complement, double column_lambda,
                  cudaStream_t stream) {
  std::int64_t resident = 0;
  cudaError_t status = resident_blocks(solve_kernel<T>, kThreads, 0, &resident);
  if (status != cudaSuccess) return status;
  const std::int64_t group_blocks =
      std::max<std::int64_t>(std::min(resident / p.images, useful_blocks(p.targets)), 1);
  const std::int64_t groups = std::min(resident / group_blocks, p.images);
  const auto counters = static_cast<std::size_t>(groups * kCounterStride);
  if (group_blocks > 1)
    status = fill_with_zeros(arrays.arrived, counters * sizeof(unsigned long long), stream);
  if (status != cudaSuccess) return status;
  return launch_together(solve_kernel<T>, dim3(static_cast<unsigned>(groups * group_blocks)),
                         dim3(kThreads), 0, stream, p, arrays, shape, group_blocks, lambda,
                         complement, column_lambda);
}

} // namespace

template <typename T>
std::int64_t scratch_bytes(const SinkhornBackward<T>& p) {
  Scratch memory;
  arrays_in(memory, p, Shape(p.targets, p.pixels));
  return memory.bytes();
}

template <typename T>
cudaError_t run(const SinkhornBackward<T>& p, void* scratch, cudaStream_t stream) {
  if (p.images == 0) return cudaSuccess;
  const Shape shape(p.targets, p.pixels);
  const RowModel<T> model(p.epsilon, p.demand_relaxation);
  const Damping rows(p.demand_relaxation, p.epsilon), columns(p.supply_relaxation, p.epsilon);
  const double complement =
      rows.complement + columns.complement - rows.complement * columns.complement;
  Scratch memory(scratch);
  const BackwardScratch<T> arrays = arrays_in(memory, p, shape);
  const dim3 block(kThreads), pixels(blocks_for(p.pixels, kThreads), blocks_for(p.images, 1));
  cudaError_t status = cudaSuccess;
  if (p.pixels > 0) status = launch(rows_kernel<T>, pixels, block, 0, stream, p, model, arrays);
  if (status == cudaSuccess && p.targets > 0) {
    const std::int64_t squares = p.images * shape.parts * shape.blocks * shape.blocks;
    status = launch(couple_kernel<T>, dim3(blocks_for(squares, 1)), block, 0, stream, p, model,
                    arrays, shape);
  }
  if (status == cudaSuccess && p.targets > 0)
    status =
        solve(p, arrays, shape, rows.lambda * columns.lambda, complement, columns.lambda, stream);
  if (status == cudaSuccess && p.pixels > 0)
    status = launch(gradient_kernel<T>, pixels, block, 0, stream, p, model, arrays);
  return status;
}

template std::int64_t scratch_bytes(const SinkhornBackward<float>&);
template std::int64_t scratch_bytes(const SinkhornBackward<double>&);
template cudaError_t run(const SinkhornBackward<float>&, void*, cudaStream_t);
template cudaError_t run(const SinkhornBackward<double>&, void*, cudaStream_t);

} // namespace point2mask::cuda
