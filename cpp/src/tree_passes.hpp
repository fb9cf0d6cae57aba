#pragma once

// The passes over rows (see tree_rows.hpp), children to parents, then parents to children.

#include <cstdint>

namespace point2mask::tree {

// One image's tree, by rank.
template <typename T>
struct Tree {
  const std::int32_t* parent; // [N]
  const T* similarity;        // [N]
  std::int64_t pixels;
};

// In place: what every pixel holds -> its sum over all pixels, weighted by path similarities.
void filter_rows(const Tree<float>& t, int lanes, float* rows);
void filter_rows(const Tree<double>& t, int lanes, double* rows);

// Filters features x and gradients g in place; gradient [N] = the derivative of sum(g * filter(x))
// by the similarity, summed over the lanes.
void differentiate_rows(const Tree<float>& t, int lanes, float* x, float* g, float* gradient);
void differentiate_rows(const Tree<double>& t, int lanes, double* x, double* g, double* gradient);

} // namespace point2mask::tree
