#pragma once

// Operators on pairs of neighbouring pixels. Nothing here stores a copy of the feature map for
// every neighbour: each undirected pair is visited in place, once.

#include <cstdint>
#include <string_view>

#include "point2mask/parallel.hpp"

namespace point2mask {

enum class Norm { kL1, kL2, kSquaredL2 };

// "l1", "l2" or "squared_l2"; throws std::invalid_argument for any other name.
Norm norm_from_name(std::string_view name);

// The distance between the feature vectors of every pixel and its neighbours (steps of grid.hpp);
// 0 where the neighbour lies outside. NaN and infinity propagate. T is float or double.
template <typename T>
struct NeighborDifference {
  const T* feature; // [B, C, H, W]
  std::int64_t images, channels, height, width;
  std::int64_t directions; // D: 2, 4 or 8; others are rejected
  Norm norm;
  T* difference; // [B, D, H, W]
};

// The gradient with respect to the feature; 0 where the norm has none (l1 and l2 at zero).
template <typename T>
struct NeighborDifferenceBackward {
  const T* grad_difference; // [B, D, H, W]
  const T* feature;         // [B, C, H, W]
  const T* difference;      // [B, D, H, W] what the forward returned; read for l2 only
  std::int64_t images, channels, height, width, directions;
  Norm norm;
  T* grad_feature; // [B, C, H, W]
};

template <typename T>
void neighbor_difference(const NeighborDifference<T>& p, const Executor& executor);
template <typename T>
void neighbor_difference_backward(const NeighborDifferenceBackward<T>& p, const Executor& executor);

} // namespace point2mask
