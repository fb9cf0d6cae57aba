// Kernels that exercise the emulator rather than the product. `fault` breaks one thing: 0 nothing,
// n what the comment "fault n" says. test_emulator.py knows which detector must notice.

#include "point2mask/simt.cuh"

namespace {

using point2mask::cuda::launch;
using point2mask::cuda::load_relaxed;
using point2mask::cuda::store_relaxed;

constexpr unsigned kFullWarp = 0xffffffffU;

__device__ __forceinline__ float warp_sum(float value) {
  for (int d = 16; d > 0; d >>= 1) value += __shfl_xor_sync(kFullWarp, value, d);
  return value;
}

// A block adds up rows, one after the other: warp shuffles, then the warps' parts in shared memory.
__global__ void row_sums_kernel(const float* matrix, float* sums, int rows, int columns,
                                int fault) {
  POINT2MASK_DYNAMIC_SHARED(float, parts); // one a warp
  const int thread = static_cast<int>(threadIdx.x), warps = static_cast<int>(blockDim.x) / 32;
  const int lane = thread % 32, warp = thread / 32;
  for (int row = static_cast<int>(blockIdx.x); row < rows; row += static_cast<int>(gridDim.x)) {
    if (fault == 1 && thread >= columns) return; // fault 1: leaves before a collective of its warp
    float sum = 0;
    for (int c = thread; c < columns; c += static_cast<int>(blockDim.x))
      sum += matrix[row * columns + c];
    if (fault != 2 || thread < columns) sum = warp_sum(sum); // fault 2: shuffle in a branch
    if (lane == 0) parts[warp] = sum;
    if (fault == 3 && warp == 0) __syncthreads(); // fault 3: two barriers where others meet one
    if (fault != 4) __syncthreads();              // fault 4: parts read before they are written
    if (warp == 0) {
      const float total = warp_sum(lane < warps ? parts[lane] : 0.0F);
      if (lane == 0) sums[row] = total;
    }
    if (fault != 5) __syncthreads(); // fault 5: next row's parts overwrite these
  }
}

// One warp, ordered by __syncwarp alone.
__global__ void transpose_kernel(const float* in, float* out, int fault) {
  POINT2MASK_SHARED(float, tile, 32 * 33);
  const int lane = static_cast<int>(threadIdx.x);
  const int stride = fault == 2 ? 34 : 33; // fault 2: leaves the shared array
  for (int r = 0; r < 32; ++r) tile[r * stride + lane] = in[r * 32 + lane];
  if (fault != 1) __syncwarp(); // fault 1
  for (int r = 0; r < 32; ++r) out[r * 32 + lane] = tile[lane * stride + r];
}

// Blocks add parts; the last one to finish adds the parts.
__global__ void grid_sum_kernel(const float* values, int count, float* parts, unsigned* ticket,
                                float* sum, int fault) {
  POINT2MASK_SHARED(float, mine, 64);
  POINT2MASK_SHARED(int, last, 1);
  const unsigned thread = threadIdx.x;
  float part = 0;
  for (unsigned i = blockIdx.x * blockDim.x + thread; i < static_cast<unsigned>(count);
       i += gridDim.x * blockDim.x)
    part += values[i];
  if (fault != 1 || part > 0) mine[thread] = part; // fault 1: reads uninitialised shared memory
  __syncthreads();
  for (unsigned d = blockDim.x / 2; d > 0; d /= 2) {
    if (thread < d) mine[thread] += mine[thread + d];
    if (fault != 2) __syncthreads(); // fault 2
  }
  if (thread == 0) {
    parts[blockIdx.x] = mine[0];
    if (fault != 3) __threadfence(); // fault 3: no release
    last[0] = atomicAdd(ticket, 1U) == gridDim.x - 1;
    if (fault != 4) __threadfence(); // fault 4: no acquire
  }
  if (fault != 5) __syncthreads(); // fault 5: last[0] read before it is written
  if (last[0] && thread == blockDim.x - 1) {
    float total = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) total += parts[b];
    *sum = total;
  }
}

// The least key of every group, and the number of even keys.
__global__ void least_kernel(const unsigned long long* keys, const int* groups, int count,
                             unsigned long long* least, int* even, int fault) {
  const unsigned step = gridDim.x * blockDim.x;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < static_cast<unsigned>(count);
       i += step) {
    const unsigned long long key = keys[i];
    unsigned long long* const best = least + groups[i];
    if (fault == 1) { // fault 1: plain minimum
      if (key < *best) *best = key;
    } else if (key < (fault == 2 ? *best : load_relaxed(best))) { // fault 2: plain read
      atomicMin(best, key);
    }
    if (key % 2 == 0) {
      if (fault == 3) // fault 3: plain count
        *even += 1;
      else
        atomicAdd(even, 1);
    }
  }
}

// Block 0 hands a value to the others through a flag.
__global__ void hand_over_kernel(int* value, unsigned* flag, int* received, int fault) {
  if (blockIdx.x == 0) {
    *value = 42;
    if (fault != 1) __threadfence();         // fault 1: no release
    if (fault != 3) store_relaxed(flag, 1U); // fault 3: the others wait for ever
  } else {
    while (load_relaxed(flag) == 0) {
    }
    if (fault != 2) __threadfence(); // fault 2: no acquire
    received[blockIdx.x] = *value;
  }
}

// Lanes with equal values find each other.
__global__ void match_kernel(const int* values, int* sizes) {
  const unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned same = __match_any_sync(kFullWarp, values[thread]);
  const unsigned all = __ballot_sync(kFullWarp, values[thread] >= 0);
  sizes[thread] = all == kFullWarp ? __popc(same) : -1;
}

} // namespace

extern "C" {

int row_sums(const float* matrix, float* sums, int rows, int columns, int threads, int fault) {
  const std::size_t shared_bytes = static_cast<std::size_t>(threads) / 32 * sizeof(float);
  return launch(row_sums_kernel, dim3(2), dim3(static_cast<unsigned>(threads)), shared_bytes,
                nullptr, matrix, sums, rows, columns, fault);
}

int transpose(const float* in, float* out, int fault) {
  return launch(transpose_kernel, dim3(1), dim3(32), 0, nullptr, in, out, fault);
}

int grid_sum(const float* values, int count, float* parts, unsigned* ticket, float* sum, int blocks,
             int fault) {
  return launch(grid_sum_kernel, dim3(static_cast<unsigned>(blocks)), dim3(64), 0, nullptr, values,
                count, parts, ticket, sum, fault);
}

int least(const unsigned long long* keys, const int* groups, int count, unsigned long long* best,
          int* even, int fault) {
  return launch(least_kernel, dim3(3), dim3(64), 0, nullptr, keys, groups, count, best, even,
                fault);
}

int hand_over(int* value, unsigned* flag, int* received, int blocks, int fault) {
  return launch(hand_over_kernel, dim3(static_cast<unsigned>(blocks)), dim3(1), 0, nullptr, value,
                flag, received, fault);
}

int match(const int* values, int* sizes, int threads) {
  return launch(match_kernel, dim3(static_cast<unsigned>(threads) / 32), dim3(32), 0, nullptr,
                values, sizes);
}

} // extern "C"
