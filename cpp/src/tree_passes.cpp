#include "tree_passes.hpp"

#include <cstdint>

#include "point2mask/multiarch.hpp"
#include "tree_rows.hpp"

namespace point2mask::tree {
namespace {

// rows[i] += similarity * rows[child], children first: sums over the subtrees.
template <int kLanes, typename T>
POINT2MASK_INLINE void sum_up(const Tree<T>& t, T* rows) {
  for (std::int64_t i = t.pixels - 1; i > 0; --i) {
    const T s = t.similarity[i];
    const T* __restrict own = rows + i * kLanes;
    T* __restrict up = rows + std::int64_t{t.parent[i]} * kLanes;
    for (int c = 0; c < kLanes; ++c) up[c] += s * own[c];
  }
}

// Adds what lies outside each subtree: the parent's sum less the subtree's share in it.
template <int kLanes, typename T>
POINT2MASK_INLINE void sum_down(const Tree<T>& t, T* rows) {
  for (std::int64_t i = 1; i < t.pixels; ++i) {
    const T s = t.similarity[i];
    T* __restrict own = rows + i * kLanes;
    const T* __restrict up = rows + std::int64_t{t.parent[i]} * kLanes;
    for (int c = 0; c < kLanes; ++c) own[c] += s * (up[c] - s * own[c]);
  }
}

// The sum of a row in a fixed order: halves onto halves, which stays in vector registers.
template <int kLanes, typename T>
POINT2MASK_INLINE T sum_of(T* values) {
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int c = 0; c < half; ++c) values[c] += values[c + half];
  return values[0];
}

// The downward pass of features x and gradients g at once, in which both subtree sums of a pixel
// and both full sums of its parent are at hand: the derivative by the similarity between them.
template <int kLanes, typename T>
POINT2MASK_INLINE void differentiate_down(const Tree<T>& t, T* x, T* g, T* gradient) {
  gradient[0] = T(0);
  for (std::int64_t i = 1; i < t.pixels; ++i) {
    const T s = t.similarity[i];
    T* __restrict x_own = x + i * kLanes;
    T* __restrict g_own = g + i * kLanes;
    const T* __restrict x_up = x + std::int64_t{t.parent[i]} * kLanes;
    const T* __restrict g_up = g + std::int64_t{t.parent[i]} * kLanes;
    T products[kLanes];
    for (int c = 0; c < kLanes; ++c) {
      const T x_rest = x_up[c] - s * x_own[c]; // the parent's sum without this subtree
      const T g_rest = g_up[c] - s * g_own[c];
      products[c] = g_own[c] * x_rest + x_own[c] * g_rest;
      x_own[c] += s * x_rest;
      g_own[c] += s * g_rest;
    }
    gradient[i] = sum_of<kLanes>(products);
  }
}

// Exact: minimum and maximum only choose. Children to parents finds the seeds below each pixel,
// parents to children all others.
template <int kLanes, typename T>
POINT2MASK_INLINE void relax_up(const std::int32_t* parent, const T* weight, std::int64_t pixels,
                                T* rows) {
  for (std::int64_t i = pixels - 1; i > 0; --i) {
    const T w = weight[i];
    const T* __restrict own = rows + i * kLanes;
    T* __restrict up = rows + std::int64_t{parent[i]} * kLanes;
    for (int k = 0; k < kLanes; ++k) {
      const T through = own[k] > w ? own[k] : w;
      up[k] = through < up[k] ? through : up[k];
    }
  }
}

template <int kLanes, typename T>
POINT2MASK_INLINE void relax_down(const std::int32_t* parent, const T* weight, std::int64_t pixels,
                                  T* rows) {
  for (std::int64_t i = 1; i < pixels; ++i) {
    const T w = weight[i];
    T* __restrict own = rows + i * kLanes;
    const T* __restrict up = rows + std::int64_t{parent[i]} * kLanes;
    for (int k = 0; k < kLanes; ++k) {
      const T through = up[k] > w ? up[k] : w;
      own[k] = through < own[k] ? through : own[k];
    }
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

template <typename T>
POINT2MASK_INLINE void relax(const std::int32_t* parent, const T* weight, std::int64_t pixels,
                             int lanes, T* rows) {
  with_lanes(lanes, [&]<int kLanes>() __attribute__((always_inline)) {
    relax_up<kLanes>(parent, weight, pixels, rows);
    relax_down<kLanes>(parent, weight, pixels, rows);
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

POINT2MASK_MULTIARCH void relax_rows(const std::int32_t* parent, const float* weight,
                                     std::int64_t pixels, int lanes, float* rows) {
  relax(parent, weight, pixels, lanes, rows);
}
POINT2MASK_MULTIARCH void relax_rows(const std::int32_t* parent, const double* weight,
                                     std::int64_t pixels, int lanes, double* rows) {
  relax(parent, weight, pixels, lanes, rows);
}
POINT2MASK_MULTIARCH void relax_rows(const std::int32_t* parent, const std::int32_t* weight,
                                     std::int64_t pixels, int lanes, std::int32_t* rows) {
  relax(parent, weight, pixels, lanes, rows);
}

} // namespace point2mask::tree
