#pragma once

// Segmentation of one image into regions, for labelling without a trained network: serial, because
// images are what is spread over processes, and sequential by nature (a greedy merge).

#include <cstdint>

namespace point2mask {

inline constexpr std::int64_t kMostBins = 65536; // a histogram of regions

// A histogram of windows, whose work goes with pixels times bins: as many as 8-bit values.
inline constexpr std::int64_t kMostWindowBins = 256;

// Edge strength of every pixel: the largest chi-square distance, over four orientations, between
// the histograms of two square windows on either side of the pixel.
struct HistogramGradient {
  const float* channels; // [C, H, W] in [0, 1]; each gets its own histogram
  std::int64_t channel_count, height, width;
  std::int64_t bins;     // 2 to kMostWindowBins; values are shared between the two nearest bins
  std::int64_t radius;   // pixels, of the windows: (2 radius + 1)^2, cut at the image border
  std::int64_t distance; // pixels, from a window's centre to the pixel along a row or a column
  float* strength;       // [H, W] square root of the chi-square sum over channels and bins
};

// Throws std::invalid_argument for a value outside [0, 1].
void histogram_gradient(const HistogramGradient& g);

// Greedy agglomeration of an over-segmentation until every region carries a seed. The pair of
// neighbours that merges next has the smallest
//   (mean edge strength on the common border + sum over features of weight x chi-square / 2)
//   x (harmonic area / image area)^size_exponent x (1 + (distance / reach)^2)
// where harmonic area = n_a n_b / (n_a + n_b) and the last factor, for pairs with a seeded region,
// is the distance from the other region's centroid to the target's nearest seed in units of that
// target's reach. Two regions of different targets never merge. Ties: the smallest pair of region
// numbers; a merged region keeps the smaller number of its two.
struct RegionMerge {
  const std::int32_t* regions;    // [H, W] in [0, region_count), and below max(H W, 65536)
  const float* edge;              // [H, W] not negative
  const std::int32_t* bins;       // [F, H, W] histogram bin of the pixel, in [0, bin_counts[f])
  const std::int32_t* seeds;      // [K, P] pixel indices, -1 = padding
  const double* reach;            // [K] pixels, positive; infinity = distance does not matter
  const std::int32_t* bin_counts; // [F] 1 to kMostBins
  const double* weights;          // [F] of the chi-square terms
  std::int64_t height, width, region_count, features, targets, points;
  double size_exponent;
  std::int32_t* labels; // [H, W] target of every pixel; -1 everywhere if there is no seed at all
};

// Throws std::invalid_argument for values out of range and for seeds of two targets in one region.
void merge_regions(const RegionMerge& m);

// Flooding from markers over the 4-connected grid, over low edges first. A pixel is reached at the
// highest edge of the way, and takes the label of the neighbour that reaches it first: at the
// lowest level, then the earliest. Neighbours are entered above, left, right and below. As
// scikit-image 0.26 does it, ties included.
struct Watershed {
  const float* edge;           // [H, W] not NaN
  const std::int32_t* markers; // [H, W] labels >= 0 to start from, else -1
  std::int64_t height, width;  // (H + 2) (W + 2) < 2^32 - 1: pixels with a border have numbers
  std::int32_t* labels;        // [H, W]; -1 everywhere if there is no marker at all
};

// Throws std::invalid_argument for values out of range.
void watershed(const Watershed& w);

} // namespace point2mask
