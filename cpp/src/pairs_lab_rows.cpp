#include "pairs_lab_rows.hpp"

#include <algorithm>

#include "point2mask/multiarch.hpp"
#include "vector_math.hpp"

namespace point2mask {
namespace {

template <typename T>
POINT2MASK_INLINE void track_extremes(const T* __restrict__ logits, std::int64_t width,
                                      T* __restrict__ high, T* __restrict__ low) {
  for (std::int64_t x = 0; x < width; ++x) {
    high[x] = logits[x] > high[x] ? logits[x] : high[x];
    low[x] = logits[x] < low[x] ? logits[x] : low[x];
  }
}

template <typename T>
POINT2MASK_INLINE void exponentials(const T* __restrict__ logits, const T* __restrict__ high,
                                    std::int64_t width, T* __restrict__ probability,
                                    T* __restrict__ sum) {
  for (std::int64_t x = 0; x < width; ++x) {
    const T e = vector_exp(logits[x] - high[x]);
    probability[x] = e;
    sum[x] += e;
  }
}

template <typename T>
POINT2MASK_INLINE bool softmax(const SoftmaxRow<T>& r) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  T* high = r.scratch;
  T* low = high + r.width;
  T* sum = low + r.width;
  std::fill_n(high, r.width, -kInfinity);
  std::fill_n(low, r.width, kInfinity);
  std::fill_n(sum, r.width, T(0));
  for (std::int64_t c = 0; c < r.channels; ++c)
    track_extremes(r.logits + c * r.plane, r.width, high, low);
  for (std::int64_t c = 0; c < r.channels; ++c)
    exponentials(r.logits + c * r.plane, high, r.width, r.probability + c * r.stride, sum);
  bool finite = true;
  for (std::int64_t x = 0; x < r.width; ++x) {
    const bool valid = r.valid == nullptr || r.valid[x];
    // NaN and +infinity have made the sum NaN, -infinity shows as the lowest.
    finite = finite && (!valid || (sum[x] > 0 && low[x] > -kInfinity));
    sum[x] = valid ? 1 / sum[x] : T(0);
  }
  for (std::int64_t c = 0; c < r.channels; ++c) {
    T* row = r.probability + c * r.stride;
    for (std::int64_t x = 0; x < r.width; ++x) row[x] = sum[x] > 0 ? row[x] * sum[x] : T(0);
  }
  return finite;
}

template <typename T>
POINT2MASK_INLINE bool mark_near(const T* __restrict__ here, const T* __restrict__ there,
                                 std::int64_t stride, std::int64_t width, T limit,
                                 T* __restrict__ near) {
  T any = 0;
  for (std::int64_t x = 0; x < width; ++x) {
    const T l = here[x] - there[x];
    const T a = here[stride + x] - there[stride + x];
    const T b = here[2 * stride + x] - there[2 * stride + x];
    near[x] = l * l + a * a + b * b <= limit ? T(1) : T(0);
  }
  for (std::int64_t x = 0; x < width; ++x) any = near[x] > any ? near[x] : any;
  return any > 0;
}

// Four products at a time: a sum that is loaded and stored for each would cost more than they do.
template <typename T>
POINT2MASK_INLINE void add_4_products(const T* __restrict__ a0, const T* __restrict__ b0,
                                      const T* __restrict__ a1, const T* __restrict__ b1,
                                      const T* __restrict__ a2, const T* __restrict__ b2,
                                      const T* __restrict__ a3, const T* __restrict__ b3,
                                      std::int64_t width, T* __restrict__ sum) {
  for (std::int64_t x = 0; x < width; ++x)
    sum[x] += (a0[x] * b0[x] + a1[x] * b1[x]) + (a2[x] * b2[x] + a3[x] * b3[x]);
}

template <typename T>
POINT2MASK_INLINE void add_product(const T* __restrict__ a, const T* __restrict__ b,
                                   std::int64_t width, T* __restrict__ sum) {
  for (std::int64_t x = 0; x < width; ++x) sum[x] += a[x] * b[x];
}

template <typename T>
POINT2MASK_INLINE void dot_products(const T* here, const T* there, std::int64_t channels,
                                    std::int64_t stride, std::int64_t width, T* dot) {
  std::fill_n(dot, width, T(0));
  std::int64_t c = 0;
  for (; c + 4 <= channels; c += 4) {
    const T* a = here + c * stride;
    const T* b = there + c * stride;
    add_4_products(a, b, a + stride, b + stride, a + 2 * stride, b + 2 * stride, a + 3 * stride,
                   b + 3 * stride, width, dot);
  }
  for (; c < channels; ++c) add_product(here + c * stride, there + c * stride, width, dot);
  // Probabilities sum to 1 up to rounding: no loss below zero.
  for (std::int64_t x = 0; x < width; ++x) dot[x] = dot[x] < 1 ? dot[x] : T(1);
}

template <typename T>
POINT2MASK_INLINE bool score(const T* __restrict__ dot, const T* __restrict__ near,
                             std::int64_t width, double* __restrict__ total,
                             std::int32_t* __restrict__ count) {
  std::int32_t tiny = 0;
  for (std::int64_t x = 0; x < width; ++x) {
    const T value = vector_log(dot[x]);
    const bool is_near = near[x] > 0, is_tiny = dot[x] < kTinyDot<T>;
    total[x] -= static_cast<double>(is_near && !is_tiny ? value : T(0));
    count[x] += is_near ? 1 : 0;
    tiny = is_near && is_tiny ? 1 : tiny;
  }
  return tiny != 0;
}

template <typename T>
POINT2MASK_INLINE bool weigh(const T* __restrict__ dot, const T* __restrict__ near,
                             std::int64_t width, T* __restrict__ weight) {
  std::int32_t tiny = 0;
  for (std::int64_t x = 0; x < width; ++x) {
    const bool is_near = near[x] > 0, is_tiny = dot[x] < kTinyDot<T>;
    weight[x] = is_near && !is_tiny ? 1 / dot[x] : T(0);
    tiny = is_near && is_tiny ? 1 : tiny;
  }
  return tiny != 0;
}

template <typename T>
POINT2MASK_INLINE void combine(const T* __restrict__ probability, const T* __restrict__ near,
                               const T* __restrict__ sum, T scale, std::int64_t width,
                               T* __restrict__ grad) {
  for (std::int64_t x = 0; x < width; ++x) grad[x] = scale * (probability[x] * (near[x] - sum[x]));
}

template <typename T>
POINT2MASK_INLINE void gather(const GatherRow<T>& r) {
  T* near = r.scratch;
  T* sum = near + r.width;
  std::fill_n(near, r.width, T(0));
  for (std::int64_t k = 0; k < r.count; ++k) {
    const T* __restrict__ one = r.neighbors[k].near;
    for (std::int64_t x = 0; x < r.width; ++x) near[x] += one[x];
  }
  for (std::int64_t c = 0; c < r.channels; ++c) {
    const std::int64_t o = c * r.stride;
    std::fill_n(sum, r.width, T(0));
    std::int64_t k = 0;
    for (; k + 4 <= r.count; k += 4) {
      const Neighbor<T>* n = r.neighbors + k;
      add_4_products(n[0].weight, n[0].probability + o, n[1].weight, n[1].probability + o,
                     n[2].weight, n[2].probability + o, n[3].weight, n[3].probability + o, r.width,
                     sum);
    }
    for (; k < r.count; ++k)
      add_product(r.neighbors[k].weight, r.neighbors[k].probability + o, r.width, sum);
    combine(r.probability + o, near, sum, r.scale, r.width, r.grad + c * r.plane);
  }
}

} // namespace

POINT2MASK_MULTIARCH bool softmax_row(const SoftmaxRow<float>& r) { return softmax(r); }
POINT2MASK_MULTIARCH bool softmax_row(const SoftmaxRow<double>& r) { return softmax(r); }

POINT2MASK_MULTIARCH bool near_row(const float* here, const float* there, std::int64_t stride,
                                   std::int64_t width, float limit, float* near) {
  return mark_near(here, there, stride, width, limit, near);
}
POINT2MASK_MULTIARCH bool near_row(const double* here, const double* there, std::int64_t stride,
                                   std::int64_t width, double limit, double* near) {
  return mark_near(here, there, stride, width, limit, near);
}

POINT2MASK_MULTIARCH void dot_row(const float* here, const float* there, std::int64_t channels,
                                  std::int64_t stride, std::int64_t width, float* dot) {
  dot_products(here, there, channels, stride, width, dot);
}
POINT2MASK_MULTIARCH void dot_row(const double* here, const double* there, std::int64_t channels,
                                  std::int64_t stride, std::int64_t width, double* dot) {
  dot_products(here, there, channels, stride, width, dot);
}

POINT2MASK_MULTIARCH bool score_row(const float* dot, const float* near, std::int64_t width,
                                    double* total, std::int32_t* count) {
  return score(dot, near, width, total, count);
}
POINT2MASK_MULTIARCH bool score_row(const double* dot, const double* near, std::int64_t width,
                                    double* total, std::int32_t* count) {
  return score(dot, near, width, total, count);
}

POINT2MASK_MULTIARCH bool weigh_row(const float* dot, const float* near, std::int64_t width,
                                    float* weight) {
  return weigh(dot, near, width, weight);
}
POINT2MASK_MULTIARCH bool weigh_row(const double* dot, const double* near, std::int64_t width,
                                    double* weight) {
  return weigh(dot, near, width, weight);
}

POINT2MASK_MULTIARCH void gather_row(const GatherRow<float>& r) { gather(r); }
POINT2MASK_MULTIARCH void gather_row(const GatherRow<double>& r) { gather(r); }

} // namespace point2mask
