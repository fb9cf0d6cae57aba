#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include "point2mask/grid.hpp"
#include "point2mask/multiarch.hpp"
#include "point2mask/pairs.hpp"
#include "point2mask/parallel.hpp"

namespace point2mask {
namespace {

// Rows are independent, so any split gives the same bits. A band of rows is worked through channel
// by channel: whole pieces of every plane are read while the band's sums stay in the cache.
constexpr std::int64_t kBandRows = 8;

// One step of grid.hpp seen from one row: pixels begin..end of the row have that neighbour, which
// lies `shift` elements further in the same plane.
template <typename T>
struct Step {
  std::int64_t begin, end, shift;
  T* row; // [W] forward: accumulated distance; backward: weight of each pair
};

template <typename T>
struct Steps {
  std::array<Step<T>, 8> step;
  std::size_t count = 0;

  // Adds step d as seen from row y unless it leaves the image everywhere.
  void add(std::size_t d, std::int64_t y, std::int64_t height, std::int64_t width, T* row) {
    const auto [dy, dx] = kOffsets[d];
    if (y + dy < 0 || y + dy >= height) return;
    step[count++] = {dx < 0 ? 1 : 0, dx > 0 ? width - 1 : width, dy * width + dx, row};
  }
};

// A band of rows of one image; the feature map is given from the first row of the band on.
template <typename T>
struct Band {
  std::int64_t channels, plane, width, rows;
  const Steps<T>* steps; // [rows]
};

template <Norm kNorm, typename T>
POINT2MASK_INLINE T part(T a, T b) {
  return kNorm == Norm::kL1 ? std::abs(a - b) : (a - b) * (a - b);
}

// Four channels at a time: loading and storing the sum for each would cost more than the sum.
template <Norm kNorm, typename T>
POINT2MASK_INLINE void add_4_channels(const T* __restrict__ here, const T* __restrict__ there,
                                      std::int64_t plane, std::int64_t begin, std::int64_t end,
                                      T* __restrict__ sum) {
  for (std::int64_t x = begin; x < end; ++x)
    sum[x] += (part<kNorm>(here[x], there[x]) + part<kNorm>(here[plane + x], there[plane + x])) +
              (part<kNorm>(here[2 * plane + x], there[2 * plane + x]) +
               part<kNorm>(here[3 * plane + x], there[3 * plane + x]));
}

template <Norm kNorm, typename T>
POINT2MASK_INLINE void add_channel(const T* __restrict__ here, const T* __restrict__ there,
                                   std::int64_t begin, std::int64_t end, T* __restrict__ sum) {
  for (std::int64_t x = begin; x < end; ++x) sum[x] += part<kNorm>(here[x], there[x]);
}

template <Norm kNorm, typename T>
POINT2MASK_INLINE void accumulate_band(const Band<T>& band, const T* feature) {
  for (std::int64_t c = 0; c < band.channels;) {
    const bool four = c + 4 <= band.channels;
    for (std::int64_t r = 0; r < band.rows; ++r) {
      const T* here = feature + c * band.plane + r * band.width;
      for (std::size_t s = 0; s < band.steps[r].count; ++s) {
        const auto [begin, end, shift, sum] = band.steps[r].step[s];
        if (four)
          add_4_channels<kNorm>(here, here + shift, band.plane, begin, end, sum);
        else
          add_channel<kNorm>(here, here + shift, begin, end, sum);
      }
    }
    c += four ? 4 : 1;
  }
}

template <typename T>
POINT2MASK_INLINE void take_roots(const Band<T>& band) {
  for (std::int64_t r = 0; r < band.rows; ++r)
    for (std::size_t s = 0; s < band.steps[r].count; ++s) {
      const Step<T> step = band.steps[r].step[s];
      for (std::int64_t x = step.begin; x < step.end; ++x) step.row[x] = std::sqrt(step.row[x]);
    }
}

// The weights already hold what does not depend on the channel: 2 for squared_l2, 1/distance for
// l2. What is left of the derivative is the sign (l1, 0 at 0) or the difference itself.
template <Norm kNorm, typename T>
POINT2MASK_INLINE T slope(T a, T b, T weight) {
  const T d = a - b;
  if constexpr (kNorm == Norm::kL1) return d == 0 ? T(0) : std::copysign(T(1), d) * weight;
  return d * weight;
}

template <Norm kNorm, typename T>
POINT2MASK_INLINE void add_4_slopes(const T* __restrict__ here, const T* __restrict__ t0,
                                    const T* __restrict__ w0, const T* __restrict__ t1,
                                    const T* __restrict__ w1, const T* __restrict__ t2,
                                    const T* __restrict__ w2, const T* __restrict__ t3,
                                    const T* __restrict__ w3, std::int64_t begin, std::int64_t end,
                                    T* __restrict__ grad) {
  for (std::int64_t x = begin; x < end; ++x) {
    const T h = here[x];
    grad[x] += (slope<kNorm>(h, t0[x], w0[x]) + slope<kNorm>(h, t1[x], w1[x])) +
               (slope<kNorm>(h, t2[x], w2[x]) + slope<kNorm>(h, t3[x], w3[x]));
  }
}

template <Norm kNorm, typename T>
POINT2MASK_INLINE void add_slope(const T* __restrict__ here, const T* __restrict__ there,
                                 const T* __restrict__ weight, std::int64_t begin, std::int64_t end,
                                 T* __restrict__ grad) {
  for (std::int64_t x = begin; x < end; ++x) grad[x] += slope<kNorm>(here[x], there[x], weight[x]);
}

// All neighbours are gathered, so no two rows write the same place. Between the first and the last
// pixel of a row all steps exist: these are taken four at a time.
template <Norm kNorm, typename T>
POINT2MASK_INLINE void gather_row(const T* here, const Steps<T>& steps, std::int64_t width,
                                  T* grad) {
  std::fill_n(grad, width, T(0));
  const std::int64_t last = width - 1;
  std::size_t s = 0;
  for (; s + 4 <= steps.count; s += 4) {
    const Step<T>* k = steps.step.data() + s;
    add_4_slopes<kNorm>(here, here + k[0].shift, k[0].row, here + k[1].shift, k[1].row,
                        here + k[2].shift, k[2].row, here + k[3].shift, k[3].row, 1, last, grad);
  }
  for (; s < steps.count; ++s)
    add_slope<kNorm>(here, here + steps.step[s].shift, steps.step[s].row, 1, last, grad);
  for (std::int64_t x = 0; x < width; x += last > 0 ? last : 1)
    for (std::size_t k = 0; k < steps.count; ++k) {
      const Step<T>& step = steps.step[k];
      if (step.begin <= x && x < step.end)
        grad[x] += slope<kNorm>(here[x], here[x + step.shift], step.row[x]);
    }
}

// A few channels of a row at a time: the weights of all rows of a band would leave the first cache.
template <Norm kNorm, typename T>
POINT2MASK_INLINE void gather_band(const Band<T>& band, const T* feature, T* grad) {
  constexpr std::int64_t kChannels = 8;
  for (std::int64_t block = 0; block < band.channels; block += kChannels)
    for (std::int64_t r = 0; r < band.rows; ++r)
      for (std::int64_t c = block; c < std::min(block + kChannels, band.channels); ++c) {
        const std::int64_t first = c * band.plane + r * band.width;
        gather_row<kNorm>(feature + first, band.steps[r], band.width, grad + first);
      }
}

template <typename T>
POINT2MASK_INLINE void accumulate_any(Norm norm, const Band<T>& band, const T* feature) {
  if (norm == Norm::kL1) return accumulate_band<Norm::kL1>(band, feature);
  accumulate_band<Norm::kSquaredL2>(band, feature);
  if (norm == Norm::kL2) take_roots(band);
}

template <typename T>
POINT2MASK_INLINE void gather_any(Norm norm, const Band<T>& band, const T* feature, T* grad) {
  if (norm == Norm::kL1) return gather_band<Norm::kL1>(band, feature, grad);
  gather_band<Norm::kSquaredL2>(band, feature, grad);
}

POINT2MASK_MULTIARCH void accumulate(Norm norm, const Band<float>& band, const float* feature) {
  accumulate_any(norm, band, feature);
}

POINT2MASK_MULTIARCH void accumulate(Norm norm, const Band<double>& band, const double* feature) {
  accumulate_any(norm, band, feature);
}

POINT2MASK_MULTIARCH void gather(Norm norm, const Band<float>& band, const float* feature,
                                 float* grad) {
  gather_any(norm, band, feature, grad);
}

POINT2MASK_MULTIARCH void gather(Norm norm, const Band<double>& band, const double* feature,
                                 double* grad) {
  gather_any(norm, band, feature, grad);
}

// Steps 4..7 are the reverses of 0..3: row y copies what it found into the neighbours' entries.
// Every entry belongs to one pair, so rows never write the same place.
template <typename T>
void mirror_row(const NeighborDifference<T>& p, T* difference, std::int64_t y) {
  const std::int64_t plane = p.height * p.width;
  for (std::size_t d = 0; d < 4; ++d) {
    const auto [dy, dx] = kOffsets[d];
    const T* from = difference + static_cast<std::int64_t>(d) * plane + y * p.width;
    T* row = difference + static_cast<std::int64_t>(d + 4) * plane + y * p.width;
    if (y + dy < p.height)
      std::copy(from + (dx < 0), from + p.width - (dx > 0), row + dy * p.width + std::max(dx, 0));
    // The entries of this row whose neighbour lies outside.
    if (y < dy) std::fill_n(row, p.width, T(0));
    if (dx > 0) row[0] = 0;
    if (dx < 0) row[p.width - 1] = 0;
  }
}

template <typename T>
void difference_band(const NeighborDifference<T>& p, std::int64_t image, std::int64_t y0,
                     std::int64_t rows) {
  const std::int64_t plane = p.height * p.width;
  T* difference = p.difference + image * p.directions * plane;
  std::array<Steps<T>, kBandRows> steps;
  const auto undirected = static_cast<std::size_t>(std::min<std::int64_t>(p.directions, 4));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::size_t d = 0; d < undirected; ++d) {
      T* row = difference + static_cast<std::int64_t>(d) * plane + (y0 + r) * p.width;
      std::fill_n(row, p.width, T(0));
      steps[static_cast<std::size_t>(r)].add(d, y0 + r, p.height, p.width, row);
    }
  const T* feature = p.feature + image * p.channels * plane + y0 * p.width;
  accumulate(p.norm, Band<T>{p.channels, plane, p.width, rows, steps.data()}, feature);
  if (p.directions == 8)
    for (std::int64_t r = 0; r < rows; ++r) mirror_row(p, difference, y0 + r);
}

// The weight of the pairs of row y with their neighbours by step d: the upstream gradient of the
// pair (of both its entries where D is 8) times the factor of the norm.
template <typename T>
void fill_weights(const NeighborDifferenceBackward<T>& p, std::int64_t image, std::int64_t y,
                  std::size_t d, const Step<T>& step) {
  const std::int64_t plane = p.height * p.width;
  const bool both = p.directions == 8;
  const auto of = static_cast<std::int64_t>(both ? d : d % 4);
  // Where the entry of the pair lies, seen from this row: at the pixel that the edge leaves.
  const std::int64_t at = both || d < 4 ? 0 : step.shift;
  const std::int64_t row = image * p.directions * plane + y * p.width;
  const T* grad = p.grad_difference + row + of * plane + at;
  const T* reverse = both ? p.grad_difference + row + (of + 4) % 8 * plane + step.shift : grad;
  const T* distance = p.difference + row + of * plane + at;
  for (std::int64_t x = step.begin; x < step.end; ++x) {
    const T g = both ? grad[x] + reverse[x] : grad[x];
    if (p.norm == Norm::kL1)
      step.row[x] = g;
    else if (p.norm == Norm::kSquaredL2)
      step.row[x] = 2 * g;
    else
      step.row[x] = distance[x] == 0 ? T(0) : g / distance[x];
  }
}

template <typename T>
void gradient_band(const NeighborDifferenceBackward<T>& p, std::int64_t image, std::int64_t y0,
                   std::int64_t rows, T* weights) {
  const std::int64_t plane = p.height * p.width;
  std::array<Steps<T>, kBandRows> steps;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::size_t d = 0; d < 8; ++d) {
      if (static_cast<std::int64_t>(d % 4) >= p.directions) continue;
      Steps<T>& s = steps[static_cast<std::size_t>(r)];
      const std::size_t before = s.count;
      s.add(d, y0 + r, p.height, p.width,
            weights + (r * 8 + static_cast<std::int64_t>(d)) * p.width);
      if (s.count > before) fill_weights(p, image, y0 + r, d, s.step[before]);
    }
  const std::int64_t first = image * p.channels * plane + y0 * p.width;
  gather(p.norm, Band<T>{p.channels, plane, p.width, rows, steps.data()}, p.feature + first,
         p.grad_feature + first);
}

// Calls work(image, first row, rows) for all bands of all images.
template <typename F>
void for_bands(std::int64_t images, std::int64_t height, const Executor& executor, F&& work) {
  const std::int64_t bands = (height + kBandRows - 1) / kBandRows;
  executor.for_range(images * bands, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t y = i % bands * kBandRows;
      work(i / bands, y, std::min(kBandRows, height - y));
    }
  });
}

} // namespace

template <typename T>
void run(const NeighborDifference<T>& p, const Executor& executor) {
  check(p);
  if (p.width == 0) return;
  for_bands(p.images, p.height, executor, [&](auto... band) { difference_band(p, band...); });
}

template <typename T>
void run(const NeighborDifferenceBackward<T>& p, const Executor& executor) {
  check(p);
  if (p.width == 0) return;
  for_bands(p.images, p.height, executor,
            [&](std::int64_t image, std::int64_t y, std::int64_t rows) {
              std::vector<T> weights(static_cast<std::size_t>(8 * kBandRows * p.width));
              gradient_band(p, image, y, rows, weights.data());
            });
}

template void run(const NeighborDifference<float>&, const Executor&);
template void run(const NeighborDifference<double>&, const Executor&);
template void run(const NeighborDifferenceBackward<float>&, const Executor&);
template void run(const NeighborDifferenceBackward<double>&, const Executor&);

} // namespace point2mask
