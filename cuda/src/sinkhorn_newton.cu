// The balanced problem's potentials by Newton's method along decreasing epsilons, in one launch;
// the equations and their symbols are those of cpp/src/transport_newton.cpp. A group of blocks that
// wait for each other solves an image: all of them form the rows' softmaxes and P^T S, the first of
// them, as many as the K x K system keeps busy, the next step. In double throughout.

#include <algorithm>

#include "newton_path.cuh"
#include "point2mask/cuda.hpp"
#include "point2mask/group_barrier.cuh"
#include "point2mask/scratch.hpp"
#include "transport_cost.cuh"
#include "transport_rows.cuh"

namespace point2mask::cuda {
namespace {

constexpr int kThreads = 256, kSide = 16, kWarps = kThreads / kWarp; // kSide x kSide threads
constexpr std::int64_t kMostParts = 64, kLeastParts = 8, kPartPixels = 512;
constexpr int kVectors = 10; // of K doubles an image
constexpr double kBlur = 8;  // the first epsilon is the largest spread of a pixel's costs / 8

// Device memory of a launch, of each group.
struct NewtonScratch {
  unsigned long long* arrived; // [2, kCounterStride] of all its blocks, of those that solve
  NewtonState* state;          // [1]
  double* spread;              // [blocks of the group]
  double* rows;                // [3, N] largest potential - cost, 1 / divisor, mean exponent
  double* coupling;            // [parts, K, K] P^T S; upper triangle
  double* tilt;                // [parts, K] the masses' derivative with respect to log epsilon
  double* weight;              // [K, K]
  double* vectors;             // [kVectors, K]
  std::int32_t* component;     // [K]
  std::int32_t* last_change;   // [1]
};

// How a launch divides its work. Sums over N are formed in parts, fixed by N and K.
struct NewtonShape {
  std::int64_t parts, squares;       // of pixels; of 32 x 32 targets, along a side
  std::int64_t group_blocks, groups; // blocks that share an image, images at a time
  std::int64_t solver_blocks;        // of a group
};

template <typename T, typename Stored>
struct NewtonSolver {
  const SinkhornNewton<T, Stored>& p;
  const NewtonShape& shape;
  std::int64_t group, rank, image;
  const Stored* cost;            // [K, N]
  const T* demand;               // [N]
  GroupBarrier barrier, solvers; // of the group, and of its blocks that solve the systems
  NewtonScratch at;              // the group's own
  double *potential, *supply;

  __device__ __forceinline__ NewtonSolver(const SinkhornNewton<T, Stored>& problem,
                                          const NewtonShape& how)
      : p(problem), shape(how) {}

  __device__ __forceinline__ int lane() const { return static_cast<int>(threadIdx.x) % kWarp; }
  __device__ __forceinline__ int warp() const { return static_cast<int>(threadIdx.x) / kWarp; }
  __device__ __forceinline__ double cost_of(std::int64_t k, std::int64_t pixel) const {
    return static_cast<double>(load_cost(cost + k * p.pixels + pixel));
  }

  // f(pixel) for this thread's share of the image's pixels.
  template <typename F>
  __device__ __forceinline__ void for_pixels(F f) const {
    const std::int64_t step = shape.group_blocks * kThreads;
    for (std::int64_t i = rank * kThreads + threadIdx.x; i < p.pixels; i += step) f(i);
  }

  // The supplies, 0 where no pixel with demand may be served, and how far a pixel's costs spread.
  __device__ __forceinline__ void inspect(double* largest_of_warps) const {
    const T* const given = p.supply + image * p.targets;
    for (std::int64_t k = rank * kWarps + warp(); k < p.targets; k += shape.group_blocks * kWarps) {
      bool reached = false;
      for (std::int64_t i = 0; i < p.pixels && !reached; i += kWarp) {
        const std::int64_t pixel = i + lane();
        const bool serves = pixel < p.pixels && __ldg(demand + pixel) > T(0) &&
                            cost_of(k, pixel) < infinity<double>();
        reached = __any_sync(kFullWarp, serves) != 0;
      }
      const T asked = __ldg(given + k);
      if (lane() == 0) supply[k] = reached && asked > T(0) ? static_cast<double>(asked) : 0;
    }
    double spread = 0;
    for_pixels([&](std::int64_t pixel) {
      if (!(__ldg(demand + pixel) > T(0))) return;
      double low = infinity<double>(), high = -infinity<double>();
      for (std::int64_t k = 0; k < p.targets; ++k) {
        const double value = cost_of(k, pixel);
        if (!(__ldg(given + k) > T(0) && value < infinity<double>())) continue;
        low = min(low, value);
        high = max(high, value);
      }
      if (low < high) spread = max(spread, high - low);
    });
    spread = warp_max(spread);
    if (lane() == 0) largest_of_warps[warp()] = spread;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int w = 0; w < kWarps; ++w) spread = max(spread, largest_of_warps[w]);
    at.spread[rank] = spread;
  }

  // Each pixel's softmax over the targets.
  __device__ __forceinline__ void form_rows(double scale) const {
    for_pixels([&](std::int64_t pixel) {
      double largest = -infinity<double>(), sum = 0, tilted = 0; // of 2^e and of e 2^e
      for (std::int64_t k = 0; k < p.targets; ++k) {
        const double difference = potential[k] - cost_of(k, pixel);
        if (!(difference > -infinity<double>())) continue;
        const bool grows = difference > largest;
        const double e = (grows ? largest - difference : difference - largest) * scale;
        const double ratio = exp2_flushed(e);
        if (grows) { // all exponents so far change by e
          tilted = ratio > 0 ? ratio * (tilted + e * sum) : 0;
          sum = ratio * sum + 1;
          largest = difference;
        } else if (ratio > 0) {
          tilted += ratio * e;
          sum += ratio;
        }
      }
      at.rows[pixel] = largest;
      at.rows[p.pixels + pixel] = sum > 0 ? 1 / sum : 0;
      at.rows[2 * p.pixels + pixel] = sum > 0 ? tilted / sum : 0;
    });
  }

  // P^T S and the tilt. A block forms 32 x 32 entries over a part of the pixels, a thread 2 x 2 of
  // them; of 32 pixels at a time the softmaxes of both sides' targets stand in shared memory.
  __device__ __forceinline__ void couple(double scale, double* left, double* right) const {
    constexpr int kStride = kWarp + 1, kRows = kWarp / kWarps;
    const int x = static_cast<int>(threadIdx.x) % kSide, y = static_cast<int>(threadIdx.x) / kSide;
    const std::int64_t pairs = shape.squares * shape.squares;
    for (std::int64_t work = rank; work < shape.parts * pairs; work += shape.group_blocks) {
      const std::int64_t first_k = work % pairs / shape.squares * kWarp;
      const std::int64_t first_l = work % shape.squares * kWarp, part = work / pairs;
      if (first_l < first_k) continue;
      double sum[2][2] = {{0, 0}, {0, 0}}, tilt[kRows] = {};
      const std::int64_t end = (part + 1) * p.pixels / shape.parts;
      for (std::int64_t begin = part * p.pixels / shape.parts; begin < end; begin += kWarp) {
        const std::int64_t pixel = begin + lane();
        double largest = 0, inverse = 0, mean = 0, mass = 0;
        if (pixel < end) {
          largest = at.rows[pixel];
          inverse = at.rows[p.pixels + pixel];
          mean = at.rows[2 * p.pixels + pixel];
          mass = static_cast<double>(__ldg(demand + pixel));
        }
        const auto exponent = [&](std::int64_t k) {
          return (potential[k] - cost_of(k, pixel) - largest) * scale;
        };
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          const int i = r * kWarps + warp();
          const std::int64_t k = first_k + i, l = first_l + i;
          double p_k = 0, s_l = 0;
          if (inverse > 0 && k < p.targets) {
            const double e = exponent(k);
            p_k = mass * (exp2_flushed(e) * inverse);
            if (p_k > 0) tilt[r] += p_k * (e - mean);
          }
          if (inverse > 0 && l < p.targets) s_l = exp2_flushed(exponent(l)) * inverse;
          left[i * kStride + lane()] = p_k;
          right[i * kStride + lane()] = s_l;
        }
        __syncthreads();
#pragma unroll 4
        for (int j = 0; j < kWarp; ++j) {
          const double k0 = left[y * kStride + j], k1 = left[(y + kSide) * kStride + j];
          const double l0 = right[x * kStride + j], l1 = right[(x + kSide) * kStride + j];
          sum[0][0] += k0 * l0;
          sum[0][1] += k0 * l1;
          sum[1][0] += k1 * l0;
          sum[1][1] += k1 * l1;
        }
        __syncthreads();
      }
      double* const out = at.coupling + part * p.targets * p.targets;
      for (int i = 0; i < 2; ++i) {
        for (int j = 0; j < 2; ++j) {
          const std::int64_t k = first_k + y + i * kSide, l = first_l + x + j * kSide;
          if (k < p.targets && l < p.targets) out[k * p.targets + l] = sum[i][j];
        }
      }
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const double total = warp_sum(tilt[r]);
        const std::int64_t k = first_k + r * kWarps + warp();
        if (first_l == first_k && k < p.targets && lane() == 0)
          at.tilt[part * p.targets + k] = -kLn2 * total;
      }
    }
  }

  // What the blocks that solve do for all.
  __device__ __forceinline__ NewtonPath path() {
    const std::int64_t n = p.targets;
    const auto vector = [&](int i) { return at.vectors + i * n; };
    const Laplacian system{at.coupling, vector(2),    vector(3),      vector(4), vector(5),
                           vector(6),   at.component, at.last_change, 1,         0,
                           n,           rank,         solvers};
    return {system, at.weight, potential, supply, vector(7), vector(8), vector(9), p.epsilon, {}};
  }

  __device__ __forceinline__ void start() {
    NewtonPath path = this->path();
    NewtonState& s = path.state;
    s.supply_total = path.sum_of([&](std::int64_t k) { return supply[k]; });
    s.first_epsilon = p.epsilon;
    for (std::int64_t b = 0; b < shape.group_blocks; ++b)
      s.first_epsilon = max(s.first_epsilon, at.spread[b] / kBlur);
    s.iterations = 0;
    s.running = s.supply_total > 0;
    s.error = s.running ? infinity<double>() : 0;
    path.start_blurred();
    if (p.initial_potential) {
      s.warm = true;
      s.epsilon = p.epsilon;
      path.for_own([&](std::int64_t k) {
        if (path.active(k))
          potential[k] = static_cast<double>(__ldg(p.initial_potential + image * p.targets + k));
      });
    }
    if (path.system.thread() == 0) *at.state = s;
  }

  __device__ __forceinline__ void advance() {
    NewtonPath path = this->path();
    path.state = *at.state;
    path.for_own([&](std::int64_t k) {
      double sum = 0;
      for (std::int64_t part = 0; part < shape.parts; ++part) sum += at.tilt[part * p.targets + k];
      path.tilt[k] = sum;
    });
    path.system.add_parts(shape.parts);
    solvers.wait();
    path.advance(p.tolerance, path.state.iterations + 1 == p.max_iterations);
    if (path.system.thread() == 0) *at.state = path.state;
  }

  __device__ __forceinline__ void publish() {
    const NewtonPath path = this->path();
    const double count = path.sum_of([](std::int64_t) { return 1.0; });
    const double mean = path.sum_of([&](std::int64_t k) { return potential[k] / count; });
    T* const out = p.potential + image * p.targets;
    path.for_own([&](std::int64_t k) {
      out[k] = path.active(k) ? static_cast<T>(potential[k] - mean) : -infinity<T>();
    });
    if (path.system.thread() != 0) return;
    p.iterations[image] = at.state->iterations;
    p.marginal_error[image] = static_cast<T>(at.state->error);
  }

  __device__ __forceinline__ void solve(double* left, double* right) {
    cost = p.cost + image * p.targets * p.pixels;
    demand = p.demand + image * p.pixels;
    inspect(left);
    barrier.wait();
    const bool solves = rank < shape.solver_blocks;
    if (solves) start();
    barrier.wait();
    while (at.state->running && at.state->iterations < p.max_iterations) {
      const double scale = kLog2E / at.state->epsilon;
      form_rows(scale);
      barrier.wait();
      couple(scale, left, right);
      barrier.wait();
      if (solves) advance();
      barrier.wait();
    }
    if (solves) publish();
    barrier.wait(); // the next image overwrites the supplies
  }
};

template <typename T, typename Stored>
__global__ void __launch_bounds__(kThreads, 1)
    newton_kernel(SinkhornNewton<T, Stored> p, NewtonShape shape, NewtonScratch scratch) {
  POINT2MASK_SHARED(double, left, kWarp*(kWarp + 1));  // [target, pixel] P
  POINT2MASK_SHARED(double, right, kWarp*(kWarp + 1)); // [target, pixel] S
  const std::int64_t n = p.targets;
  NewtonSolver<T, Stored> solver(p, shape);
  const std::int64_t group = solver.group = blockIdx.x / shape.group_blocks;
  solver.rank = blockIdx.x % shape.group_blocks;
  unsigned long long* const arrived = scratch.arrived + 2 * group * kCounterStride;
  solver.barrier = {arrived, shape.group_blocks};
  solver.solvers = {arrived + kCounterStride, shape.solver_blocks};
  solver.at = {nullptr,
               scratch.state + group,
               scratch.spread + group * shape.group_blocks,
               scratch.rows + group * 3 * p.pixels,
               scratch.coupling + group * shape.parts * n * n,
               scratch.tilt + group * shape.parts * n,
               scratch.weight + group * n * n,
               scratch.vectors + group * kVectors * n,
               scratch.component + group * n,
               scratch.last_change + group};
  solver.potential = solver.at.vectors;
  solver.supply = solver.at.vectors + n;
  for (solver.image = group; solver.image < p.images; solver.image += shape.groups)
    solver.solve(left, right);
}

template <typename T, typename Stored>
cudaError_t choose_shape(const SinkhornNewton<T, Stored>& p, NewtonShape* shape) {
  const auto divide_up = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  NewtonShape& s = *shape;
  s.squares = divide_up(p.targets, kWarp);
  const std::int64_t pairs = std::max<std::int64_t>(s.squares * (s.squares + 1) / 2, 1);
  s.parts = std::clamp<std::int64_t>(divide_up(p.pixels, kPartPixels), 1,
                                     std::max(kLeastParts, kMostParts / pairs));
  std::int64_t blocks = 0;
  const cudaError_t status = resident_blocks(newton_kernel<T, Stored>, kThreads, 0, &blocks);
  if (status != cudaSuccess) return status;
  if (blocks == 0) return cudaErrorInvalidConfiguration;
  const std::int64_t useful = std::max(s.parts * pairs, divide_up(p.pixels, kThreads));
  s.group_blocks = std::clamp<std::int64_t>(blocks / std::max<std::int64_t>(p.images, 1), 1,
                                            std::min(useful, blocks));
  s.groups = std::min(p.images, blocks / s.group_blocks);
  s.solver_blocks = std::min(s.group_blocks, useful_blocks(p.targets));
  return cudaSuccess;
}

template <typename T, typename Stored>
NewtonScratch arrays_in(Scratch& memory, const SinkhornNewton<T, Stored>& p,
                        const NewtonShape& shape) {
  const std::int64_t n = p.targets;
  NewtonScratch a;
  a.arrived = memory.take<unsigned long long>(2 * shape.groups * kCounterStride);
  a.state = memory.take<NewtonState>(shape.groups);
  a.spread = memory.take<double>(shape.groups * shape.group_blocks);
  a.rows = memory.take<double>(shape.groups * 3 * p.pixels);
  a.coupling = memory.take<double>(shape.groups * shape.parts * n * n);
  a.tilt = memory.take<double>(shape.groups * shape.parts * n);
  a.weight = memory.take<double>(shape.groups * n * n);
  a.vectors = memory.take<double>(shape.groups * kVectors * n);
  a.component = memory.take<std::int32_t>(shape.groups * n);
  a.last_change = memory.take<std::int32_t>(shape.groups);
  return a;
}

} // namespace

template <typename T, typename Stored>
std::int64_t scratch_bytes(const SinkhornNewton<T, Stored>& p) {
  NewtonShape shape;
  if (choose_shape(p, &shape) != cudaSuccess) return 0;
  Scratch memory;
  arrays_in(memory, p, shape);
  return memory.bytes();
}

template <typename T, typename Stored>
cudaError_t run(const SinkhornNewton<T, Stored>& p, void* scratch, cudaStream_t stream) {
  if (p.images == 0) return cudaSuccess;
  NewtonShape shape;
  cudaError_t status = choose_shape(p, &shape);
  if (status != cudaSuccess) return status;
  Scratch memory(scratch);
  const NewtonScratch arrays = arrays_in(memory, p, shape);
  const auto counters = static_cast<std::size_t>(2 * shape.groups * kCounterStride);
  status = fill_with_zeros(arrays.arrived, counters * sizeof(unsigned long long), stream);
  if (status != cudaSuccess) return status;
  const auto blocks = static_cast<unsigned>(shape.groups * shape.group_blocks);
  return launch_together(newton_kernel<T, Stored>, dim3(blocks), dim3(kThreads), 0, stream, p,
                         shape, arrays);
}

#define POINT2MASK_INSTANTIATE(T, Stored)                                \
  template std::int64_t scratch_bytes(const SinkhornNewton<T, Stored>&); \
  template cudaError_t run(const SinkhornNewton<T, Stored>&, void*, cudaStream_t);
POINT2MASK_FOR_COSTS(POINT2MASK_INSTANTIATE)
#undef POINT2MASK_INSTANTIATE

} // namespace point2mask::cuda
