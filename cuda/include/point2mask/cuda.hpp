#pragma once

// What the CUDA engine runs: the problems of the CPU engine's headers, for float and double, with
// pointers to memory of the current device. run() launches on `stream` and does not wait;
// `scratch` has scratch_bytes(p) bytes, aligned to 256. Nobody looks at values, since the host
// would have to wait for them: each part below says what comes of bad ones. Parameters are checked
// by check(), where the header has one. C++17, torch-free.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "point2mask/deformable.hpp"
#include "point2mask/geodesic.hpp"
#include "point2mask/masks.hpp"
#include "point2mask/pairs.hpp"
#include "point2mask/transport.hpp"
#include "point2mask/tree.hpp"

namespace point2mask::cuda {

// --- transport: masses must be finite and not negative, costs neither NaN nor -inf, totals equal
// where both marginals are fixed, and the initial potential finite where a target takes part. A
// NaN is never chosen as a label.

// Bytes of Sinkhorn and SinkhornNewton depend on the current device; 0 if it cannot be asked, which
// run() then reports.
template <typename T, typename Stored>
std::int64_t scratch_bytes(const Sinkhorn<T, Stored>& p);
template <typename T, typename Stored>
cudaError_t run(const Sinkhorn<T, Stored>& p, void* scratch, cudaStream_t stream);

// How the current device runs a problem of this size. All three follow the same trajectory; which
// one is taken depends on K and N, not on the batch.
enum class SinkhornVariant {
  resident,    // the kernel matrix of an image stays in shared memory; the cost is read once
  streaming,   // it is rebuilt in every iteration, piece by piece; the cost is read once in each
  logarithmic, // not even a tile of all targets fits: log domain, the cost is read twice in each
};
template <typename T, typename Stored>
cudaError_t sinkhorn_variant(const Sinkhorn<T, Stored>& p, SinkhornVariant* variant);

template <typename T, typename Stored>
std::int64_t scratch_bytes(const SinkhornNewton<T, Stored>& p);
template <typename T, typename Stored>
cudaError_t run(const SinkhornNewton<T, Stored>& p, void* scratch, cudaStream_t stream);

template <typename T>
std::int64_t scratch_bytes(const SinkhornBackward<T>& p);
template <typename T>
cudaError_t run(const SinkhornBackward<T>& p, void* scratch, cudaStream_t stream);

template <typename T, typename Stored>
std::int64_t scratch_bytes(const TransportPlan<T, Stored>&) {
  return 0;
}
template <typename T, typename Stored>
cudaError_t run(const TransportPlan<T, Stored>& p, void* scratch, cudaStream_t stream);

template <typename T>
std::int64_t scratch_bytes(const TransportPlanBackward<T>& p);
template <typename T>
cudaError_t run(const TransportPlanBackward<T>& p, void* scratch, cudaStream_t stream);

template <typename T, typename Stored>
std::int64_t scratch_bytes(const TransportLabels<T, Stored>&) {
  return 0;
}
template <typename T, typename Stored>
cudaError_t run(const TransportLabels<T, Stored>& p, void* scratch, cudaStream_t stream);

// --- trees: a weight that is NaN counts as heavier than all numbers if its sign bit is 0, else as
// lighter. An order that is no permutation or a parent that is no lower rank gives a meaningless
// result, but no access outside the arrays.

template <typename T>
std::int64_t scratch_bytes(const SpanningTree<T>& p);
template <typename T>
cudaError_t run(const SpanningTree<T>& p, void* scratch, cudaStream_t stream);

template <typename T>
std::int64_t scratch_bytes(const TreeFilter<T>& p);
template <typename T>
cudaError_t run(const TreeFilter<T>& p, void* scratch, cudaStream_t stream);

template <typename T>
std::int64_t scratch_bytes(const TreeFilterBackward<T>& p);
template <typename T>
cudaError_t run(const TreeFilterBackward<T>& p, void* scratch, cudaStream_t stream);

// --- geodesics: a step whose cost is negative or NaN counts as a wall, a seed outside [0, H * W)
// as padding. Distances and gradients have the bits of the CPU engine.

// Bytes depend on the current device; 0 if it cannot be asked, which run() then reports.
template <typename T>
std::int64_t scratch_bytes(const GeodesicDistance<T>& p);
template <typename T>
cudaError_t run(const GeodesicDistance<T>& p, void* scratch, cudaStream_t stream);

template <typename T>
std::int64_t scratch_bytes(const GeodesicDistanceBackward<T>& p);
template <typename T>
cudaError_t run(const GeodesicDistanceBackward<T>& p, void* scratch, cudaStream_t stream);

// --- pairs: where a logit of a valid pixel is not finite, the loss of its image means nothing; a
// colour that is not finite is like no other.

template <typename T>
std::int64_t scratch_bytes(const NeighborDifference<T>&) {
  return 0;
}
template <typename T>
cudaError_t run(const NeighborDifference<T>& p, void* scratch, cudaStream_t stream);

template <typename T>
std::int64_t scratch_bytes(const NeighborDifferenceBackward<T>&) {
  return 0;
}
template <typename T>
cudaError_t run(const NeighborDifferenceBackward<T>& p, void* scratch, cudaStream_t stream);

template <typename T>
std::int64_t scratch_bytes(const LabAffinityLoss<T>& p);
template <typename T>
cudaError_t run(const LabAffinityLoss<T>& p, void* scratch, cudaStream_t stream);

template <typename T>
std::int64_t scratch_bytes(const LabAffinityLossBackward<T>& p);
template <typename T>
cudaError_t run(const LabAffinityLossBackward<T>& p, void* scratch, cudaStream_t stream);

template <typename T>
std::int64_t scratch_bytes(const BoundaryLoss<T>& p);
template <typename T>
cudaError_t run(const BoundaryLoss<T>& p, void* scratch, cudaStream_t stream);

template <typename T>
std::int64_t scratch_bytes(const BoundaryLossBackward<T>&) {
  return 0;
}
template <typename T>
cudaError_t run(const BoundaryLossBackward<T>& p, void* scratch, cudaStream_t stream);

// --- masks: labels outside [0, K) count for nothing.

std::int64_t scratch_bytes(const MaskStatistics& p);
cudaError_t run(const MaskStatistics& p, void* scratch, cudaStream_t stream);

// --- deformable attention: `shapes` lie on the host and are read before run() returns.

// Maps travel as kernel arguments.
inline constexpr std::int64_t kMostDeformableLevels = 16;

// Throws std::invalid_argument for more maps than that; for the gradients also where Q * P or the
// cells of a map with a rim, (h + 1) (w + 1), pass 2^31. The CPU engine has no such limits.
template <typename T>
void check_limits(const DeformableAttention<T>& p);
template <typename T>
void check_limits(const DeformableAttentionBackward<T>& p);

template <typename T>
std::int64_t scratch_bytes(const DeformableAttention<T>&) {
  return 0;
}
template <typename T>
cudaError_t run(const DeformableAttention<T>& p, void* scratch, cudaStream_t stream);

// 4 bytes a sample and 64 a cell, head and image, or a little more.
template <typename T>
std::int64_t scratch_bytes(const DeformableAttentionBackward<T>& p);
template <typename T>
cudaError_t run(const DeformableAttentionBackward<T>& p, void* scratch, cudaStream_t stream);

} // namespace point2mask::cuda
