#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "pairs_window.hpp"
#include "point2mask/multiarch.hpp"
#include "point2mask/pairs.hpp"
#include "point2mask/parallel.hpp"
#include "vector_math.hpp"

namespace point2mask {
namespace {

constexpr const char* kOp = "boundary_loss";
constexpr double kEpsilon = 1e-5;
constexpr std::size_t kKinds = 3; // thing, stuff, apart
constexpr std::array<double, kKinds> kShare{0.25, 0.25, 0.5};

// Row pointers of one pixel map each; a pair is the same x of `here` and of `there`.
template <typename T>
struct PairRow {
  const T* boundary;
  const std::int32_t* instance;
  const std::int32_t* semantic;

  PairRow at(std::int64_t offset) const {
    return {boundary + offset, instance + offset, semantic + offset};
  }
};

// One column's sums over the rows of a band.
struct Columns {
  double* total;       // [3, W] sum of -log
  std::int32_t* count; // [3, W]
  std::int64_t width;
};

// A pair with the same instance but different classes is both a thing pair and apart, as the
// formula has it. All are 0 or 1: branches would keep the loops from vectorising.
struct Kinds {
  std::int32_t thing, stuff, apart;
};

POINT2MASK_INLINE Kinds kinds_of(std::int32_t instance, std::int32_t other_instance,
                                 std::int32_t semantic, std::int32_t other_semantic) {
  const std::int32_t same = instance == other_instance ? 1 : 0;
  const std::int32_t thing = instance >= 0 ? same : 0;
  const std::int32_t known = std::min(semantic, other_semantic) >= 0 ? 1 : 0;
  const std::int32_t alike = semantic == other_semantic ? known : 0;
  return {thing, same * alike * (1 - thing), std::max(1 - same, known - alike)};
}

template <typename T>
POINT2MASK_INLINE void score(const T* __restrict__ b, const T* __restrict__ other_b,
                             const std::int32_t* __restrict__ instance,
                             const std::int32_t* __restrict__ other_instance,
                             const std::int32_t* __restrict__ semantic,
                             const std::int32_t* __restrict__ other_semantic, std::int64_t begin,
                             std::int64_t end, double* __restrict__ thing_total,
                             double* __restrict__ stuff_total, double* __restrict__ apart_total,
                             std::int32_t* __restrict__ thing_count,
                             std::int32_t* __restrict__ stuff_count,
                             std::int32_t* __restrict__ apart_count) {
  constexpr T kSmall = static_cast<T>(kEpsilon);
  for (std::int64_t x = begin; x < end; ++x) {
    const Kinds k = kinds_of(instance[x], other_instance[x], semantic[x], other_semantic[x]);
    const T m = b[x] > other_b[x] ? b[x] : other_b[x];
    const T together = -vector_log((1 - m) + kSmall), apart = -vector_log(m + kSmall);
    thing_total[x] += static_cast<double>(k.thing ? together : T(0));
    stuff_total[x] += static_cast<double>(k.stuff ? together : T(0));
    apart_total[x] += static_cast<double>(k.apart ? apart : T(0));
    thing_count[x] += k.thing;
    stuff_count[x] += k.stuff;
    apart_count[x] += k.apart;
  }
}

template <typename T>
POINT2MASK_INLINE void score_any(const PairRow<T>& here, const PairRow<T>& there,
                                 std::int64_t begin, std::int64_t end, const Columns& sums) {
  const std::int64_t w = sums.width;
  score(here.boundary, there.boundary, here.instance, there.instance, here.semantic, there.semantic,
        begin, end, sums.total, sums.total + w, sums.total + 2 * w, sums.count, sums.count + w,
        sums.count + 2 * w);
}

// d loss / d m of a pair, given to the pixel with the larger b, halved at a tie.
template <typename T>
POINT2MASK_INLINE void differentiate(const T* __restrict__ b, const T* __restrict__ other_b,
                                     const std::int32_t* __restrict__ instance,
                                     const std::int32_t* __restrict__ other_instance,
                                     const std::int32_t* __restrict__ semantic,
                                     const std::int32_t* __restrict__ other_semantic,
                                     std::int64_t begin, std::int64_t end, T thing_weight,
                                     T stuff_weight, T apart_weight, T* __restrict__ grad) {
  constexpr T kSmall = static_cast<T>(kEpsilon);
  for (std::int64_t x = begin; x < end; ++x) {
    const Kinds k = kinds_of(instance[x], other_instance[x], semantic[x], other_semantic[x]);
    const T m = b[x] > other_b[x] ? b[x] : other_b[x];
    const T together = (k.thing ? thing_weight : T(0)) + (k.stuff ? stuff_weight : T(0));
    const T apart = k.apart ? apart_weight : T(0);
    const T slope = together / ((1 - m) + kSmall) - apart / (m + kSmall);
    const T part = b[x] == other_b[x] ? T(0.5) : (b[x] > other_b[x] ? T(1) : T(0));
    grad[x] += part * slope;
  }
}

template <typename T>
POINT2MASK_INLINE void differentiate_any(const PairRow<T>& here, const PairRow<T>& there,
                                         std::int64_t begin, std::int64_t end,
                                         const std::array<T, kKinds>& weight, T* grad) {
  differentiate(here.boundary, there.boundary, here.instance, there.instance, here.semantic,
                there.semantic, begin, end, weight[0], weight[1], weight[2], grad);
}

POINT2MASK_MULTIARCH void score_row(const PairRow<float>& here, const PairRow<float>& there,
                                    std::int64_t begin, std::int64_t end, const Columns& sums) {
  score_any(here, there, begin, end, sums);
}
POINT2MASK_MULTIARCH void score_row(const PairRow<double>& here, const PairRow<double>& there,
                                    std::int64_t begin, std::int64_t end, const Columns& sums) {
  score_any(here, there, begin, end, sums);
}

POINT2MASK_MULTIARCH void differentiate_row(const PairRow<float>& here, const PairRow<float>& there,
                                            std::int64_t begin, std::int64_t end,
                                            const std::array<float, kKinds>& weight, float* grad) {
  differentiate_any(here, there, begin, end, weight, grad);
}
POINT2MASK_MULTIARCH void differentiate_row(const PairRow<double>& here,
                                            const PairRow<double>& there, std::int64_t begin,
                                            std::int64_t end,
                                            const std::array<double, kKinds>& weight,
                                            double* grad) {
  differentiate_any(here, there, begin, end, weight, grad);
}

template <typename T>
bool boundary_in_range(const T* b, std::int64_t count) {
  std::int32_t bad = 0;
  // Asks for what is inside, so that NaN is bad.
  for (std::int64_t i = 0; i < count; ++i) bad = b[i] >= 0 && b[i] <= 1 ? bad : 1;
  return bad == 0;
}

void check_labels(const char* argument, const std::int32_t* labels, std::int64_t count,
                  std::int64_t image) {
  std::int32_t lowest = 0;
  for (std::int64_t i = 0; i < count; ++i) lowest = std::min(lowest, labels[i]);
  if (lowest < -1)
    throw std::invalid_argument(std::string(kOp) + ": " + argument +
                                " must be -1 or a non-negative label, got " +
                                std::to_string(lowest) + " in image " + std::to_string(image));
}

struct Partial {
  std::array<double, kKinds> total{};
  std::array<std::int64_t, kKinds> pairs{};
};

template <typename T>
struct Scorer {
  const BoundaryLoss<T>& p;
  const HalfWindow& window;
  std::vector<double> total;
  std::vector<std::int32_t> count;

  Scorer(const BoundaryLoss<T>& problem, const HalfWindow& window_)
      : p(problem),
        window(window_),
        total(kKinds * static_cast<std::size_t>(p.width)),
        count(kKinds * static_cast<std::size_t>(p.width)) {}

  Partial operator()(std::int64_t image, std::int64_t begin, std::int64_t end) {
    const std::int64_t first = (image * p.height + begin) * p.width;
    const std::int64_t size = (end - begin) * p.width;
    if (!boundary_in_range(p.boundary + first, size))
      throw std::invalid_argument(std::string(kOp) +
                                  ": boundary must lie in [0, 1], got NaN or a value outside in "
                                  "image " +
                                  std::to_string(image));
    check_labels("instance", p.instance + first, size, image);
    check_labels("semantic", p.semantic + first, size, image);
    std::fill(total.begin(), total.end(), 0.0);
    Partial sum;
    for (std::int64_t y = begin; y < end; ++y) {
      std::fill(count.begin(), count.end(), 0);
      const PairRow<T> here =
          PairRow<T>{p.boundary, p.instance, p.semantic}.at((image * p.height + y) * p.width);
      for (const auto& [dy, dx] : window.offsets)
        if (y + dy < p.height)
          score_row(here, here.at(dy * p.width + dx), std::max<std::int64_t>(0, -dx),
                    p.width - std::max<std::int64_t>(0, dx),
                    Columns{total.data(), count.data(), p.width});
      for (std::size_t i = 0; i < count.size(); ++i)
        sum.pairs[i / static_cast<std::size_t>(p.width)] += count[i];
    }
    for (std::size_t i = 0; i < total.size(); ++i)
      sum.total[i / static_cast<std::size_t>(p.width)] += total[i];
    return sum;
  }
};

template <typename T>
void gradient_row(const BoundaryLossBackward<T>& p, const HalfWindow& window, std::int64_t image,
                  std::int64_t y, const std::array<T, kKinds>& weight) {
  const std::int64_t first = (image * p.height + y) * p.width;
  T* grad = p.grad_boundary + first;
  std::fill_n(grad, p.width, T(0));
  const PairRow<T> here = PairRow<T>{p.boundary, p.instance, p.semantic}.at(first);
  for (const PairOffset& half : window.offsets)
    for (const std::int64_t sign : {1, -1}) {
      const std::int64_t dy = sign * half.dy, dx = sign * half.dx;
      if (y + dy < 0 || y + dy >= p.height) continue;
      differentiate_row(here, here.at(dy * p.width + dx), std::max<std::int64_t>(0, -dx),
                        p.width - std::max<std::int64_t>(0, dx), weight, grad);
    }
}

} // namespace

template <typename T>
void run(const BoundaryLoss<T>& p, const Executor& executor) {
  check(p);
  const HalfWindow window(p.kernel_size, p.dilation, p.height, p.width);
  const Bands bands(p.images, p.width == 0 ? 0 : p.height, 0);
  std::vector<Partial> partial(static_cast<std::size_t>(p.images * bands.count));
  bands.run(
      executor, [&] { return Scorer<T>(p, window); },
      [&](Scorer<T>& score, std::int64_t image, std::int64_t begin, std::int64_t end,
          std::int64_t band) {
        partial[static_cast<std::size_t>(band)] = score(image, begin, end);
      });
  for (std::int64_t image = 0; image < p.images; ++image) {
    double loss = 0;
    for (std::size_t k = 0; k < kKinds; ++k) {
      double total = 0;
      std::int64_t pairs = 0;
      for (std::int64_t b = image * bands.count; b < (image + 1) * bands.count; ++b) {
        total += partial[static_cast<std::size_t>(b)].total[k];
        pairs += partial[static_cast<std::size_t>(b)].pairs[k];
      }
      p.pairs[image * static_cast<std::int64_t>(kKinds) + static_cast<std::int64_t>(k)] = pairs;
      if (pairs > 0) loss += kShare[k] * total / static_cast<double>(pairs);
    }
    p.loss[image] = static_cast<T>(loss);
  }
}

template <typename T>
void run(const BoundaryLossBackward<T>& p, const Executor& executor) {
  check(p);
  const HalfWindow window(p.kernel_size, p.dilation, p.height, p.width);
  if (p.width == 0) return;
  executor.for_range(p.images * p.height, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t image = i / p.height;
      std::array<T, kKinds> weight{};
      for (std::size_t k = 0; k < kKinds; ++k) {
        const std::int64_t pairs = p.pairs[image * 3 + static_cast<std::int64_t>(k)];
        if (pairs > 0)
          weight[k] = p.grad_loss[image] * static_cast<T>(kShare[k] / static_cast<double>(pairs));
      }
      gradient_row(p, window, image, i % p.height, weight);
    }
  });
}

template void run(const BoundaryLoss<float>&, const Executor&);
template void run(const BoundaryLoss<double>&, const Executor&);
template void run(const BoundaryLossBackward<float>&, const Executor&);
template void run(const BoundaryLossBackward<double>&, const Executor&);

} // namespace point2mask
