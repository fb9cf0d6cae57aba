#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "huge_pages.hpp"
#include "point2mask/parallel.hpp"
#include "point2mask/tree.hpp"
#include "tree_passes.hpp"
#include "tree_ranks.hpp"
#include "tree_rows.hpp"
#include "tree_single.hpp"

namespace point2mask {
namespace {

using tree::Block;
using tree::Blocks;
using tree::Planes;

// Without a branch in its loop; false for a NaN.
template <typename T>
bool within_unit(const T* values, std::int64_t count) {
  unsigned outside = 0;
  for (std::int64_t i = 0; i < count; ++i)
    outside |= values[i] >= T(0) && values[i] <= T(1) ? 0U : 1U;
  return outside == 0;
}

template <typename T>
void check_similarity(const TreeFilter<T>& f, const Executor& executor) {
  executor.for_range(f.images, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t image = begin; image < end; ++image) {
      const T* s = f.similarity + image * f.pixels;
      if (within_unit(s + 1, f.pixels - 1)) continue;
      for (std::int64_t i = 1; i < f.pixels; ++i)
        if (!(s[i] >= T(0) && s[i] <= T(1))) // NaN takes this branch
          throw std::invalid_argument("tree_filter: similarity must lie in [0, 1], got " +
                                      std::to_string(s[i]) + " in image " + std::to_string(image));
    }
  });
}

template <typename Problem>
std::size_t output_bytes(const Problem& f) {
  return static_cast<std::size_t>(f.images * f.channels * f.pixels) * sizeof(*f.similarity);
}

// The planes of a block of feature [B, C, N]; a channel behind the last is `behind`.
template <typename T>
Planes<T> planes_of(T* feature, std::int64_t channels, std::int64_t pixels, const Block& block,
                    T* behind = nullptr) {
  Planes<T> planes;
  for (std::int64_t c = block.first; c < block.first + block.count; ++c)
    planes.add(c < channels ? feature + (block.image * channels + c) * pixels : behind);
  return planes;
}

// One image on its way through the filter.
template <typename T>
struct Filtering {
  tree::Tree<T> tree;
  const std::int32_t* rank;
  const T* before; // [N] that the planes are divided by before they are filtered, or nullptr
  const T* after;  // [N] the same afterwards
};

template <template <typename> class Problem, typename T>
Filtering<T> filtering(const Problem<T>& f, std::int64_t image, const std::int32_t* rank,
                       const std::type_identity_t<T>* before,
                       const std::type_identity_t<T>* after) {
  const std::int64_t base = image * f.pixels;
  return {.tree = {f.parent + base, f.similarity + base, f.pixels},
          .rank = rank + base,
          .before = before,
          .after = after};
}

template <typename T>
void filter_planes(const Filtering<T>& f, const Planes<const T>& in, const Planes<T>& out,
                   T* rows) {
  const int lanes = tree::lanes_for(in.count);
  tree::pixels_to_rows({.planes = in,
                        .divisor = f.before,
                        .rank = f.rank,
                        .pixels = f.tree.pixels,
                        .lanes = lanes,
                        .rows = rows});
  tree::filter_rows(f.tree, lanes, rows);
  tree::rows_to_pixels({.rows = rows,
                        .rank = f.rank,
                        .pixels = f.tree.pixels,
                        .lanes = lanes,
                        .divisor = f.after,
                        .planes = out});
}

// sum_j S_ij of every pixel, [B, N] in pixel order.
template <typename T>
std::vector<T> normalizer_of(const TreeFilterBackward<T>& f, const std::int32_t* rank,
                             const Executor& executor) {
  std::vector<T> normalizer(static_cast<std::size_t>(f.images * f.pixels));
  executor.for_range(f.images, 1, [&](std::int64_t begin, std::int64_t end) {
    const auto rows = tree::new_rows<T>(f.pixels, tree::kMinLanes);
    for (std::int64_t image = begin; image < end; ++image) {
      Planes<const T> ones;
      Planes<T> sums;
      ones.add(nullptr), sums.add(normalizer.data() + image * f.pixels);
      filter_planes(filtering(f, image, rank, nullptr, nullptr), ones, sums, rows.get());
    }
  });
  return normalizer;
}

// -sum_c grad_output * output, [B, N]: times 1 / normalizer the gradient by the normalizer.
template <typename T>
std::vector<T> normalizer_gradient(const TreeFilterBackward<T>& f, const Executor& executor) {
  constexpr std::int64_t kChunk = 1024;
  std::vector<T> gradient(static_cast<std::size_t>(f.images * f.pixels));
  const std::int64_t chunks = (f.pixels + kChunk - 1) / kChunk;
  executor.for_range(f.images * chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t image = task / chunks;
      const std::int64_t first = task % chunks * kChunk;
      const std::int64_t count = std::min(kChunk, f.pixels - first);
      std::array<double, kChunk> sum{};
      for (std::int64_t c = 0; c < f.channels; ++c) {
        const std::int64_t at = (image * f.channels + c) * f.pixels + first;
        for (std::int64_t p = 0; p < count; ++p)
          sum[static_cast<std::size_t>(p)] +=
              static_cast<double>(f.grad_output[at + p]) * static_cast<double>(f.output[at + p]);
      }
      T* out = gradient.data() + image * f.pixels + first;
      for (std::int64_t p = 0; p < count; ++p)
        out[p] = static_cast<T>(-sum[static_cast<std::size_t>(p)]);
    }
  });
  return gradient;
}

// The filter is its own transpose: grad_feature = filter(grad_output / normalizer).
template <typename T>
void feature_gradient(const TreeFilterBackward<T>& f, const std::int32_t* rank, const T* normalizer,
                      const Executor& executor) {
  const Blocks blocks{f.images, f.channels, tree::block_lanes(f.pixels, sizeof(T))};
  executor.for_range(blocks.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    const auto rows = tree::new_rows<T>(f.pixels, blocks.lanes());
    for (std::int64_t task = begin; task < end; ++task) {
      const Block block = blocks[task];
      const T* before = f.normalize ? normalizer + block.image * f.pixels : nullptr;
      filter_planes(filtering(f, block.image, rank, before, nullptr),
                    planes_of(f.grad_output, f.channels, f.pixels, block),
                    planes_of(f.grad_feature, f.channels, f.pixels, block), rows.get());
    }
  });
}

// Both gradients. The normalizer is one more channel behind the features: of ones, with its own
// gradient, summed over the channels before it is filtered.
template <typename T>
void both_gradients(const TreeFilterBackward<T>& f, const std::int32_t* rank, const T* normalizer,
                    const Executor& executor) {
  const std::vector<T> of_normalizer =
      f.normalize ? normalizer_gradient(f, executor) : std::vector<T>();
  const Blocks blocks{f.images, f.channels + (f.normalize ? 1 : 0),
                      tree::block_lanes(f.pixels, sizeof(T))};
  std::vector<T> partial(static_cast<std::size_t>(blocks.count() * f.pixels));
  executor.for_range(blocks.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    const auto x = tree::new_rows<T>(f.pixels, blocks.lanes());
    const auto g = tree::new_rows<T>(f.pixels, blocks.lanes());
    for (std::int64_t task = begin; task < end; ++task) {
      const Block block = blocks[task];
      const std::int64_t base = block.image * f.pixels;
      const int lanes = tree::lanes_for(block.count);
      tree::pixels_to_rows({.planes = planes_of(f.feature, f.channels, f.pixels, block),
                            .divisor = nullptr,
                            .rank = rank + base,
                            .pixels = f.pixels,
                            .lanes = lanes,
                            .rows = x.get()});
      const T* behind = f.normalize ? of_normalizer.data() + base : nullptr;
      tree::pixels_to_rows({.planes = planes_of(f.grad_output, f.channels, f.pixels, block, behind),
                            .divisor = f.normalize ? normalizer + base : nullptr,
                            .rank = rank + base,
                            .pixels = f.pixels,
                            .lanes = lanes,
                            .rows = g.get()});
      tree::differentiate_rows({f.parent + base, f.similarity + base, f.pixels}, lanes, x.get(),
                               g.get(), partial.data() + task * f.pixels);
      const Block features{block.image, block.first,
                           std::min(block.count, f.channels - block.first)};
      tree::rows_to_pixels({.rows = g.get(),
                            .rank = rank + base,
                            .pixels = f.pixels,
                            .lanes = lanes,
                            .divisor = nullptr,
                            .planes = planes_of(f.grad_feature, f.channels, f.pixels, features)});
    }
  });
  executor.for_range(f.images, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t image = begin; image < end; ++image) {
      const T* share = partial.data() + image * blocks.per_image() * f.pixels;
      for (std::int64_t i = 0; i < f.pixels; ++i) {
        double sum = 0.0;
        for (std::int64_t b = 0; b < blocks.per_image(); ++b)
          sum += static_cast<double>(share[b * f.pixels + i]);
        f.grad_similarity[image * f.pixels + i] = static_cast<T>(sum);
      }
    }
  });
}

// The channels [0, count) of every image and the sums of similarities [B, N], if wanted: these ride
// along as one more channel, of ones.
template <typename T>
void filter_first(const TreeFilter<T>& f, const std::int32_t* rank, std::int64_t count, T* sums,
                  const Executor& executor) {
  const std::int64_t planes = count + (f.normalize ? 1 : 0);
  if (planes == 0) return;
  executor.for_range(f.images, 1, [&](std::int64_t begin, std::int64_t end) {
    const auto rows = tree::new_rows<T>(f.pixels, tree::lanes_for(planes));
    for (std::int64_t image = begin; image < end; ++image) {
      Planes<const T> in;
      Planes<T> out;
      T* divisor = f.normalize ? sums + image * f.pixels : nullptr;
      if (f.normalize) in.add(nullptr), out.add(divisor);
      for (std::int64_t c = 0; c < count; ++c) {
        in.add(f.feature + (image * f.channels + c) * f.pixels);
        out.add(f.output + (image * f.channels + c) * f.pixels);
      }
      filter_planes(filtering(f, image, rank, nullptr, divisor), in, out, rows.get());
    }
  });
}

} // namespace

template <typename T>
void run(const TreeFilter<T>& f, const Executor& executor) {
  if (f.images == 0 || f.pixels == 0) return;
  if (f.channels == 1) {
    check_similarity(f, executor);
    return tree::filter_single(f, executor);
  }
  const auto rank =
      tree::ranks_of({"tree_filter", f.order, f.parent, f.images, f.pixels}, executor);
  check_similarity(f, executor);
  prefer_huge_pages(f.output, output_bytes(f));
  // The channels that fill no block come first, for the sums that divide the others.
  const std::int64_t width = tree::block_lanes(f.pixels, sizeof(T));
  const std::int64_t first = f.channels % width;
  const auto sums = std::make_unique_for_overwrite<T[]>(
      static_cast<std::size_t>(f.normalize ? f.images * f.pixels : 0));
  filter_first(f, rank.data(), first, sums.get(), executor);
  const Blocks blocks{f.images, f.channels - first, width};
  executor.for_range(blocks.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    const auto rows = tree::new_rows<T>(f.pixels, blocks.lanes());
    for (std::int64_t task = begin; task < end; ++task) {
      Block block = blocks[task];
      block.first += first;
      const T* divisor = f.normalize ? sums.get() + block.image * f.pixels : nullptr;
      filter_planes(filtering(f, block.image, rank.data(), nullptr, divisor),
                    planes_of(f.feature, f.channels, f.pixels, block),
                    planes_of(f.output, f.channels, f.pixels, block), rows.get());
    }
  });
}

template <typename T>
void run(const TreeFilterBackward<T>& f, const Executor& executor) {
  if (f.images == 0 || f.pixels == 0) return;
  if (f.channels == 1) return tree::differentiate_single(f, executor);
  const auto rank =
      tree::ranks_of({"tree_filter_backward", f.order, f.parent, f.images, f.pixels}, executor);
  const std::vector<T> normalizer =
      f.normalize ? normalizer_of(f, rank.data(), executor) : std::vector<T>();
  prefer_huge_pages(f.grad_feature, output_bytes(f));
  if (f.grad_similarity == nullptr)
    feature_gradient(f, rank.data(), normalizer.data(), executor);
  else
    both_gradients(f, rank.data(), normalizer.data(), executor);
}

template void run(const TreeFilter<float>&, const Executor&);
template void run(const TreeFilter<double>&, const Executor&);
template void run(const TreeFilterBackward<float>&, const Executor&);
template void run(const TreeFilterBackward<double>&, const Executor&);

} // namespace point2mask
