#pragma once

// The row kernels of lab_affinity_loss. Rows are planar and padded: [channels, stride] with the
// pixels of the image at [0, width) and padding on both sides, so that a neighbour's row is the
// same row read from a shifted start and every loop runs over x alone.

#include <cstdint>
#include <limits>

namespace point2mask {

// Below this the dot product of two distributions may have lost terms to underflow.
template <typename T>
inline constexpr T kTinyDot = sizeof(T) == 4 ? T(1e-30) : T(1e-280);

template <typename T>
struct SoftmaxRow {
  const T* logits; // first pixel of the row, channel 0
  std::int64_t channels, plane, width, stride;
  const bool* valid; // [width] or null: all
  T* probability;    // [channels, stride]; 0 for invalid pixels
  T* scratch;        // [3, width]
};

// False if a logit of a valid pixel is NaN or infinite.
bool softmax_row(const SoftmaxRow<float>& r);
bool softmax_row(const SoftmaxRow<double>& r);

// near[x] = 1 if the squared distance of the two colours [3, stride] is at most limit, else 0.
// Returns whether any is.
bool near_row(const float* here, const float* there, std::int64_t stride, std::int64_t width,
              float limit, float* near);
bool near_row(const double* here, const double* there, std::int64_t stride, std::int64_t width,
              double limit, double* near);

// dot[x] = sum over channels of here * there, at most 1.
void dot_row(const float* here, const float* there, std::int64_t channels, std::int64_t stride,
             std::int64_t width, float* dot);
void dot_row(const double* here, const double* there, std::int64_t channels, std::int64_t stride,
             std::int64_t width, double* dot);

// total[x] -= log(dot) and count[x] += 1 where near. Returns whether a near pair is tiny: these
// are counted, but the caller adds their logarithm.
bool score_row(const float* dot, const float* near, std::int64_t width, double* total,
               std::int32_t* count);
bool score_row(const double* dot, const double* near, std::int64_t width, double* total,
               std::int32_t* count);

// weight[x] = 1 / dot where near and not tiny, else 0. Returns whether a near pair is tiny.
bool weigh_row(const float* dot, const float* near, std::int64_t width, float* weight);
bool weigh_row(const double* dot, const double* near, std::int64_t width, double* weight);

// One neighbour of all pixels of a row.
template <typename T>
struct Neighbor {
  const T* weight;      // [width]
  const T* near;        // [width]
  const T* probability; // [channels, stride], already shifted to the neighbour
  std::int64_t dy, dx;
  bool tiny; // some pair is near but has weight 0
};

template <typename T>
struct GatherRow {
  const Neighbor<T>* neighbors;
  std::int64_t count, channels, plane, width, stride;
  const T* probability; // [channels, stride]
  T scale;              // of the image
  T* scratch;           // [2, width]
  T* grad;              // first pixel of the row, channel 0
};

// grad = scale * sum over near neighbours of (p_c - weight * p_c * p_c of the neighbour).
void gather_row(const GatherRow<float>& r);
void gather_row(const GatherRow<double>& r);

} // namespace point2mask
