// What the suite measures the machine with, and plain scalar loops as peers. Built by native.py.

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <queue>
#include <utility>
#include <vector>

namespace {

using Lanes = float __attribute__((vector_size(32)));
using Integers = int32_t __attribute__((vector_size(32)));

Lanes load(const float* p) {
  Lanes x;
  std::memcpy(&x, p, sizeof x);
  return x;
}

float sum(Lanes x) {
  float total = 0;
  for (int lane = 0; lane < 8; ++lane) {
    total += x[lane];
  }
  return total;
}

// 2^x for x in [-126, 0], degree 6.
Lanes exp2_lanes(Lanes x) {
  const Lanes magic = Lanes{} + 12582912.0F; // 1.5 * 2^23 rounds to an integer when added
  const Lanes shifted = x + magic;
  const Lanes f = x - (shifted - magic);
  Lanes p = Lanes{} + 1.535336188319500e-4F;
  p = p * f + 1.339887440266574e-3F;
  p = p * f + 9.618437357674640e-3F;
  p = p * f + 5.550332471162809e-2F;
  p = p * f + 2.402264791363012e-1F;
  p = p * f + 6.931472028550421e-1F;
  p = p * f + 1.0F;
  Integers bits, exponent;
  std::memcpy(&bits, &p, sizeof bits);
  std::memcpy(&exponent, &shifted, sizeof exponent);
  bits += exponent << 23;
  std::memcpy(&p, &bits, sizeof p);
  return p;
}

constexpr std::array<std::pair<int, int>, 8> kSteps{
    {{1, 0}, {0, 1}, {1, 1}, {1, -1}, {-1, 0}, {0, -1}, {-1, -1}, {-1, 1}}};

} // namespace

extern "C" {

// Sum of n floats, n a multiple of 32, `times` times over.
float read_floats(const float* p, int64_t n, int64_t times) {
  Lanes a{}, b{}, c{}, d{};
  for (int64_t t = 0; t < times; ++t) {
    for (int64_t i = 0; i + 32 <= n; i += 32) {
      a += load(p + i);
      b += load(p + i + 8);
      c += load(p + i + 16);
      d += load(p + i + 24);
    }
    asm volatile("" ::"r"(p) : "memory");
  }
  return sum(a + b + c + d);
}

void copy_floats(const float* from, float* to, int64_t n) {
  for (int64_t i = 0; i + 8 <= n; i += 8) {
    const Lanes x = load(from + i);
    std::memcpy(to + i, &x, sizeof x);
  }
}

// Sum of 2^p[i], n a multiple of 32, `times` times over.
float exp2_floats(const float* p, int64_t n, int64_t times) {
  Lanes a{}, b{}, c{}, d{};
  for (int64_t t = 0; t < times; ++t) {
    for (int64_t i = 0; i + 32 <= n; i += 32) {
      a += exp2_lanes(load(p + i));
      b += exp2_lanes(load(p + i + 8));
      c += exp2_lanes(load(p + i + 16));
      d += exp2_lanes(load(p + i + 24));
    }
    asm volatile("" ::"r"(p) : "memory");
  }
  return sum(a + b + c + d);
}

// A plain loop over the ranks for every channel, the divisor once for all. The sums depend on each
// other, so that a compiler vectorises nothing but the copies to and from the order of the ranks.
// feature [C, N], output [C, N], order, parent and similarity [N] by rank, scratch [2, N].
void tree_filter(const float* feature, const int32_t* order, const int32_t* parent,
                 const float* similarity, int64_t channels, int64_t pixels, float* scratch,
                 float* output) {
  float* value = scratch;
  float* norm = scratch + pixels;
  const auto both_passes = [&](float* v) {
    for (int64_t i = pixels - 1; i > 0; --i) {
      v[parent[i]] += similarity[i] * v[i];
    }
    for (int64_t i = 1; i < pixels; ++i) {
      const float s = similarity[i];
      v[i] += s * (v[parent[i]] - s * v[i]);
    }
  };
  for (int64_t i = 0; i < pixels; ++i) {
    norm[i] = 1;
  }
  both_passes(norm);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < pixels; ++i) {
      value[i] = feature[c * pixels + order[i]];
    }
    both_passes(value);
    for (int64_t i = 0; i < pixels; ++i) {
      output[c * pixels + order[i]] = value[i] / norm[i];
    }
  }
}

// Dijkstra with a binary heap for every seed, outdated entries skipped. cost [8, H, W] of the
// directed steps, seeds [K], distance [K, H, W].
void shortest_paths(const float* cost, int64_t height, int64_t width, const int32_t* seeds,
                    int64_t targets, float* distance) {
  using Entry = std::pair<float, int64_t>;
  const int64_t pixels = height * width;
  for (int64_t k = 0; k < targets; ++k) {
    float* d = distance + k * pixels;
    for (int64_t i = 0; i < pixels; ++i) {
      d[i] = std::numeric_limits<float>::infinity();
    }
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue;
    d[seeds[k]] = 0;
    queue.emplace(0.0F, seeds[k]);
    while (!queue.empty()) {
      const auto [near, pixel] = queue.top();
      queue.pop();
      if (near > d[pixel]) {
        continue;
      }
      const int64_t y = pixel / width, x = pixel % width;
      for (int step = 0; step < 8; ++step) {
        const int64_t v = y + kSteps[step].first, u = x + kSteps[step].second;
        if (v < 0 || v >= height || u < 0 || u >= width) {
          continue;
        }
        const float reached = near + cost[step * pixels + pixel];
        if (reached < d[v * width + u]) {
          d[v * width + u] = reached;
          queue.emplace(reached, v * width + u);
        }
      }
    }
  }
}

} // extern "C"
