// transport_plan with its gradient, and transport_labels.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "point2mask/transport.hpp"
#include "transport_image.hpp"

namespace point2mask {
namespace transport {
namespace {

template <typename T, typename Stored = T>
struct PlanChunk {
  Columns<Stored> cost; // pointers at the chunk's first pixel, here and below
  const T* potential;   // [columns]
  const T* demand;      // [pixels]
  std::int64_t pixels;
  RowModel<T> model;
  T* tile; // [columns, 32] scratch
  T* plan; // [K, N]
};

template <typename T, typename Stored>
POINT2MASK_INLINE void plan(const PlanChunk<T, Stored>& s) {
  for (std::int64_t i = 0; i < s.pixels; i += kTile) {
    const std::int64_t lanes = std::min(kTile, s.pixels - i);
    T row[kTile];
    softmax_tile(s.cost, s.potential, s.model, i, lanes, s.tile, row);
    for (std::int64_t j = 0; j < lanes; ++j) row[j] *= s.demand[i + j];
    for (std::int64_t k = 0; k < s.cost.count; ++k) {
      const T* __restrict tile = s.tile + k * kTile;
      T* __restrict out = s.plan + s.cost.index[k] * s.cost.stride + i;
      for (std::int64_t j = 0; j < lanes; ++j) out[j] = tile[j] * row[j];
    }
  }
}

template <typename T>
struct PlanBackwardChunk {
  PlanChunk<T> forward;
  const T* grad_plan; // [K, N]
  T inverse_epsilon;
  T* grad_cost;       // [K, N]
  T* grad_demand;     // [pixels]
  T* potential_lanes; // [columns, 8] lane sums of the chunk's share of grad_potential
};

// With S the softmax of a row and q = sum_k G_k S_k: dP_k = P_k (dx_k - lambda sum_l S_l dx_l),
// x = (potential - cost) / epsilon, so that dL/dx_k = P_k (G_k - lambda q).
template <typename T>
POINT2MASK_INLINE void plan_backward(const PlanBackwardChunk<T>& s) {
  const PlanChunk<T>& f = s.forward;
  const T lambda = f.model.lambda, scale = s.inverse_epsilon;
  for (std::int64_t i = 0; i < f.cost.count * kLanes; ++i) s.potential_lanes[i] = 0;
  for (std::int64_t i = 0; i < f.pixels; i += kTile) {
    const std::int64_t lanes = std::min(kTile, f.pixels - i);
    T factor[kTile], row[kTile] = {}, mean[kTile] = {};
    softmax_tile(f.cost, f.potential, f.model, i, lanes, f.tile, factor);
    for (std::int64_t j = 0; j < lanes; ++j) row[j] = factor[j] * f.demand[i + j] * scale;
    for (std::int64_t k = 0; k < f.cost.count; ++k) {
      const T* __restrict grad = s.grad_plan + f.cost.index[k] * f.cost.stride + i;
      for (std::int64_t j = 0; j < lanes; ++j) mean[j] += grad[j] * f.tile[k * kTile + j];
    }
    for (std::int64_t j = 0; j < lanes; ++j) s.grad_demand[i + j] = factor[j] * mean[j];
    for (std::int64_t k = 0; k < f.cost.count; ++k) {
      const std::int64_t plane = f.cost.index[k] * f.cost.stride + i;
      const T* __restrict grad = s.grad_plan + plane;
      T* __restrict out = s.grad_cost + plane;
      T* __restrict tile = f.tile + k * kTile;
      for (std::int64_t j = 0; j < lanes; ++j)
        tile[j] = row[j] * tile[j] * (grad[j] - lambda * mean[j]);
      for (std::int64_t j = 0; j < lanes; ++j) out[j] = -tile[j];
      add_row(tile, s.potential_lanes + k * kLanes);
    }
  }
}

POINT2MASK_MULTIARCH void plan_backward_chunk(const PlanBackwardChunk<float>& s) {
  plan_backward(s);
}
POINT2MASK_MULTIARCH void plan_backward_chunk(const PlanBackwardChunk<double>& s) {
  plan_backward(s);
}

template <typename T, typename Stored>
struct LabelChunk {
  const Stored* cost; // [K, N]
  const T* potential; // [K]
  const T* demand;    // [pixels]
  std::int64_t targets, stride, pixels;
  T* best;              // [pixels] scratch
  std::int32_t* labels; // [pixels]
};

// Planes in order: the cost is streamed once, the running minimum stays in the first-level cache.
template <typename T, typename Stored>
POINT2MASK_INLINE void label(const LabelChunk<T, Stored>& s) {
  T* __restrict best = s.best;
  std::int32_t* __restrict labels = s.labels;
  for (std::int64_t i = 0; i < s.pixels; ++i) {
    best[i] = kInfinity<T>;
    labels[i] = -1;
  }
  for (std::int64_t k = 0; k < s.targets; ++k) {
    const Stored* __restrict c = s.cost + k * s.stride;
    const T u = s.potential[k];
    const auto target = static_cast<std::int32_t>(k);
    for (std::int64_t i = 0; i < s.pixels; ++i) {
      const T d = read_cost(c[i]) - u;
      labels[i] = d < best[i] ? target : labels[i];
      best[i] = d < best[i] ? d : best[i];
    }
  }
  for (std::int64_t i = 0; i < s.pixels; ++i) labels[i] = s.demand[i] > 0 ? labels[i] : -1;
}

#define POINT2MASK_DEFINE(T, Stored)                                               \
  POINT2MASK_MULTIARCH void plan_chunk(const PlanChunk<T, Stored>& s) { plan(s); } \
  POINT2MASK_MULTIARCH void label_chunk(const LabelChunk<T, Stored>& s) { label(s); }
POINT2MASK_FOR_COSTS(POINT2MASK_DEFINE)
#undef POINT2MASK_DEFINE

// Struct is TransportPlan or TransportPlanBackward: both name these inputs alike.
template <typename T, typename Stored, typename Struct>
PlanChunk<T, Stored> forward_chunk(const Struct& s, const ActiveTargets<T>& active,
                                   const RowModel<T>& model, std::int64_t image, std::int64_t chunk,
                                   T* tile, T* out) {
  const std::int64_t first = chunk * kChunk;
  return {.cost = active.columns(s.cost + image * s.targets * s.pixels + first, s.pixels),
          .potential = active.potential.data(),
          .demand = s.demand + image * s.pixels + first,
          .pixels = std::min(kChunk, s.pixels - first),
          .model = model,
          .tile = tile,
          .plan = out};
}

} // namespace
} // namespace transport

using namespace transport; // NOLINT(google-build-using-namespace)

template <typename T, typename Stored>
void run(const TransportPlan<T, Stored>& s, const Executor& executor) {
  check(s);
  const RowModel<T> model = row_model<T>(s.epsilon, s.demand_relaxation);
  const auto active = active_targets(s.potential, s.images, s.targets);
  for_chunks<T>(executor, s.images, s.pixels, static_cast<std::size_t>(s.targets * kTile),
                [&](std::int64_t image, std::int64_t chunk, T* scratch) {
                  const ActiveTargets<T>& a = active[static_cast<std::size_t>(image)];
                  T* out = s.plan + image * s.targets * s.pixels + chunk * kChunk;
                  const auto c = forward_chunk<T, Stored>(s, a, model, image, chunk, scratch, out);
                  a.clear_others(out, s.targets, s.pixels, c.pixels);
                  plan_chunk(c);
                });
}

template <typename T>
void run(const TransportPlanBackward<T>& s, const Executor& executor) {
  check(s);
  const RowModel<T> model = row_model<T>(s.epsilon, s.demand_relaxation);
  const auto active = active_targets(s.potential, s.images, s.targets);
  const std::int64_t chunks = chunks_of(s.pixels);
  std::vector<double> parts(static_cast<std::size_t>(s.images * chunks * s.targets));
  const auto size = static_cast<std::size_t>(s.targets * (kTile + kLanes));
  for_chunks<T>(executor, s.images, s.pixels, size,
                [&](std::int64_t image, std::int64_t chunk, T* scratch) {
                  const ActiveTargets<T>& a = active[static_cast<std::size_t>(image)];
                  const std::int64_t offset = image * s.targets * s.pixels + chunk * kChunk;
                  T* lanes = scratch + s.targets * kTile;
                  const PlanBackwardChunk<T> c{
                      .forward = forward_chunk<T, T>(s, a, model, image, chunk, scratch, nullptr),
                      .grad_plan = s.grad_plan + offset,
                      .inverse_epsilon = static_cast<T>(1 / s.epsilon),
                      .grad_cost = s.grad_cost + offset,
                      .grad_demand = s.grad_demand + image * s.pixels + chunk * kChunk,
                      .potential_lanes = lanes};
                  a.clear_others(c.grad_cost, s.targets, s.pixels, c.forward.pixels);
                  plan_backward_chunk(c);
                  double* part = parts.data() + (image * chunks + chunk) * s.targets;
                  for (std::int64_t k = 0; k < a.count(); ++k)
                    part[k] = sum_lanes(lanes + k * kLanes);
                });
  std::fill_n(s.grad_potential, s.images * s.targets, T(0));
  for (std::int64_t image = 0; image < s.images; ++image) {
    const ActiveTargets<T>& a = active[static_cast<std::size_t>(image)];
    for (std::size_t k = 0; k < a.index.size(); ++k) {
      double sum = 0;
      for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
        sum += parts[static_cast<std::size_t>((image * chunks + chunk) * s.targets) + k];
      s.grad_potential[image * s.targets + a.index[k]] = static_cast<T>(sum);
    }
  }
}

template <typename T, typename Stored>
void run(const TransportLabels<T, Stored>& s, const Executor& executor) {
  for_chunks<T>(executor, s.images, s.pixels, static_cast<std::size_t>(kChunk),
                [&](std::int64_t image, std::int64_t chunk, T* scratch) {
                  const std::int64_t first = image * s.pixels + chunk * kChunk;
                  label_chunk(LabelChunk<T, Stored>{
                      .cost = s.cost + image * s.targets * s.pixels + chunk * kChunk,
                      .potential = s.potential + image * s.targets,
                      .demand = s.demand + first,
                      .targets = s.targets,
                      .stride = s.pixels,
                      .pixels = std::min(kChunk, s.pixels - chunk * kChunk),
                      .best = scratch,
                      .labels = s.labels + first});
                });
}

template void run(const TransportPlanBackward<float>&, const Executor&);
template void run(const TransportPlanBackward<double>&, const Executor&);
#define POINT2MASK_INSTANTIATE(T, Stored)                              \
  template void run(const TransportPlan<T, Stored>&, const Executor&); \
  template void run(const TransportLabels<T, Stored>&, const Executor&);
POINT2MASK_FOR_COSTS(POINT2MASK_INSTANTIATE)
#undef POINT2MASK_INSTANTIATE

} // namespace point2mask
