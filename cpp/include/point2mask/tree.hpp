#pragma once

// Operators on the minimum spanning tree of the pixel grid. A pixel's rank is its place in the
// tree's order, in which a parent stands before its children; `parent` holds ranks, and what
// belongs to a pixel's edge to its parent is stored at the pixel's rank.

#include <cstdint>

namespace point2mask {

class Executor;

// The minimum spanning tree under the total order (weight, edge id), rooted at pixel 0, in
// heavy-first depth-first preorder: behind a pixel stands its child with the largest subtree (the
// smallest edge id among equals), then the other children in increasing edge id.
template <typename T>
struct SpanningTree {
  const T* edge_weight; // [B, D, H, W]; entries whose step leaves the image are not read as edges
  std::int64_t images, directions, height, width; // directions: 2 (4-connected) or 4 (8-connected)
  std::int32_t* order;                            // [B, N] pixel at each rank
  std::int32_t* parent; // [B, N] rank of the parent, below the own rank; 0 at the root
  std::int32_t* edge;   // [B, N] edge id d * H * W + y * W + x; -1 at the root
  T* weight;            // [B, N] edge_weight[edge]; 0 at the root
};

// Throws std::invalid_argument for NaN or infinite weights.
template <typename T>
void run(const SpanningTree<T>& s, const Executor& executor);

// Throws std::invalid_argument for more edges than their ids can count. run() calls it, and so must
// whoever hands a problem to a GPU.
template <typename T>
void check(const SpanningTree<T>& s);

// output_i = sum_j S_ij feature_j, over sum_j S_ij if `normalize`; S_ij is the product of the
// similarities of the edges between pixels i and j.
template <typename T>
struct TreeFilter {
  const T* feature;           // [B, C, N] in pixel order
  const std::int32_t* order;  // [B, N]
  const std::int32_t* parent; // [B, N]
  const T* similarity;        // [B, N] in [0, 1]; entry 0 is not read
  std::int64_t images, channels, pixels;
  bool normalize;
  T* output;                    // [B, C, N] in pixel order
  std::int32_t* kept = nullptr; // [kept_words()] for the gradient, on a GPU alone
};

// What a GPU keeps of the filter for its gradient, in words of 32 bits: seven a pixel say how the
// tree divides into paths, one an image how many levels they have; and the sums of similarities.
template <template <typename> class Problem, typename T>
std::int64_t kept_words(const Problem<T>& f) {
  const std::int64_t sums = f.normalize ? static_cast<std::int64_t>(sizeof(T) / 4) : 0;
  return f.images * (f.pixels * (sums + 7) + 1);
}

// Throws std::invalid_argument for a similarity outside [0, 1] or an order that is no tree.
template <typename T>
void run(const TreeFilter<T>& f, const Executor& executor);

template <typename T>
struct TreeFilterBackward {
  const T* grad_output; // [B, C, N]
  const T* feature;     // [B, C, N]; read for grad_similarity only
  const T* output;      // [B, C, N]; read for grad_similarity with normalize only
  const std::int32_t* order;
  const std::int32_t* parent;
  const T* similarity;
  std::int64_t images, channels, pixels;
  bool normalize;
  T* grad_feature;    // [B, C, N]
  T* grad_similarity; // [B, N], 0 at the root; or nullptr, which skips its share of the work
  const std::int32_t* kept = nullptr; // of the filter; read by a GPU alone
};

template <typename T>
void run(const TreeFilterBackward<T>& f, const Executor& executor);

} // namespace point2mask
