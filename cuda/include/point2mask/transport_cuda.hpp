#pragma once

// Host launchers of the transport kernels, for float and double. Pointers are device pointers on
// the current device; the launches are asynchronous on `stream`. C++17, torch-free.

#include <cuda_runtime_api.h>

#include <cstdint>

namespace point2mask::cuda {

// The target of least cost - potential for every pixel; of equal ones the first. Values are not
// checked: a NaN is never chosen.
template <typename T>
struct TransportLabels {
  const T* cost;      // [B, K, N]
  const T* potential; // [B, K], -inf = the target takes no part
  const T* demand;    // [B, N], 0 = the pixel takes no part
  std::int64_t images, targets, pixels;
  std::int32_t* labels; // [B, N], -1 where no target can be chosen
};

// P[k, i] = demand[i] * exp((1 - lambda) * L[i]) * softmax_k((potential[k] - cost[k, i]) / epsilon)
// with L the logarithm of the softmax's denominator and lambda = rho / (rho + epsilon) for a
// demand relaxation rho; 0 where target or pixel take no part or no cost is finite.
template <typename T>
struct TransportPlan {
  const T* cost;      // [B, K, N]
  const T* potential; // [B, K], -inf = the target takes no part
  const T* demand;    // [B, N], 0 = the pixel takes no part
  std::int64_t images, targets, pixels;
  double epsilon;           // > 0, finite
  double demand_relaxation; // rho > 0, inf = demands are met exactly
  T* plan;                  // [B, K, N]
};

template <typename T>
cudaError_t transport_labels(const TransportLabels<T>& p, cudaStream_t stream);

template <typename T>
cudaError_t transport_plan(const TransportPlan<T>& p, cudaStream_t stream);

} // namespace point2mask::cuda
