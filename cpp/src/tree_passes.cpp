#include "tree_passes.hpp"

#include <algorithm>
#include <cstdint>

#include "point2mask/multiarch.hpp"
#include "tree_rows.hpp"
#include "tree_vectors.hpp"

namespace point2mask::tree {
namespace {

// Three of four parents are the row before. Its value is carried in registers: through memory each
// row would wait for the store of the one before. What is carried and what was loaded in time are
// chosen between by a mask, as a branch would be mispredicted at every other end of a chain. That
// makes one chain of all rows. Rows of one vector are waited for rather than computed: they go
// through memory, and the processor has the next chains under way. So do those that there are no
// registers for.
template <typename Row>
constexpr bool kThroughMemory = Row::kParts == 1 || Row::kParts > 4;

// rows[i] += similarity * rows[child], children first: sums over the subtrees.
template <int kLanes, typename T>
POINT2MASK_INLINE void sum_up(const Tree<T>& t, T* rows) {
  using R = Row<kLanes, T>;
  R own;
  own.load(rows + (t.pixels - 1) * kLanes);
  for (std::int64_t i = t.pixels - 1; i > 0; --i) {
    const T s = t.similarity[i];
    T* above = rows + std::int64_t{t.parent[i]} * kLanes;
    R up;
    if constexpr (kThroughMemory<R>) {
      own.load(rows + i * kLanes);
      up.load(above);
      for (int c = 0; c < R::kParts; ++c) up.part[c] += s * own.part[c];
    } else {
      const auto carry = R::mask_of(t.parent[i] == i - 1);
      R next;
      next.load(rows + (i - 1) * kLanes);
      up.load(above);
      for (int c = 0; c < R::kParts; ++c) {
        up.part[c] += s * own.part[c];
        own.part[c] = carry ? up.part[c] : next.part[c];
      }
    }
    up.store(above);
  }
}

// The parents' rows on the way down: `up` is the parent's row of the current rank, complete.
template <int kLanes, typename T>
struct ParentRows {
  using R = Row<kLanes, T>;
  const std::int32_t* parent;
  std::int64_t last;
  const T* rows;
  R loaded;

  POINT2MASK_INLINE ParentRows(const Tree<T>& t, const T* r)
      : parent(t.parent), last(t.pixels - 1), rows(r) {
    loaded.load(rows);
  }
  // The parent's row, given the row before; loads that of the next rank, before the store of the
  // current one.
  POINT2MASK_INLINE R next(std::int64_t i, const R& before) {
    R up;
    if constexpr (kThroughMemory<R>) {
      up.load(rows + std::int64_t{parent[i]} * kLanes);
    } else {
      const auto carry = R::mask_of(parent[i] == i - 1);
      for (int c = 0; c < R::kParts; ++c) up.part[c] = carry ? before.part[c] : loaded.part[c];
      loaded.load(rows + std::int64_t{parent[std::min(i + 1, last)]} * kLanes);
    }
    return up;
  }
};

// Adds what lies outside each subtree: the parent's sum less the subtree's share in it.
template <int kLanes, typename T>
POINT2MASK_INLINE void sum_down(const Tree<T>& t, T* rows) {
  ParentRows<kLanes, T> parents(t, rows);
  Row<kLanes, T> own = parents.loaded;
  for (std::int64_t i = 1; i < t.pixels; ++i) {
    const T s = t.similarity[i];
    const auto up = parents.next(i, own);
    own.load(rows + i * kLanes);
    for (int c = 0; c < own.kParts; ++c) own.part[c] += s * (up.part[c] - s * own.part[c]);
    own.store(rows + i * kLanes);
  }
}

// The sum of a row in a fixed order: halves onto halves.
template <int kLanes, typename T>
POINT2MASK_INLINE T sum_of(Row<kLanes, T>& row) {
  constexpr int kInPart = kLanes / Row<kLanes, T>::kParts;
  for (int half = row.kParts / 2; half > 0; half /= 2)
    for (int c = 0; c < half; ++c) row.part[c] += row.part[c + half];
  auto part = row.part[0];
  for (int half = kInPart / 2; half > 0; half /= 2)
    for (int c = 0; c < half; ++c) part[c] += part[c + half];
  return part[0];
}

// The downward pass of features x and gradients g at once, in which both subtree sums of a pixel
// and both full sums of its parent are at hand: the derivative by the similarity between them.
template <int kLanes, typename T>
POINT2MASK_INLINE void differentiate_down(const Tree<T>& t, T* x, T* g, T* gradient) {
  ParentRows<kLanes, T> x_parents(t, x), g_parents(t, g);
  Row<kLanes, T> x_own = x_parents.loaded, g_own = g_parents.loaded;
  gradient[0] = T(0);
  for (std::int64_t i = 1; i < t.pixels; ++i) {
    const T s = t.similarity[i];
    const auto x_up = x_parents.next(i, x_own), g_up = g_parents.next(i, g_own);
    x_own.load(x + i * kLanes);
    g_own.load(g + i * kLanes);
    Row<kLanes, T> products;
    for (int c = 0; c < products.kParts; ++c) {
      const auto x_rest = x_up.part[c] - s * x_own.part[c]; // the parent's without this subtree
      const auto g_rest = g_up.part[c] - s * g_own.part[c];
      products.part[c] = g_own.part[c] * x_rest + x_own.part[c] * g_rest;
      x_own.part[c] += s * x_rest;
      g_own.part[c] += s * g_rest;
    }
    x_own.store(x + i * kLanes);
    g_own.store(g + i * kLanes);
    gradient[i] = sum_of(products);
  }
}

// Each operation once, for rows of any width.
template <typename T>
POINT2MASK_INLINE void filter(const Tree<T>& t, int lanes, T* rows) {
  with_lanes(lanes, [&]<int kLanes>() __attribute__((always_inline)) {
    sum_up<kLanes>(t, rows);
    sum_down<kLanes>(t, rows);
  });
}

template <typename T>
POINT2MASK_INLINE void differentiate(const Tree<T>& t, int lanes, T* x, T* g, T* gradient) {
  with_lanes(lanes, [&]<int kLanes>() __attribute__((always_inline)) {
    sum_up<kLanes>(t, x);
    sum_up<kLanes>(t, g);
    differentiate_down<kLanes>(t, x, g, gradient);
  });
}

} // namespace

POINT2MASK_MULTIARCH void filter_rows(const Tree<float>& t, int lanes, float* rows) {
  filter(t, lanes, rows);
}
POINT2MASK_MULTIARCH void filter_rows(const Tree<double>& t, int lanes, double* rows) {
  filter(t, lanes, rows);
}

POINT2MASK_MULTIARCH void differentiate_rows(const Tree<float>& t, int lanes, float* x, float* g,
                                             float* gradient) {
  differentiate(t, lanes, x, g, gradient);
}
POINT2MASK_MULTIARCH void differentiate_rows(const Tree<double>& t, int lanes, double* x, double* g,
                                             double* gradient) {
  differentiate(t, lanes, x, g, gradient);
}

} // namespace point2mask::tree
