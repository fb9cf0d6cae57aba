#pragma once

// Device functions that the transport kernels share.

#include <cstdint>
#include <limits>

#include "point2mask/simt.cuh"
#include "point2mask/warp.cuh"

namespace point2mask::cuda {

// Weights below 2^kFlush (of a pixel's largest) count as zero, as on the CPU.
template <typename T>
constexpr T kFlush = sizeof(T) == 4 ? T(-100) : T(-900);

template <typename T>
constexpr T kSmallest = std::numeric_limits<T>::min();

template <typename T>
__device__ __forceinline__ T infinity() {
  return static_cast<T>(INFINITY);
}

template <typename T>
__device__ __forceinline__ T exp2_flushed(T x) {
  return x < kFlush<T> ? T(0) : exp2(x);
}

// Of all lanes, in all lanes; the same bits in each, as additions commute.
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int d = kWarp / 2; d > 0; d /= 2) value += __shfl_xor_sync(kFullWarp, value, d);
  return value;
}

template <typename T>
__device__ __forceinline__ T warp_max(T value) {
  for (int d = kWarp / 2; d > 0; d /= 2) {
    const T other = __shfl_xor_sync(kFullWarp, value, d);
    value = other > value ? other : value;
  }
  return value;
}

// log(sum(exp)) in one pass: the sum is kept relative to the largest exponent so far, and each new
// one costs a single exponential, of minus its distance to the largest.
template <typename T>
struct LogSum {
  T largest = -infinity<T>(), sum = T(0);

  __device__ __forceinline__ void add(T exponent) {
    if (!(exponent > -infinity<T>())) return; // takes no part
    const bool grows = exponent > largest;
    const T ratio = exp(grows ? largest - exponent : exponent - largest);
    sum = grows ? sum * ratio + T(1) : sum + ratio;
    largest = grows ? exponent : largest;
  }
};

// The same for sums of weight * 2^(scale x). Distances are scaled, not x: near ties stay exact.
template <typename T>
struct PowerSum {
  T largest = -infinity<T>(), sum = T(0);

  __device__ __forceinline__ void add(T x, T weight, T scale) {
    if (!(x > -infinity<T>())) return;
    const bool grows = x > largest;
    const T ratio = exp2_flushed((grows ? largest - x : x - largest) * scale);
    sum = grows ? sum * ratio + weight : sum + ratio * weight;
    largest = grows ? x : largest;
  }
};

} // namespace point2mask::cuda
