#pragma once

// How costs are read: as they are, or from 16 bits, from which nothing is rounded.

#include "point2mask/half.hpp"
#include "point2mask/simt.cuh"

namespace point2mask::cuda {

template <typename T>
__device__ __forceinline__ T load_cost(const T* cost) {
  return __ldg(cost);
}

__device__ __forceinline__ float load_cost(const Float16* cost) {
  return half_to_float(__ldg(&cost->bits));
}

__device__ __forceinline__ float load_cost(const Bfloat16* cost) {
  return __uint_as_float(static_cast<unsigned>(__ldg(&cost->bits)) << 16);
}

} // namespace point2mask::cuda
