// The tree operators without torch or Python: runs under sanitizers in milliseconds.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <vector>

#include "point2mask/parallel.hpp"
#include "point2mask/tree.hpp"

namespace {

using point2mask::SerialExecutor;
using Indices = std::vector<std::int32_t>;

int failed = 0;

void expect(bool ok, const char* what) {
  if (!ok) std::printf("failed: %s\n", what);
  failed += !ok;
}

template <typename F>
void expect_rejected(F&& f, const char* what) {
  try {
    f();
    expect(false, what);
  } catch (const std::invalid_argument&) {
  }
}

template <typename T>
struct Tree {
  std::int64_t images, pixels;
  Indices order, parent, edge;
  std::vector<T> weight;
  Tree(const std::vector<T>& edge_weight, std::int64_t b, std::int64_t d, std::int64_t h,
       std::int64_t w)
      : images(b), pixels(h * w) {
    const auto size = static_cast<std::size_t>(b * h * w);
    order.resize(size), parent.resize(size), edge.resize(size), weight.resize(size);
    point2mask::run(point2mask::SpanningTree<T>{.edge_weight = edge_weight.data(),
                                                .images = b,
                                                .directions = d,
                                                .height = h,
                                                .width = w,
                                                .order = order.data(),
                                                .parent = parent.data(),
                                                .edge = edge.data(),
                                                .weight = weight.data()},
                    SerialExecutor());
  }
};

// Multiples of 1 / 8 from a small generator, with ties.
template <typename T>
std::vector<T> numbers(std::int64_t count, std::uint32_t values) {
  std::vector<T> out;
  std::uint32_t state = 1;
  for (std::int64_t i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    out.push_back(static_cast<T>((state >> 16) % values) / 8);
  }
  return out;
}

void test_spanning_tree_by_hand() {
  // 0 -3- 1      Steps down: 0-2 (2), 1-3 (2); right: 0-1 (3), 2-3 (1). The heaviest, 0-1, is out.
  // |2    |2
  // 2 -1- 3
  const Tree<float> t({2, 2, 9, 9, 3, 9, 1, 9}, 1, 2, 2, 2);
  expect(t.order == Indices{0, 2, 3, 1}, "order");
  expect(t.parent == Indices{0, 0, 1, 2}, "parent");
  expect(t.edge == Indices{-1, 0, 6, 1}, "edge");
  expect(t.weight == std::vector<float>{0, 2, 1, 2}, "weight");
}

template <typename T>
void test_filter(const Tree<T>& t, std::int64_t channels) {
  const std::int64_t size = t.images * t.pixels;
  const std::vector<T> similarity = numbers<T>(size, 9); // 0, 1 / 8 ... 1
  const std::vector<T> feature = numbers<T>(size * channels, 100);
  for (const bool normalize : {false, true}) {
    std::vector<T> output(feature.size());
    point2mask::run(point2mask::TreeFilter<T>{.feature = feature.data(),
                                              .order = t.order.data(),
                                              .parent = t.parent.data(),
                                              .similarity = similarity.data(),
                                              .images = t.images,
                                              .channels = channels,
                                              .pixels = t.pixels,
                                              .normalize = normalize,
                                              .output = output.data()},
                    SerialExecutor());
    std::vector<T> grad_feature(feature.size());
    std::vector<T> grad_similarity(similarity.size());
    point2mask::run(point2mask::TreeFilterBackward<T>{.grad_output = feature.data(),
                                                      .feature = feature.data(),
                                                      .output = output.data(),
                                                      .order = t.order.data(),
                                                      .parent = t.parent.data(),
                                                      .similarity = similarity.data(),
                                                      .images = t.images,
                                                      .channels = channels,
                                                      .pixels = t.pixels,
                                                      .normalize = normalize,
                                                      .grad_feature = grad_feature.data(),
                                                      .grad_similarity = grad_similarity.data()},
                    SerialExecutor());
    // The unnormalised filter is its own gradient; the normalised one stays within the features.
    for (std::size_t i = 0; i < output.size(); ++i)
      expect(normalize ? output[i] >= 0 && output[i] < T(12.5) : grad_feature[i] == output[i],
             "tree_filter");
    for (std::int64_t image = 0; image < t.images && t.pixels; ++image)
      expect(grad_similarity[static_cast<std::size_t>(image * t.pixels)] == 0, "root's gradient");
  }
}

template <typename T>
void test_shapes() {
  constexpr std::int64_t kShapes[][4] = {{0, 2, 3, 3}, {1, 2, 1, 1}, {2, 4, 1, 9}, {2, 4, 9, 1},
                                         {1, 4, 2, 2}, {3, 2, 5, 7}, {2, 4, 7, 6}, {2, 4, 0, 4}};
  for (const auto& [b, d, h, w] : kShapes) {
    const Tree<T> t(numbers<T>(b * d * h * w, 4), b, d, h, w);
    for (const std::int64_t lanes : {0, 1, 2, 3, 7, 15, 16, 17, 33}) {
      test_filter(t, lanes);
    }
  }
}

void test_rejections() {
  expect_rejected([] { Tree<float>({0, 0, NAN, 0}, 1, 2, 1, 2); }, "NaN weight");
  expect_rejected([] { Tree<double>({0, 0, -INFINITY, 0}, 1, 2, 1, 2); }, "infinite weight");
  expect_rejected([] { Tree<float>({}, 0, 4, std::int64_t{1} << 30, 8); }, "too many pixels");
  const Tree<float> t({1, 1, 1, 1}, 1, 2, 2, 1);
  std::vector<float> x(2);
  const auto filter = [&](const Indices& order, const Indices& parent, float similarity) {
    const std::vector<float> s{NAN, similarity};
    point2mask::run(point2mask::TreeFilter<float>{.feature = t.weight.data(),
                                                  .order = order.data(),
                                                  .parent = parent.data(),
                                                  .similarity = s.data(),
                                                  .images = 1,
                                                  .channels = 1,
                                                  .pixels = 2,
                                                  .normalize = true,
                                                  .output = x.data()},
                    SerialExecutor());
  };
  filter({0, 1}, {0, 0}, 1.0F);
  expect_rejected([&] { filter({0, 0}, {0, 0}, 1.0F); }, "pixel twice");
  expect_rejected([&] { filter({0, 2}, {0, 0}, 1.0F); }, "pixel out of range");
  expect_rejected([&] { filter({0, 1}, {0, 1}, 1.0F); }, "own parent");
  expect_rejected([&] { filter({0, 1}, {0, 0}, 1.5F); }, "similarity");
  expect_rejected([&] { filter({0, 1}, {0, 0}, NAN); }, "NaN similarity");
}

} // namespace

int main() {
  test_spanning_tree_by_hand();
  test_shapes<float>();
  test_shapes<double>();
  test_rejections();
  std::printf("%d failed\n", failed);
  return failed;
}
