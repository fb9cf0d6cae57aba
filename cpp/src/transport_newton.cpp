// Newton's method for the balanced problem's semi-dual, whose variables are the K potentials: with
// a softmax over the targets every pixel gives exactly its demand, and what is left is m(u) = b.
//   epsilon dm/du = diag(m) - P^T S  (S the rows' softmaxes), the graph Laplacian of the gradient.
// Steps solve the equation of log m (log b: far from the solution a Sinkhorn step, near it
// Newton's). From a blurred problem, where one step suffices, epsilon goes down along the curve of
// solutions u(epsilon): predicted from its tangent, corrected by the same step, at a rate that
// keeps the corrections near half an epsilon (Allgower, Georg 1990, chapter 6). All in double.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <utility>
#include <vector>

#include "point2mask/parallel.hpp"
#include "point2mask/transport.hpp"
#include "transport_image.hpp"
#include "transport_laplacian.hpp"
#include "transport_path.hpp"

namespace point2mask {
namespace transport {
namespace {

constexpr double kBlur = 8; // the first epsilon is the largest spread of a pixel's costs / 8

// One read of a chunk: coupling P^T S and the masses' derivative with respect to log epsilon.
template <typename T, typename Stored>
struct PassChunk {
  Columns<Stored> cost; // data at the chunk's first pixel
  const double* potential;
  const T* demand;
  std::int64_t pixels, width; // width: columns rounded up to lanes
  double scale;               // log2(e) / epsilon
  double* tile;               // [columns, 32] scratch
  double* exponents;          // [columns, 32] scratch
  double* rows;               // [32, width] scratch
  double* coupling;           // [columns, width] += of which l >= k is filled
  double* tilt;               // [columns] +=
};

template <typename T, typename Stored>
POINT2MASK_INLINE void pass(const PassChunk<T, Stored>& s) {
  const std::int64_t columns = s.cost.count, width = s.width;
  double* __restrict rows = s.rows;
  std::fill_n(rows, kTile * width, 0.0);
  for (std::int64_t i = 0; i < s.pixels; i += kTile) {
    const std::int64_t lanes = std::min(kTile, s.pixels - i);
    alignas(64) double row_max[kTile], sums[kTile], mean[kTile], mass[kTile] = {};
    for (std::int64_t k = 0; k < columns; ++k) {
      const Stored* __restrict c = s.cost.data + s.cost.index[k] * s.cost.stride + i;
      double* __restrict t = s.tile + k * kTile;
      for (std::int64_t j = 0; j < lanes; ++j)
        t[j] = s.potential[k] - static_cast<double>(read_cost(c[j]));
      for (std::int64_t j = lanes; j < kTile; ++j) t[j] = -kInfinity<double>;
    }
    row_maxima(s.tile, columns, row_max);
    for (std::int64_t k = 0; k < columns; ++k) {
      double* __restrict t = s.tile + k * kTile;
      double* __restrict e = s.exponents + k * kTile;
      for (std::int64_t j = 0; j < kTile; ++j) {
        t[j] = (t[j] - row_max[j]) * s.scale;
        e[j] = t[j] < kFlush<double> ? kFlush<double> : t[j]; // finite, so that 0 times it is 0
      }
      exponential_column(t);
    }
    row_sums(s.tile, columns, sums);
    for (std::int64_t j = 0; j < lanes; ++j)
      mass[j] = sums[j] > 0 ? static_cast<double>(s.demand[i + j]) : 0;
    for (std::int64_t j = 0; j < kTile; ++j) {
      sums[j] = sums[j] > 0 ? 1 / sums[j] : 0;
      mean[j] = 0;
    }
    for (std::int64_t k = 0; k < columns; ++k) {
      double* __restrict t = s.tile + k * kTile;
      const double* __restrict e = s.exponents + k * kTile;
      for (std::int64_t j = 0; j < kTile; ++j) {
        t[j] *= sums[j];
        mean[j] += t[j] * e[j];
      }
    }
    for (std::int64_t k = 0; k < columns; ++k) {
      const double* __restrict t = s.tile + k * kTile;
      const double* __restrict e = s.exponents + k * kTile;
      double lane[kLanes] = {};
      for (std::int64_t j = 0; j < kTile; j += kLanes)
        for (std::int64_t l = 0; l < kLanes; ++l)
          lane[l] += mass[j + l] * t[j + l] * (e[j + l] - mean[j + l]);
      s.tilt[k] -= std::numbers::ln2 * sum_lanes(lane);
      for (std::int64_t j = 0; j < kTile; ++j) rows[j * width + k] = t[j];
    }
    add_couplings(rows, mass, columns, width, s.coupling);
  }
}

#define POINT2MASK_DEFINE(T, Stored) \
  POINT2MASK_MULTIARCH void pass_chunk(const PassChunk<T, Stored>& s) { pass(s); }
POINT2MASK_FOR_COSTS(POINT2MASK_DEFINE)
#undef POINT2MASK_DEFINE

// The largest difference between finite costs of one pixel with demand.
template <typename T, typename Stored>
double spread_of_chunk(const Columns<Stored>& cost, const T* demand, std::int64_t pixels) {
  double largest = 0;
  for (std::int64_t i = 0; i < pixels; i += kTile) {
    const std::int64_t lanes = std::min(kTile, pixels - i);
    T low[kTile], high[kTile];
    std::fill_n(low, kTile, kInfinity<T>);
    std::fill_n(high, kTile, -kInfinity<T>);
    for (std::int64_t k = 0; k < cost.count; ++k) {
      const Stored* __restrict c = cost.data + cost.index[k] * cost.stride + i;
      for (std::int64_t j = 0; j < lanes; ++j) {
        const T value = read_cost(c[j]);
        low[j] = value < low[j] ? value : low[j];
        high[j] = value < kInfinity<T> && value > high[j] ? value : high[j];
      }
    }
    for (std::int64_t j = 0; j < lanes; ++j)
      if (demand[i + j] > 0 && low[j] < high[j])
        largest = std::max(largest, static_cast<double>(high[j]) - static_cast<double>(low[j]));
  }
  return largest;
}

template <typename T, typename Stored>
class Newton {
 public:
  Newton(const SinkhornNewton<T, Stored>& s, const Executor& executor)
      : s_(s),
        executor_(executor),
        chunks_(chunks_of(s.pixels)),
        width_(whole_lanes(s.targets)),
        parts_(parts_of(chunks_, values())) {}

  void run(const std::vector<ImageMass>& masses) {
    const std::int64_t group = images_of(parts_ * values());
    sums_.resize(static_cast<std::size_t>(std::min(group, s_.images) * parts_ * values()));
    for (std::int64_t first = 0; first < s_.images; first += group) {
      paths_.assign(static_cast<std::size_t>(std::min(group, s_.images - first)), Path());
      start(first, masses);
      while (iterate(first)) {
      }
      for (std::size_t slot = 0; slot < paths_.size(); ++slot)
        publish(first + static_cast<std::int64_t>(slot), paths_[slot]);
    }
  }

 private:
  std::int64_t values() const { return s_.targets * (width_ + 1); }
  double* sums(std::int64_t place) { return sums_.data() + place * values(); }
  Columns<Stored> cost(std::int64_t image, std::int64_t chunk, const Path& p) const {
    return {.data = s_.cost + image * s_.targets * s_.pixels + chunk * kChunk,
            .stride = s_.pixels,
            .index = p.targets.data(),
            .count = p.columns()};
  }
  const T* demand(std::int64_t image, std::int64_t chunk) const {
    return s_.demand + image * s_.pixels + chunk * kChunk;
  }
  std::int64_t pixels(std::int64_t chunk) const {
    return std::min(kChunk, s_.pixels - chunk * kChunk);
  }

  void start(std::int64_t first, const std::vector<ImageMass>& masses) {
    const auto count = static_cast<std::int64_t>(paths_.size());
    for (std::int64_t slot = 0; slot < count; ++slot) {
      Path& p = paths_[static_cast<std::size_t>(slot)];
      p.targets = masses[static_cast<std::size_t>(first + slot)].targets;
      p.potential.resize(p.targets.size());
      p.target_epsilon = s_.epsilon;
      p.running = !p.targets.empty();
      for (const std::int64_t k : p.targets) {
        p.supply.push_back(static_cast<double>(s_.supply[(first + slot) * s_.targets + k]));
        p.supply_total += p.supply.back();
      }
    }
    Vectord spread(static_cast<std::size_t>(count * chunks_));
    executor_.for_range(count * chunks_, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t slot = i / chunks_, chunk = i % chunks_;
        spread[static_cast<std::size_t>(i)] =
            spread_of_chunk(cost(first + slot, chunk, paths_[static_cast<std::size_t>(slot)]),
                            demand(first + slot, chunk), pixels(chunk));
      }
    });
    for (std::int64_t slot = 0; slot < count; ++slot) {
      Path& p = paths_[static_cast<std::size_t>(slot)];
      p.first_epsilon = s_.epsilon;
      for (std::int64_t chunk = 0; chunk < chunks_; ++chunk)
        p.first_epsilon = std::max(
            p.first_epsilon, spread[static_cast<std::size_t>(slot * chunks_ + chunk)] / kBlur);
      p.start_blurred();
      if (!s_.initial_potential) continue;
      p.warm = true;
      p.epsilon = s_.epsilon;
      for (std::size_t k = 0; k < p.targets.size(); ++k)
        p.potential[k] =
            static_cast<double>(s_.initial_potential[(first + slot) * s_.targets + p.targets[k]]);
    }
  }

  // A pass for the images that still run; false if there are none.
  bool iterate(std::int64_t first) {
    chosen_.clear();
    for (std::size_t slot = 0; slot < paths_.size(); ++slot)
      if (paths_[slot].running && paths_[slot].iterations < s_.max_iterations)
        chosen_.push_back(static_cast<std::int64_t>(slot));
    const auto count = static_cast<std::int64_t>(chosen_.size());
    executor_.for_range(count * parts_, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        sum_part(first, chosen_[static_cast<std::size_t>(i / parts_)], i % parts_);
    });
    executor_.for_range(count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) collect(chosen_[static_cast<std::size_t>(i)]);
    });
    return count > 0;
  }

  void sum_part(std::int64_t first, std::int64_t slot, std::int64_t part) {
    const Path& p = paths_[static_cast<std::size_t>(slot)];
    const std::int64_t n = p.columns();
    Vectord scratch(static_cast<std::size_t>(2 * n * kTile + kTile * width_));
    double* coupling = sums(slot * parts_ + part);
    std::fill_n(coupling, values(), 0.0);
    for (std::int64_t c = part * chunks_ / parts_; c < (part + 1) * chunks_ / parts_; ++c)
      pass_chunk(PassChunk<T, Stored>{.cost = cost(first + slot, c, p),
                                      .potential = p.potential.data(),
                                      .demand = demand(first + slot, c),
                                      .pixels = pixels(c),
                                      .width = width_,
                                      .scale = std::numbers::log2e / p.epsilon,
                                      .tile = scratch.data(),
                                      .exponents = scratch.data() + n * kTile,
                                      .rows = scratch.data() + 2 * n * kTile,
                                      .coupling = coupling,
                                      .tilt = coupling + s_.targets * width_});
  }

  // Always in the same order, whatever the threads.
  void collect(std::int64_t slot) {
    Path& p = paths_[static_cast<std::size_t>(slot)];
    const std::int64_t n = p.columns();
    Laplacian system{.weight = Vectord(static_cast<std::size_t>(n * n)),
                     .mass = {},
                     .lambda = 1,
                     .complement = 0,
                     .n = n};
    Vectord tilt(static_cast<std::size_t>(n));
    for (std::int64_t part = 0; part < parts_; ++part) {
      const double* partial = sums(slot * parts_ + part);
      for (std::int64_t k = 0; k < n; ++k) {
        for (std::int64_t l = k; l < n; ++l)
          system.weight[static_cast<std::size_t>(k * n + l)] += partial[k * width_ + l];
        tilt[static_cast<std::size_t>(k)] += partial[s_.targets * width_ + k];
      }
    }
    system.symmetrise();
    p.advance(system, std::move(tilt), s_.tolerance, p.iterations + 1 == s_.max_iterations);
  }

  void publish(std::int64_t image, const Path& p) const {
    T* out = s_.potential + image * s_.targets;
    std::fill_n(out, s_.targets, -kInfinity<T>);
    double mean = 0;
    for (const double u : p.potential) mean += u / static_cast<double>(p.columns());
    for (std::size_t k = 0; k < p.targets.size(); ++k)
      out[p.targets[k]] = static_cast<T>(p.potential[k] - mean);
    s_.iterations[image] = p.iterations;
    s_.marginal_error[image] = p.targets.empty() ? T(0) : static_cast<T>(p.error);
  }

  const SinkhornNewton<T, Stored>& s_;
  const Executor& executor_;
  const std::int64_t chunks_, width_, parts_;
  std::vector<Path> paths_;
  Vectord sums_; // [group, parts, K, width] and [K] behind each
  std::vector<std::int64_t> chosen_;
};

} // namespace
} // namespace transport

template <typename T, typename Stored>
void check(const SinkhornNewton<T, Stored>& s) {
  check<T, Stored>(static_cast<const Sinkhorn<T, Stored>&>(s));
  if (!std::isinf(s.supply_relaxation) || !std::isinf(s.demand_relaxation))
    throw std::invalid_argument(
        "sinkhorn: supply_relaxation and demand_relaxation must be infinite with method 'newton'");
}

template <typename T, typename Stored>
void run(const SinkhornNewton<T, Stored>& s, const Executor& executor) {
  check(s);
  const std::vector<transport::ImageMass> masses = transport::inspect_batch(s, executor);
  if (s.images > 0) transport::Newton<T, Stored>(s, executor).run(masses);
}

#define POINT2MASK_INSTANTIATE(T, Stored)                \
  template void check(const SinkhornNewton<T, Stored>&); \
  template void run(const SinkhornNewton<T, Stored>&, const Executor&);
POINT2MASK_FOR_COSTS(POINT2MASK_INSTANTIATE)
#undef POINT2MASK_INSTANTIATE

} // namespace point2mask
