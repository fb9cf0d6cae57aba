#include "point2mask/deformable.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "point2mask/multiarch.hpp"
#include "point2mask/parallel.hpp"

namespace point2mask {
namespace {

constexpr std::int64_t kGrain = 64; // queries

// The four cells around a point, rows y and y + 1, columns x and x + 1, and how far it lies from
// the first ones. Offsets of cells outside the map are -1.
template <typename T>
struct Corners {
  std::int64_t offset[4];
  T right, down; // in [0, 1]
  bool inside;   // whether any corner is
};

template <typename T>
POINT2MASK_INLINE Corners<T> corners(T x, T y, std::int64_t height, std::int64_t width) {
  Corners<T> c{};
  const T column = x * static_cast<T>(width) - T(0.5), row = y * static_cast<T>(height) - T(0.5);
  c.inside = column > T(-1) && column < static_cast<T>(width) && row > T(-1) &&
             row < static_cast<T>(height); // false for NaN
  if (!c.inside) return c;
  // Shifted by one cell the numbers are positive and truncation is floor.
  const auto j = static_cast<std::int64_t>(column + T(1)) - 1;
  const auto i = static_cast<std::int64_t>(row + T(1)) - 1;
  c.right = column - static_cast<T>(j);
  c.down = row - static_cast<T>(i);
  for (std::int64_t k = 0; k < 4; ++k) {
    const std::int64_t y_k = i + k / 2, x_k = j + k % 2;
    const bool in = y_k >= 0 && y_k < height && x_k >= 0 && x_k < width;
    c.offset[k] = in ? y_k * width + x_k : -1;
  }
  return c;
}

template <typename T>
POINT2MASK_INLINE void corner_weights(const Corners<T>& c, T (&w)[4]) {
  w[0] = (T(1) - c.down) * (T(1) - c.right);
  w[1] = (T(1) - c.down) * c.right;
  w[2] = c.down * (T(1) - c.right);
  w[3] = c.down * c.right;
}

template <typename T>
POINT2MASK_INLINE void add_scaled(T* __restrict to, const T* __restrict from, T factor,
                                  std::int64_t count) {
  for (std::int64_t c = 0; c < count; ++c) to[c] += factor * from[c];
}

// Eight partial sums in fixed places: the compiler may not reorder a single one.
template <typename T>
POINT2MASK_INLINE T dot(const T* __restrict a, const T* __restrict b, std::int64_t count) {
  constexpr std::int64_t kLanes = 8;
  T part[kLanes] = {};
  std::int64_t c = 0;
  for (; c + kLanes <= count; c += kLanes)
    for (std::int64_t lane = 0; lane < kLanes; ++lane) part[lane] += a[c + lane] * b[c + lane];
  for (std::int64_t lane = 0; c + lane < count; ++lane) part[lane] += a[c + lane] * b[c + lane];
  return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

// Queries [begin, end) of all images, which count as one sequence.
template <typename T>
POINT2MASK_INLINE void read_queries(const DeformableAttention<T>& a, std::int64_t begin,
                                    std::int64_t end) {
  const std::int64_t stride = a.heads * a.channels;
  for (std::int64_t q = begin; q < end; ++q) {
    const T* const image = a.value + q / a.queries * a.cells * stride;
    for (std::int64_t m = 0; m < a.heads; ++m) {
      T* const out = a.output + (q * a.heads + m) * a.channels;
      std::fill_n(out, a.channels, T(0));
      const T* map = image + m * a.channels;
      std::int64_t sample = (q * a.heads + m) * a.levels * a.points;
      for (std::int64_t l = 0; l < a.levels; ++l) {
        const std::int64_t height = a.shapes[2 * l], width = a.shapes[2 * l + 1];
        for (std::int64_t p = 0; p < a.points; ++p, ++sample) {
          const Corners<T> at =
              corners(a.where[2 * sample], a.where[2 * sample + 1], height, width);
          if (!at.inside) continue;
          T w[4];
          corner_weights(at, w);
          for (std::int64_t k = 0; k < 4; ++k)
            if (at.offset[k] >= 0)
              add_scaled(out, map + at.offset[k] * stride, a.weight[sample] * w[k], a.channels);
        }
        map += height * width * stride;
      }
    }
  }
}

// All queries of one head of one image.
template <typename T>
POINT2MASK_INLINE void head_gradient(const DeformableAttentionBackward<T>& a, std::int64_t image,
                                     std::int64_t m) {
  const std::int64_t stride = a.heads * a.channels;
  const std::int64_t first = image * a.cells * stride + m * a.channels;
  for (std::int64_t cell = 0; cell < a.cells; ++cell)
    std::fill_n(a.grad_value + first + cell * stride, a.channels, T(0));
  for (std::int64_t q = image * a.queries; q < (image + 1) * a.queries; ++q) {
    const T* const grad = a.grad_output + (q * a.heads + m) * a.channels;
    std::int64_t sample = (q * a.heads + m) * a.levels * a.points, start = first;
    for (std::int64_t l = 0; l < a.levels; ++l) {
      const std::int64_t height = a.shapes[2 * l], width = a.shapes[2 * l + 1];
      for (std::int64_t p = 0; p < a.points; ++p, ++sample) {
        const Corners<T> at = corners(a.where[2 * sample], a.where[2 * sample + 1], height, width);
        const T weight = a.weight[sample];
        T d[4] = {}, w[4] = {}; // <gradient, value> at the corners, and their shares
        if (at.inside) {
          corner_weights(at, w);
          for (std::int64_t k = 0; k < 4; ++k) {
            if (at.offset[k] < 0) continue;
            const std::int64_t o = start + at.offset[k] * stride;
            d[k] = dot(grad, a.value + o, a.channels);
            add_scaled(a.grad_value + o, grad, weight * w[k], a.channels);
          }
        }
        a.grad_weight[sample] = (w[0] * d[0] + w[1] * d[1]) + (w[2] * d[2] + w[3] * d[3]);
        const T x = (T(1) - at.down) * (d[1] - d[0]) + at.down * (d[3] - d[2]);
        const T y = (T(1) - at.right) * (d[2] - d[0]) + at.right * (d[3] - d[1]);
        a.grad_where[2 * sample] = weight * static_cast<T>(width) * x;
        a.grad_where[2 * sample + 1] = weight * static_cast<T>(height) * y;
      }
      start += height * width * stride;
    }
  }
}

// Plain overloads, which can have clones.
POINT2MASK_MULTIARCH void read(const DeformableAttention<float>& a, std::int64_t begin,
                               std::int64_t end) {
  read_queries(a, begin, end);
}
POINT2MASK_MULTIARCH void read(const DeformableAttention<double>& a, std::int64_t begin,
                               std::int64_t end) {
  read_queries(a, begin, end);
}
POINT2MASK_MULTIARCH void gradient(const DeformableAttentionBackward<float>& a, std::int64_t image,
                                   std::int64_t head) {
  head_gradient(a, image, head);
}
POINT2MASK_MULTIARCH void gradient(const DeformableAttentionBackward<double>& a, std::int64_t image,
                                   std::int64_t head) {
  head_gradient(a, image, head);
}

void check_cells(const char* op, const std::int64_t* shapes, std::int64_t levels,
                 std::int64_t cells) {
  std::int64_t total = 0;
  for (std::int64_t l = 0; l < levels; ++l) {
    const std::int64_t height = shapes[2 * l], width = shapes[2 * l + 1];
    if (height < 0 || width < 0 || height > cells || width > cells)
      throw std::invalid_argument(
          std::string(op) + ": shapes must lie in [0, S=" + std::to_string(cells) + "], got " +
          std::to_string(height) + " x " + std::to_string(width));
    total += height * width;
  }
  if (total != cells)
    throw std::invalid_argument(std::string(op) + ": shapes must have S=" + std::to_string(cells) +
                                " cells together, got " + std::to_string(total));
}

} // namespace

template <typename T>
void check(const DeformableAttention<T>& a) {
  check_cells("deformable_attention", a.shapes, a.levels, a.cells);
}
template <typename T>
void check(const DeformableAttentionBackward<T>& a) {
  check_cells("deformable_attention_backward", a.shapes, a.levels, a.cells);
}

template <typename T>
void run(const DeformableAttention<T>& a, const Executor& executor) {
  check(a);
  executor.for_range(a.images * a.queries, kGrain,
                     [&](std::int64_t begin, std::int64_t end) { read(a, begin, end); });
}

template <typename T>
void run(const DeformableAttentionBackward<T>& a, const Executor& executor) {
  check(a);
  executor.for_range(a.images * a.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t h = begin; h < end; ++h) gradient(a, h / a.heads, h % a.heads);
  });
}

template void check(const DeformableAttention<float>&);
template void check(const DeformableAttention<double>&);
template void check(const DeformableAttentionBackward<float>&);
template void check(const DeformableAttentionBackward<double>&);
template void run(const DeformableAttention<float>&, const Executor&);
template void run(const DeformableAttention<double>&, const Executor&);
template void run(const DeformableAttentionBackward<float>&, const Executor&);
template void run(const DeformableAttentionBackward<double>&, const Executor&);

} // namespace point2mask
