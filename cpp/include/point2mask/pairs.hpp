#pragma once

// Operators on pairs of neighbouring pixels. Nothing here stores a copy of the feature map for
// every neighbour: each undirected pair is visited in place, once.

#include <cstdint>
#include <string_view>

namespace point2mask {

class Executor;

enum class Norm : std::uint8_t { kL1, kL2, kSquaredL2 };

// "l1", "l2" or "squared_l2"; throws std::invalid_argument for any other name.
Norm norm_from_name(std::string_view name);

// Throws std::invalid_argument unless there are 2, 4 or 8.
void check_directions(const char* op, std::int64_t directions);

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
void run(const NeighborDifference<T>& p, const Executor& executor);
template <typename T>
void run(const NeighborDifferenceBackward<T>& p, const Executor& executor);

// Pairs of pixels of like colour should be of the same class. With p the softmax of the logits,
//   loss = - mean over near pairs of log(sum_c p_ic p_jc),
// near: exp(-|lab_i - lab_j|_2 / theta) >= threshold, both pixels valid and inside the image, j in
// the dilated window around i. The mean over unordered pairs equals that over ordered ones; it is
// 0 where no pair is near.
template <typename T>
struct LabAffinityLoss {
  const T* logits;   // [B, C, H, W], finite where valid, C >= 1
  const T* lab;      // [B, 3, H, W], finite where valid
  const bool* valid; // [B, H, W], or null: all
  std::int64_t images, channels, height, width;
  std::int64_t kernel_size, dilation; // odd and >= 3, >= 1
  double theta, threshold;            // > 0, in (0, 1]
  T* loss;                            // [B]
  std::int64_t* pairs;                // [B] near unordered pairs
};

// The gradient with respect to the logits. Arguments as above.
template <typename T>
struct LabAffinityLossBackward {
  const T* grad_loss;        // [B]
  const T* logits;           // [B, C, H, W]
  const T* lab;              // [B, 3, H, W]
  const bool* valid;         // [B, H, W] or null
  const std::int64_t* pairs; // [B] from the forward
  std::int64_t images, channels, height, width;
  std::int64_t kernel_size, dilation;
  double theta, threshold;
  T* grad_logits; // [B, C, H, W]
};

// Throws std::invalid_argument for parameters or values other than above.
template <typename T>
void run(const LabAffinityLoss<T>& p, const Executor& executor);
template <typename T>
void run(const LabAffinityLossBackward<T>& p, const Executor& executor);

// Learns a boundary map from masks. With m the larger probability of a pair of pixels (j in the
// dilated window around i, both inside the image) and e = 1e-5,
//   loss = 1/4 mean_thing(-log(1 - m + e)) + 1/4 mean_stuff(-log(1 - m + e))
//        + 1/2 mean_apart(-log(m + e)),
// thing: same instance >= 0; stuff: both instances -1 and the same class >= 0; apart: instances
// differ, or classes differ and are both >= 0. The mean over no pair is 0.
template <typename T>
struct BoundaryLoss {
  const T* boundary;            // [B, H, W] in [0, 1]
  const std::int32_t* instance; // [B, H, W] >= -1
  const std::int32_t* semantic; // [B, H, W] >= -1
  std::int64_t images, height, width;
  std::int64_t kernel_size, dilation; // odd and >= 3, >= 1
  T* loss;                            // [B]
  std::int64_t* pairs;                // [B, 3] unordered pairs: thing, stuff, apart
};

// The gradient with respect to the boundary; at a tie both pixels take half. Arguments as above,
// but values are not checked again.
template <typename T>
struct BoundaryLossBackward {
  const T* grad_loss;           // [B]
  const T* boundary;            // [B, H, W]
  const std::int32_t* instance; // [B, H, W]
  const std::int32_t* semantic; // [B, H, W]
  const std::int64_t* pairs;    // [B, 3] from the forward
  std::int64_t images, height, width;
  std::int64_t kernel_size, dilation;
  T* grad_boundary; // [B, H, W]
};

// Throws std::invalid_argument for parameters or values other than above.
template <typename T>
void run(const BoundaryLoss<T>& p, const Executor& executor);
template <typename T>
void run(const BoundaryLossBackward<T>& p, const Executor& executor);

// The parameters' ranges alone: run() calls them, and so must whoever hands a problem to a GPU.
// They throw std::invalid_argument, naming the operator, the argument, what was expected and what
// came.
template <typename T>
void check(const NeighborDifference<T>& p);
template <typename T>
void check(const NeighborDifferenceBackward<T>& p);
template <typename T>
void check(const LabAffinityLoss<T>& p);
template <typename T>
void check(const LabAffinityLossBackward<T>& p);
template <typename T>
void check(const BoundaryLoss<T>& p);
template <typename T>
void check(const BoundaryLossBackward<T>& p);

} // namespace point2mask
