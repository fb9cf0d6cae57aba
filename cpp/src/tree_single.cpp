#include "tree_single.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tree_passes.hpp"
#include "tree_ranks.hpp"
#include "tree_rows.hpp"

namespace point2mask::tree {
namespace {

constexpr int kLanes = 2;

// Calls visit(row, pixel) for the row of every rank of an image.
template <typename T>
void for_rows(T* rows, const std::int32_t* order, std::int64_t pixels, auto&& visit) {
  for (std::int64_t i = 0; i < pixels; ++i) visit(rows + i * kLanes, order[i]);
}

// output[order[i]] = value(row of rank i), computed strip by strip: divisions as vectors.
template <typename T>
void to_pixels(const T* rows, const std::int32_t* order, std::int64_t pixels, T* output,
               auto&& value) {
  constexpr std::int64_t kStrip = 256;
  T strip[kStrip];
  for (std::int64_t begin = 0; begin < pixels; begin += kStrip) {
    const std::int64_t count = std::min(kStrip, pixels - begin);
    for (std::int64_t i = 0; i < count; ++i) strip[i] = value(rows + (begin + i) * kLanes);
    for (std::int64_t i = 0; i < count; ++i) output[order[begin + i]] = strip[i];
  }
}

} // namespace

template <typename T>
void filter_single(const TreeFilter<T>& f, const Executor& executor) {
  const Orders orders{"tree_filter", f.order, f.parent, f.images, f.pixels};
  executor.for_range(f.images, 1, [&](std::int64_t begin, std::int64_t end) {
    const auto rows = new_rows<T>(f.pixels, kLanes); // sum of similarities, filtered feature
    for (std::int64_t image = begin; image < end; ++image) {
      const std::int64_t base = image * f.pixels;
      const T* in = f.feature + base;
      const std::int32_t* order = f.order + base;
      check_order(orders, image);
      for_rows(rows.get(), order, f.pixels, [in](T* row, std::int32_t pixel) {
        row[0] = T(1);
        row[1] = in[pixel];
      });
      filter_rows({f.parent + base, f.similarity + base, f.pixels}, kLanes, rows.get());
      T* out = f.output + base;
      if (f.normalize)
        to_pixels(rows.get(), order, f.pixels, out, [](const T* row) { return row[1] / row[0]; });
      else
        to_pixels(rows.get(), order, f.pixels, out, [](const T* row) { return row[1]; });
    }
  });
}

// The normalizer is one more channel beside the feature: of ones, with its own gradient.
template <typename T>
void differentiate_single(const TreeFilterBackward<T>& f, const Executor& executor) {
  const Orders orders{"tree_filter_backward", f.order, f.parent, f.images, f.pixels};
  const bool both = f.grad_similarity != nullptr;
  executor.for_range(f.images, 1, [&](std::int64_t begin, std::int64_t end) {
    const auto x = new_rows<T>(f.pixels, kLanes), g = new_rows<T>(f.pixels, kLanes);
    std::vector<T> normalizer(static_cast<std::size_t>(f.normalize ? f.pixels : 0)); // by rank
    for (std::int64_t image = begin; image < end; ++image) {
      const std::int64_t base = image * f.pixels;
      const Tree<T> tree{f.parent + base, f.similarity + base, f.pixels};
      const std::int32_t* order = f.order + base;
      const T *grad = f.grad_output + base, *feature = both ? f.feature + base : nullptr;
      check_order(orders, image);
      if (f.normalize) {
        std::fill_n(x.get(), f.pixels * kLanes, T(1));
        filter_rows(tree, kLanes, x.get());
        for (std::int64_t i = 0; i < f.pixels; ++i)
          normalizer[static_cast<std::size_t>(i)] = x[static_cast<std::size_t>(i * kLanes)];
      }
      for_rows(g.get(), order, f.pixels, [grad](T* row, std::int32_t pixel) {
        row[0] = grad[pixel];
        row[1] = T(0);
      });
      if (f.normalize) {
        const T* divisor = normalizer.data();
        if (both) {
          const T* output = f.output + base;
          for_rows(g.get(), order, f.pixels, [output](T* row, std::int32_t pixel) {
            // Summed and rounded as over many channels.
            const double sum =
                0.0 + static_cast<double>(row[0]) * static_cast<double>(output[pixel]);
            row[1] = static_cast<T>(-sum);
          });
        }
        for (T* row = g.get(); row < g.get() + f.pixels * kLanes; row += kLanes, ++divisor)
          row[0] /= *divisor, row[1] /= *divisor;
      }
      if (both) {
        const T one = f.normalize ? T(1) : T(0);
        for_rows(x.get(), order, f.pixels, [feature, one](T* row, std::int32_t pixel) {
          row[0] = feature[pixel];
          row[1] = one;
        });
        T* by_similarity = f.grad_similarity + base;
        differentiate_rows(tree, kLanes, x.get(), g.get(), by_similarity);
        for (std::int64_t i = 0; i < f.pixels; ++i) by_similarity[i] += T(0); // no -0, as of a sum
      } else {
        filter_rows(tree, kLanes, g.get());
      }
      to_pixels(g.get(), order, f.pixels, f.grad_feature + base,
                [](const T* row) { return row[0]; });
    }
  });
}

template void filter_single(const TreeFilter<float>&, const Executor&);
template void filter_single(const TreeFilter<double>&, const Executor&);
template void differentiate_single(const TreeFilterBackward<float>&, const Executor&);
template void differentiate_single(const TreeFilterBackward<double>&, const Executor&);

} // namespace point2mask::tree
