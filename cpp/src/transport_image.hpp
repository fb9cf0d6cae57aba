#pragma once

// What the operators that start from a potential share: the targets of an image that take part,
// and parameters derived from epsilon and the relaxation.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

#include "transport_inspect.hpp"
#include "transport_tile.hpp"

namespace point2mask::transport {

template <typename T>
RowModel<T> row_model(double epsilon, double demand_relaxation) {
  const Damping rows(demand_relaxation, epsilon);
  return {.scale = static_cast<T>(std::numbers::log2e / epsilon),
          .row_scale = static_cast<T>(rows.complement * std::numbers::log2e / epsilon),
          .lambda = static_cast<T>(rows.lambda),
          .complement = static_cast<T>(rows.complement)};
}

// The targets with a potential > -inf, and their potentials.
template <typename T>
struct ActiveTargets {
  std::vector<std::int64_t> index;
  std::vector<T> potential;

  ActiveTargets(const T* all, std::int64_t targets) {
    for (std::int64_t k = 0; k < targets; ++k)
      if (all[k] > -kInfinity<T>) {
        index.push_back(k);
        potential.push_back(all[k]);
      }
  }
  std::int64_t count() const { return static_cast<std::int64_t>(index.size()); }
  template <typename Stored>
  Columns<Stored> columns(const Stored* cost, std::int64_t stride) const {
    return {.data = cost, .stride = stride, .index = index.data(), .count = count()};
  }
  // Zeros for the targets that take no part, in `pixels` entries of every row of out [K, stride].
  void clear_others(T* out, std::int64_t targets, std::int64_t stride, std::int64_t pixels) const {
    auto next = index.begin();
    for (std::int64_t k = 0; k < targets; ++k) {
      if (next != index.end() && *next == k)
        ++next;
      else
        std::fill_n(out + k * stride, pixels, T(0));
    }
  }
};

template <typename T>
std::vector<ActiveTargets<T>> active_targets(const T* potential, std::int64_t images,
                                             std::int64_t targets) {
  std::vector<ActiveTargets<T>> active;
  active.reserve(static_cast<std::size_t>(images));
  for (std::int64_t b = 0; b < images; ++b) active.emplace_back(potential + b * targets, targets);
  return active;
}

// body(image, chunk, scratch) for all chunks of all images, scratch of `size` values.
template <typename T, typename Body>
void for_chunks(const Executor& executor, std::int64_t images, std::int64_t pixels,
                std::size_t size, Body body) {
  const std::int64_t chunks = chunks_of(pixels);
  executor.for_range(images * chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<T> scratch(size);
    for (std::int64_t i = begin; i < end; ++i) body(i / chunks, i % chunks, scratch.data());
  });
}

} // namespace point2mask::transport
