#pragma once

// Host launchers of the transport kernels, for float and double. Pointers are device pointers on
// the current device; the launches are asynchronous on `stream`. C++17, torch-free.

#include <cuda_runtime_api.h>

#include <cstdint>

namespace point2mask::cuda {

// Target potentials of entropic optimal transport, as point2mask/transport.hpp defines them. Values
// are not checked: masses must be finite and not negative, costs neither NaN nor -inf, totals equal
// where both marginals are fixed, and the initial potential finite where a target takes part.
template <typename T>
struct Sinkhorn {
  const T* cost;              // [B, K, N], +inf = forbidden pair
  const T* supply;            // [B, K]
  const T* demand;            // [B, N]
  const T* initial_potential; // [B, K], or nullptr for zeros
  std::int64_t images, targets, pixels;
  double epsilon;                              // > 0, finite
  std::int64_t max_iterations;                 // in [0, 2^31)
  double tolerance;                            // of marginal_error; 0 = run all iterations
  double supply_relaxation, demand_relaxation; // > 0, may be infinity
  void* scratch;                               // sinkhorn_scratch_bytes(*this), 256-byte aligned
  T* potential;                                // [B, K], -inf = the target takes no part
  std::int32_t* iterations;                    // [B]
  T* marginal_error;                           // [B]
};

// How the current device runs a problem of this size. All three follow the same trajectory; which
// one is taken depends on K and N, not on the batch.
enum class SinkhornVariant {
  resident,    // the kernel matrix of an image stays in shared memory; the cost is read once
  streaming,   // it is rebuilt in every iteration, piece by piece; the cost is read once in each
  logarithmic, // not even a tile of all targets fits: log domain, the cost is read twice in each
};

template <typename T>
cudaError_t sinkhorn_variant(const Sinkhorn<T>& p, SinkhornVariant* variant);

// Device memory that sinkhorn needs on the current device; 0 if the device cannot be asked, which
// sinkhorn then reports.
template <typename T>
std::int64_t sinkhorn_scratch_bytes(const Sinkhorn<T>& p);

template <typename T>
cudaError_t sinkhorn(const Sinkhorn<T>& p, cudaStream_t stream);

// Gradients of sinkhorn's potential by implicit differentiation, see point2mask/transport.hpp.
template <typename T>
struct SinkhornBackward {
  const T* grad_potential; // [B, K], ignored where potential is -inf
  const T* cost;           // [B, K, N]
  const T* supply;         // [B, K]
  const T* demand;         // [B, N]
  const T* potential;      // [B, K] result of sinkhorn
  std::int64_t images, targets, pixels;
  double epsilon, supply_relaxation, demand_relaxation;
  void* scratch;  // sinkhorn_backward_scratch_bytes(*this), 256-byte aligned
  T* grad_cost;   // [B, K, N]
  T* grad_supply; // [B, K]
  T* grad_demand; // [B, N], 0 for pixels without demand
};

template <typename T>
std::int64_t sinkhorn_backward_scratch_bytes(const SinkhornBackward<T>& p);

template <typename T>
cudaError_t sinkhorn_backward(const SinkhornBackward<T>& p, cudaStream_t stream);

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
struct TransportPlanBackward {
  const T* grad_plan; // [B, K, N]
  const T* cost;      // [B, K, N]
  const T* potential; // [B, K], -inf = the target takes no part
  const T* demand;    // [B, N]
  std::int64_t images, targets, pixels;
  double epsilon, demand_relaxation; // as TransportPlan
  void* scratch;     // transport_plan_backward_scratch_bytes(*this), 256-byte aligned
  T* grad_cost;      // [B, K, N]
  T* grad_potential; // [B, K]
  T* grad_demand;    // [B, N]
};

template <typename T>
std::int64_t transport_plan_backward_scratch_bytes(const TransportPlanBackward<T>& p);

template <typename T>
cudaError_t transport_plan_backward(const TransportPlanBackward<T>& p, cudaStream_t stream);

template <typename T>
cudaError_t transport_labels(const TransportLabels<T>& p, cudaStream_t stream);

template <typename T>
cudaError_t transport_plan(const TransportPlan<T>& p, cudaStream_t stream);

} // namespace point2mask::cuda
