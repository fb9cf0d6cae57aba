#pragma once

// The K x K system of sinkhorn's gradient: H = diag(m) - lambda M with M >= 0 symmetric and
// M 1 = m, a weighted graph Laplacian plus, where a marginal is relaxed, a positive diagonal.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace point2mask::transport {

// The system is summed in parts, added up in their order whatever the threads. Their number depends
// on the shape of the problem alone, as do the images whose parts are held at a time.
inline constexpr std::int64_t kParts = 64;              // an image, at most
inline constexpr std::int64_t kGroupValues = 8'000'000; // of all parts held at a time

// Parts of an image that has `chunks` and of which each part has so many values.
inline std::int64_t parts_of(std::int64_t chunks, std::int64_t values) {
  const std::int64_t fitting = kGroupValues / std::max<std::int64_t>(values, 1);
  return std::clamp<std::int64_t>(fitting, 1, std::min(kParts, std::max<std::int64_t>(chunks, 1)));
}
// Images at a time whose parts together have so many values each.
inline std::int64_t images_of(std::int64_t values) {
  return std::max<std::int64_t>(kGroupValues / std::max<std::int64_t>(values, 1), 1);
}

struct Laplacian {
  std::vector<double> weight; // [n, n] M, symmetric; the upper triangle is given
  std::vector<double> mass;   // [n] m, filled in
  double lambda, complement;  // lambda1 lambda2 and 1 - lambda1 lambda2
  std::int64_t n;

  // Completes weight and mass from the upper triangle.
  void symmetrise();

  // Solves H z = rhs in place. With both marginals fixed (complement 0) H is singular on every
  // connected component: rhs is projected to mean zero there and z gets sum_k m_k z_k = 0, which
  // makes it the exact adjoint of the map from masses and costs to the mean-zero potential.
  void solve(std::vector<double>& rhs);

 private:
  std::vector<std::int64_t> split_into_components();
  void eliminate(std::vector<double>& rhs);
};

} // namespace point2mask::transport
