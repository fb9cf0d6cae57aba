// Gradient of sinkhorn's potential by implicit differentiation. At the fixed point
//   u_k = lambda2 (u_k - epsilon log m_k) + epsilon log b_k,  m_k = sum_i P_ik,
// and with S the rows' softmaxes  epsilon dm_k/du_l = m_k [k = l] - lambda1 sum_i P_ik S_il, so
// that
//   H du = epsilon m db / b - lambda2 epsilon dm,  H = diag(m) - lambda1 lambda2 P^T S.
// One pass over the cost builds P^T S, a solve gives z = H^-1 grad_potential, a second pass gives
//   grad_cost_ik = lambda2 P_ik (z_k - lambda1 zbar_i),  zbar_i = sum_k z_k S_ik,
//   grad_demand_i = -lambda2 epsilon zbar_i sum_k P_ik / a_i,  grad_supply_k = epsilon m_k z_k /
//   b_k.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "point2mask/parallel.hpp"
#include "point2mask/transport.hpp"
#include "transport_image.hpp"
#include "transport_laplacian.hpp"

namespace point2mask {
namespace transport {
namespace {

template <typename T>
struct CouplingChunk {
  Columns<T> cost;    // pointers at the chunk's first pixel
  const T* potential; // [columns]
  const T* demand;    // [pixels]
  std::int64_t pixels;
  RowModel<T> model;
  std::int64_t width; // columns, rounded up to lanes
  T* tile;            // [columns, 32] scratch
  T* rows;            // [32, width] scratch
  T* sums;            // [columns, width] out: sum_i P_ik S_il, of which l >= k is filled
};

template <typename T>
POINT2MASK_INLINE void couple(const CouplingChunk<T>& s) {
  const std::int64_t columns = s.cost.count, width = s.width;
  T* __restrict sums = s.sums;
  T* __restrict rows = s.rows;
  for (std::int64_t i = 0; i < columns * width; ++i) sums[i] = 0;
  for (std::int64_t i = 0; i < kTile * width; ++i) rows[i] = 0;
  for (std::int64_t i = 0; i < s.pixels; i += kTile) {
    const std::int64_t lanes = std::min(kTile, s.pixels - i);
    T factor[kTile], mass[kTile] = {};
    softmax_tile(s.cost, s.potential, s.model, i, lanes, s.tile, factor);
    for (std::int64_t j = 0; j < lanes; ++j) mass[j] = factor[j] * s.demand[i + j];
    for (std::int64_t k = 0; k < columns; ++k)
      for (std::int64_t j = 0; j < kTile; ++j) rows[j * width + k] = s.tile[k * kTile + j];
    add_couplings(rows, mass, columns, width, sums);
  }
}

POINT2MASK_MULTIARCH void couple_chunk(const CouplingChunk<float>& s) { couple(s); }
POINT2MASK_MULTIARCH void couple_chunk(const CouplingChunk<double>& s) { couple(s); }

template <typename T>
struct GradientChunk {
  Columns<T> cost;    // pointers at the chunk's first pixel
  const T* potential; // [columns]
  const T* demand;    // [pixels]
  std::int64_t pixels;
  RowModel<T> model;
  const T* adjoint; // [columns] lambda2 z
  T epsilon;
  T* tile;        // [columns, 32] scratch
  T* grad_cost;   // [K, N]
  T* grad_demand; // [pixels]
};

template <typename T>
POINT2MASK_INLINE void differentiate(const GradientChunk<T>& s) {
  for (std::int64_t i = 0; i < s.pixels; i += kTile) {
    const std::int64_t lanes = std::min(kTile, s.pixels - i);
    T factor[kTile], mean[kTile], mass[kTile] = {};
    softmax_tile(s.cost, s.potential, s.model, i, lanes, s.tile, factor);
    row_sums(s.tile, s.cost.count, s.adjoint, mean);
    for (std::int64_t j = 0; j < lanes; ++j) {
      mass[j] = factor[j] * s.demand[i + j];
      s.grad_demand[i + j] = s.demand[i + j] > 0 ? -s.epsilon * factor[j] * mean[j] : 0;
    }
    for (std::int64_t k = 0; k < s.cost.count; ++k) {
      const T* __restrict tile = s.tile + k * kTile;
      T* __restrict out = s.grad_cost + s.cost.index[k] * s.cost.stride + i;
      const T z = s.adjoint[k];
      for (std::int64_t j = 0; j < lanes; ++j)
        out[j] = mass[j] * tile[j] * (z - s.model.lambda * mean[j]);
    }
  }
}

POINT2MASK_MULTIARCH void differentiate_chunk(const GradientChunk<float>& s) { differentiate(s); }
POINT2MASK_MULTIARCH void differentiate_chunk(const GradientChunk<double>& s) { differentiate(s); }

template <typename T>
class Gradient {
 public:
  Gradient(const SinkhornBackward<T>& s, const Executor& executor)
      : s_(s),
        executor_(executor),
        model_(row_model<T>(s.epsilon, s.demand_relaxation)),
        rows_(s.demand_relaxation, s.epsilon),
        columns_(s.supply_relaxation, s.epsilon),
        active_(active_targets(s.potential, s.images, s.targets)),
        adjoint_(static_cast<std::size_t>(s.images * s.targets)),
        chunks_(chunks_of(s.pixels)),
        width_(whole_lanes(s.targets)),
        parts_(parts_of(chunks_, s.targets * width_)) {}

  void run() {
    std::fill_n(s_.grad_supply, s_.images * s_.targets, T(0));
    const std::int64_t values = std::max<std::int64_t>(parts_ * s_.targets * width_, 1);
    const std::int64_t group = images_of(values);
    sums_.resize(static_cast<std::size_t>(std::min(group, s_.images) * values));
    for (std::int64_t first = 0; first < s_.images; first += group) {
      const std::int64_t count = std::min(group, s_.images - first);
      executor_.for_range(count * parts_, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) couple_part(first + i / parts_, i % parts_, i);
      });
      executor_.for_range(count, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) solve(first + i, i);
      });
    }
    differentiate_all();
  }

 private:
  const ActiveTargets<T>& active(std::int64_t image) const {
    return active_[static_cast<std::size_t>(image)];
  }
  Columns<T> cost(std::int64_t image, std::int64_t chunk) const {
    return active(image).columns(s_.cost + image * s_.targets * s_.pixels + chunk * kChunk,
                                 s_.pixels);
  }
  double* sums(std::int64_t place) { return sums_.data() + place * s_.targets * width_; }

  // Sums over a part's chunks in their order: in T within a chunk, in double beyond.
  void couple_part(std::int64_t image, std::int64_t part, std::int64_t place) {
    const std::int64_t columns = active(image).count();
    std::vector<T> scratch(static_cast<std::size_t>(columns * (kTile + width_) + kTile * width_));
    T* rows = scratch.data() + columns * kTile;
    T* chunk_sums = rows + kTile * width_;
    double* total = sums(place);
    std::fill_n(total, columns * width_, 0.0);
    for (std::int64_t c = part * chunks_ / parts_; c < (part + 1) * chunks_ / parts_; ++c) {
      couple_chunk(CouplingChunk<T>{.cost = cost(image, c),
                                    .potential = active(image).potential.data(),
                                    .demand = s_.demand + image * s_.pixels + c * kChunk,
                                    .pixels = std::min(kChunk, s_.pixels - c * kChunk),
                                    .model = model_,
                                    .width = width_,
                                    .tile = scratch.data(),
                                    .rows = rows,
                                    .sums = chunk_sums});
      for (std::int64_t i = 0; i < columns * width_; ++i)
        total[i] += static_cast<double>(chunk_sums[i]);
    }
  }

  void solve(std::int64_t image, std::int64_t place) {
    const ActiveTargets<T>& a = active(image);
    const std::int64_t n = a.count();
    const double complement =
        rows_.complement + columns_.complement - rows_.complement * columns_.complement;
    Laplacian system{.weight = std::vector<double>(static_cast<std::size_t>(n * n)),
                     .mass = {},
                     .lambda = rows_.lambda * columns_.lambda,
                     .complement = complement,
                     .n = n};
    for (std::int64_t part = 0; part < parts_; ++part)
      for (std::int64_t k = 0; k < n; ++k)
        for (std::int64_t l = k; l < n; ++l)
          system.weight[static_cast<std::size_t>(k * n + l)] +=
              sums(place * parts_ + part)[k * width_ + l];
    system.symmetrise();
    std::vector<double> z(static_cast<std::size_t>(n));
    for (std::size_t k = 0; k < z.size(); ++k)
      z[k] = static_cast<double>(s_.grad_potential[image * s_.targets + a.index[k]]);
    system.solve(z);
    for (std::size_t k = 0; k < z.size(); ++k) {
      const std::int64_t at = image * s_.targets + a.index[k];
      s_.grad_supply[at] =
          static_cast<T>(s_.epsilon * system.mass[k] * z[k] / static_cast<double>(s_.supply[at]));
      adjoint_[static_cast<std::size_t>(image * s_.targets) + k] =
          static_cast<T>(columns_.lambda * z[k]);
    }
  }

  void differentiate_all() {
    const auto size = static_cast<std::size_t>(s_.targets * kTile);
    for_chunks<T>(executor_, s_.images, s_.pixels, size,
                  [&](std::int64_t image, std::int64_t chunk, T* scratch) {
                    const std::int64_t row = image * s_.pixels + chunk * kChunk;
                    const GradientChunk<T> c{
                        .cost = cost(image, chunk),
                        .potential = active(image).potential.data(),
                        .demand = s_.demand + row,
                        .pixels = std::min(kChunk, s_.pixels - chunk * kChunk),
                        .model = model_,
                        .adjoint = adjoint_.data() + image * s_.targets,
                        .epsilon = static_cast<T>(s_.epsilon),
                        .tile = scratch,
                        .grad_cost = s_.grad_cost + image * s_.targets * s_.pixels + chunk * kChunk,
                        .grad_demand = s_.grad_demand + row};
                    active(image).clear_others(c.grad_cost, s_.targets, s_.pixels, c.pixels);
                    differentiate_chunk(c);
                  });
  }

  const SinkhornBackward<T>& s_;
  const Executor& executor_;
  const RowModel<T> model_;
  const Damping rows_, columns_; // lambda1, lambda2
  const std::vector<ActiveTargets<T>> active_;
  std::vector<T> adjoint_; // [B, K] lambda2 z of the active targets
  const std::int64_t chunks_, width_, parts_;
  std::vector<double> sums_; // [group, parts, K, width]
};

} // namespace
} // namespace transport

template <typename T>
void run(const SinkhornBackward<T>& s, const Executor& executor) {
  check(s);
  transport::Gradient<T>(s, executor).run();
}

template void run(const SinkhornBackward<float>&, const Executor&);
template void run(const SinkhornBackward<double>&, const Executor&);

} // namespace point2mask
