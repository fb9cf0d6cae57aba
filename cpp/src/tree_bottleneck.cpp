#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "point2mask/tree.hpp"
#include "tree_passes.hpp"
#include "tree_rows.hpp"

namespace point2mask {
namespace {

using tree::Block;
using tree::Blocks;
using tree::kMaxLanes;
using tree::Planes;

template <typename Problem>
void check(const char* op, const Problem& d) {
  const auto reject = [&](const std::string& what, const std::string& got, std::int64_t image) {
    throw std::invalid_argument(std::string(op) + ": " + what + ", got " + got + " in image " +
                                std::to_string(image));
  };
  for (std::int64_t image = 0; image < d.images; ++image) {
    const auto* weight = d.weight + image * d.pixels;
    for (std::int64_t i = 1; i < d.pixels; ++i)
      if (!(weight[i] >= 0) || std::isinf(weight[i])) // NaN takes this branch
        reject("weight must be finite and not negative", std::to_string(weight[i]), image);
    const std::int32_t* seeds = d.seeds + image * d.targets * d.points;
    for (std::int64_t i = 0; i < d.targets * d.points; ++i)
      if (seeds[i] < -1 || seeds[i] >= d.pixels)
        reject("seeds must lie in [-1, " + std::to_string(d.pixels) + ")", std::to_string(seeds[i]),
               image);
  }
}

// Puts zero at the seeds of a block of targets and `far` elsewhere.
template <typename Problem, typename T>
void set_seeds(const Problem& d, const Block& block, const std::int32_t* rank, int lanes, T far,
               T* rows) {
  std::fill_n(rows, d.pixels * lanes, far);
  for (std::int64_t k = 0; k < block.count; ++k) {
    const std::int32_t* seeds = d.seeds + (block.image * d.targets + block.first + k) * d.points;
    for (std::int64_t i = 0; i < d.points; ++i)
      if (seeds[i] >= 0) rows[std::int64_t{rank[seeds[i]]} * lanes + k] = T(0);
  }
}

template <typename T>
Planes<T> planes_of(T* maps, std::int64_t targets, std::int64_t pixels, const Block& block) {
  Planes<T> planes;
  for (std::int64_t k = 0; k < block.count; ++k)
    planes.add(maps + (block.image * targets + block.first + k) * pixels);
  return planes;
}

// Ranks sorted by (weight, rank), the root in front; place[i] is where rank i went. Places stand
// in for weights and tell their edges apart.
template <typename T>
void sort_edges(const T* weight, std::int64_t pixels, std::int32_t* sorted, std::int32_t* place) {
  std::iota(sorted, sorted + pixels, 0);
  std::sort(sorted + 1, sorted + pixels, [&](std::int32_t a, std::int32_t b) {
    return weight[a] < weight[b] || (weight[a] == weight[b] && a < b);
  });
  for (std::int64_t i = 0; i < pixels; ++i) place[sorted[i]] = static_cast<std::int32_t>(i);
}

// gradient[place] += what the block's targets send to the edge there.
template <typename T>
void block_gradient(const BottleneckDistanceBackward<T>& d, const Block& block,
                    const std::int32_t* rank, const std::int32_t* place, std::int32_t* bottleneck,
                    T* grad, double* gradient) {
  const auto far = static_cast<std::int32_t>(d.pixels);
  const int lanes = tree::lanes_for(block.count);
  set_seeds(d, block, rank, lanes, far, bottleneck);
  tree::relax_rows(d.parent + block.image * d.pixels, place, d.pixels, lanes, bottleneck);
  tree::pixels_to_rows({.planes = planes_of(d.grad_distance, d.targets, d.pixels, block),
                        .divisor = nullptr,
                        .rank = rank,
                        .pixels = d.pixels,
                        .lanes = lanes,
                        .rows = grad});
  std::fill_n(gradient, d.pixels, 0.0);
  for (std::int64_t i = 0; i < d.pixels; ++i)
    for (std::int64_t k = 0; k < block.count; ++k) {
      const std::int32_t at = bottleneck[i * lanes + k];
      if (at > 0 && at < far) gradient[at] += static_cast<double>(grad[i * lanes + k]);
    }
}

} // namespace

template <typename T>
void bottleneck_distance(const BottleneckDistance<T>& d, const Executor& executor) {
  constexpr const char* kOp = "bottleneck_distance";
  check(kOp, d);
  if (d.images == 0 || d.pixels == 0) return;
  const auto rank = tree::ranks_of(kOp, d.order, d.parent, d.images, d.pixels, executor);
  const Blocks blocks{d.images, d.targets, kMaxLanes};
  executor.for_range(blocks.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    const auto rows = tree::new_rows<T>(d.pixels, blocks.lanes());
    for (std::int64_t task = begin; task < end; ++task) {
      const Block block = blocks[task];
      const std::int64_t base = block.image * d.pixels;
      const int lanes = tree::lanes_for(block.count);
      set_seeds(d, block, rank.data() + base, lanes, std::numeric_limits<T>::infinity(),
                rows.get());
      tree::relax_rows(d.parent + base, d.weight + base, d.pixels, lanes, rows.get());
      tree::rows_to_pixels({.rows = rows.get(),
                            .rank = rank.data() + base,
                            .pixels = d.pixels,
                            .lanes = lanes,
                            .divisor = nullptr,
                            .planes = planes_of(d.distance, d.targets, d.pixels, block)});
    }
  });
}

template <typename T>
void bottleneck_distance_backward(const BottleneckDistanceBackward<T>& d,
                                  const Executor& executor) {
  constexpr const char* kOp = "bottleneck_distance_backward";
  check(kOp, d);
  if (d.images == 0 || d.pixels == 0) return;
  const auto rank = tree::ranks_of(kOp, d.order, d.parent, d.images, d.pixels, executor);
  const auto entries = static_cast<std::size_t>(d.images * d.pixels);
  std::vector<std::int32_t> sorted(entries);
  std::vector<std::int32_t> place(entries);
  executor.for_range(d.images, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t image = begin; image < end; ++image) {
      const std::int64_t base = image * d.pixels;
      sort_edges(d.weight + base, d.pixels, sorted.data() + base, place.data() + base);
    }
  });
  const Blocks blocks{d.images, d.targets, kMaxLanes};
  std::vector<double> partial(static_cast<std::size_t>(blocks.count() * d.pixels));
  executor.for_range(blocks.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    const auto bottleneck = tree::new_rows<std::int32_t>(d.pixels, blocks.lanes());
    const auto grad = tree::new_rows<T>(d.pixels, blocks.lanes());
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t base = blocks[task].image * d.pixels;
      block_gradient(d, blocks[task], rank.data() + base, place.data() + base, bottleneck.get(),
                     grad.get(), partial.data() + task * d.pixels);
    }
  });
  executor.for_range(d.images, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t image = begin; image < end; ++image) {
      const double* share = partial.data() + image * blocks.per_image() * d.pixels;
      for (std::int64_t i = 0; i < d.pixels; ++i) {
        double sum = 0.0;
        for (std::int64_t b = 0; b < blocks.per_image(); ++b) sum += share[b * d.pixels + i];
        const std::int64_t base = image * d.pixels;
        d.grad_weight[base + sorted[static_cast<std::size_t>(base + i)]] = static_cast<T>(sum);
      }
    }
  });
}

template void bottleneck_distance(const BottleneckDistance<float>&, const Executor&);
template void bottleneck_distance(const BottleneckDistance<double>&, const Executor&);
template void bottleneck_distance_backward(const BottleneckDistanceBackward<float>&,
                                           const Executor&);
template void bottleneck_distance_backward(const BottleneckDistanceBackward<double>&,
                                           const Executor&);

} // namespace point2mask
