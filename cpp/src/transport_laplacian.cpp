#include "transport_laplacian.hpp"

#include <algorithm>

namespace point2mask::transport {
namespace {

// Targets that share less than this fraction of their mass do not determine each other's potential.
constexpr double kNegligible = 1e-12;

} // namespace

void Laplacian::symmetrise() {
  mass.assign(static_cast<std::size_t>(n), 0);
  for (std::int64_t k = 0; k < n; ++k) {
    for (std::int64_t l = 0; l < k; ++l)
      weight[static_cast<std::size_t>(k * n + l)] = weight[static_cast<std::size_t>(l * n + k)];
  }
  for (std::int64_t k = 0; k < n; ++k)
    for (std::int64_t l = 0; l < n; ++l)
      mass[static_cast<std::size_t>(k)] += weight[static_cast<std::size_t>(k * n + l)];
}

// A component's name is its lowest member. Weights between components become 0.
std::vector<std::int64_t> Laplacian::split_into_components() {
  std::vector<std::int64_t> name(static_cast<std::size_t>(n), -1);
  std::vector<std::int64_t> stack;
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  for (std::int64_t root = 0; root < n; ++root) {
    if (name[at(root)] >= 0) continue;
    name[at(root)] = root;
    stack.push_back(root);
    while (!stack.empty()) {
      const std::int64_t k = stack.back();
      stack.pop_back();
      for (std::int64_t l = 0; l < n; ++l) {
        const double smaller = std::min(mass[at(k)], mass[at(l)]);
        if (name[at(l)] >= 0 || !(weight[at(k * n + l)] > kNegligible * smaller)) continue;
        name[at(l)] = root;
        stack.push_back(l);
      }
    }
  }
  for (std::int64_t k = 0; k < n; ++k)
    for (std::int64_t l = 0; l < n; ++l)
      if (name[at(k)] != name[at(l)]) weight[at(k * n + l)] = 0;
  return name;
}

// L D L^T, with every pivot formed as a sum of positive numbers (Grassmann, Taksar, Heyman 1985):
// no cancellation, so weakly coupled targets keep their relative accuracy.
void Laplacian::eliminate(std::vector<double>& rhs) {
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  std::vector<double> excess(mass), pivot(mass.size());
  for (double& e : excess) e *= complement;
  for (double& w : weight) w *= lambda;
  for (std::int64_t p = 0; p < n; ++p) {
    double d = excess[at(p)];
    for (std::int64_t l = p + 1; l < n; ++l) d += weight[at(p * n + l)];
    pivot[at(p)] = d;
    if (!(d > 0)) continue; // the last of its component
    for (std::int64_t k = p + 1; k < n; ++k) {
      const double factor = weight[at(p * n + k)] / d;
      if (factor == 0) continue;
      for (std::int64_t l = p + 1; l < n; ++l)
        weight[at(k * n + l)] += factor * weight[at(p * n + l)];
      excess[at(k)] += factor * excess[at(p)];
      rhs[at(k)] += factor * rhs[at(p)];
    }
  }
  for (std::int64_t p = n - 1; p >= 0; --p) {
    double z = rhs[at(p)];
    for (std::int64_t l = p + 1; l < n; ++l) z += weight[at(p * n + l)] * rhs[at(l)];
    rhs[at(p)] = pivot[at(p)] > 0 ? z / pivot[at(p)] : 0;
  }
}

void Laplacian::solve(std::vector<double>& rhs) {
  if (complement > 0) {
    eliminate(rhs);
    return;
  }
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  const std::vector<std::int64_t> component = split_into_components();
  // value -= its mean over each component, with the given weights.
  const auto centre = [&](const std::vector<double>& weights) {
    std::vector<double> sum(rhs.size()), total(rhs.size());
    for (std::int64_t k = 0; k < n; ++k) {
      sum[at(component[at(k)])] += weights[at(k)] * rhs[at(k)];
      total[at(component[at(k)])] += weights[at(k)];
    }
    for (std::int64_t k = 0; k < n; ++k) {
      const std::size_t c = at(component[at(k)]);
      rhs[at(k)] -= total[c] > 0 ? sum[c] / total[c] : 0;
    }
  };
  centre(std::vector<double>(rhs.size(), 1));
  eliminate(rhs);
  centre(mass);
}

} // namespace point2mask::transport
