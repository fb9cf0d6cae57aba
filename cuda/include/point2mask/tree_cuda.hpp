#pragma once

// Host launchers of the tree kernels, for float and double. Pointers are device pointers on the
// current device; the launches are asynchronous on `stream`. C++17, torch-free. `scratch` has the
// bytes that the operator's ..._scratch_bytes tells, aligned to 256. Ranks are as in tree.hpp.
// Values are not checked. An order that is no permutation or a parent that is no lower rank gives
// a meaningless result, but no access outside the arrays.

#include <cuda_runtime_api.h>

#include <cstdint>

namespace point2mask::cuda {

// The minimum spanning tree under the total order (weight, edge id), rooted at pixel 0, in
// heavy-first preorder. NaN counts as heavier than all numbers if its sign bit is 0, else lighter.
template <typename T>
struct SpanningTree {
  const T* edge_weight; // [B, D, H, W]; entries whose step leaves the image are not read as edges
  std::int64_t images, directions, height, width; // directions: 2 or 4; D * H * W < 2^31
  void* scratch;
  std::int32_t* order;  // [B, N] pixel at each rank
  std::int32_t* parent; // [B, N] rank of the parent; 0 at the root
  std::int32_t* edge;   // [B, N] edge id d * H * W + y * W + x; -1 at the root
  T* weight;            // [B, N] edge_weight[edge]; 0 at the root
};

template <typename T>
std::int64_t spanning_tree_scratch_bytes(const SpanningTree<T>& p);
template <typename T>
cudaError_t spanning_tree(const SpanningTree<T>& p, cudaStream_t stream);

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
  void* scratch;
  T* output; // [B, C, N] in pixel order
};

template <typename T>
std::int64_t tree_filter_scratch_bytes(const TreeFilter<T>& p);
template <typename T>
cudaError_t tree_filter(const TreeFilter<T>& p, cudaStream_t stream);

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
  void* scratch;
  T* grad_feature;    // [B, C, N]
  T* grad_similarity; // [B, N], 0 at the root; or nullptr, which skips its share of the work
};

// Depends on the shapes, on `normalize` and on whether there is a grad_similarity.
template <typename T>
std::int64_t tree_filter_backward_scratch_bytes(const TreeFilterBackward<T>& p);
template <typename T>
cudaError_t tree_filter_backward(const TreeFilterBackward<T>& p, cudaStream_t stream);

} // namespace point2mask::cuda
