#pragma once

// The K x K system of sinkhorn's gradient: H = diag(m) - lambda M with M >= 0 symmetric and
// M 1 = m, a weighted graph Laplacian plus, where a marginal is relaxed, a positive diagonal.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace point2mask::transport {

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
