// The launchers of the tree kernels under C names, for ctypes; one set a dtype.

#include "point2mask/tree_cuda.hpp"
#include "with_scratch.hpp"

namespace cuda = point2mask::cuda;
using std::int32_t;
using std::int64_t;

#define POINT2MASK_ENTRIES(T)                                                                     \
  int spanning_tree_##T(const T* edge_weight, int64_t images, int64_t directions, int64_t height, \
                        int64_t width, int32_t* order, int32_t* parent, int32_t* edge,            \
                        T* weight) {                                                              \
    return with_scratch(cuda::SpanningTree<T>{edge_weight, images, directions, height, width,     \
                                              nullptr, order, parent, edge, weight},              \
                        cuda::spanning_tree_scratch_bytes<T>, cuda::spanning_tree<T>);            \
  }                                                                                               \
  int tree_filter_##T(const T* feature, const int32_t* order, const int32_t* parent,              \
                      const T* similarity, int64_t images, int64_t channels, int64_t pixels,      \
                      int normalize, T* output) {                                                 \
    return with_scratch(cuda::TreeFilter<T>{feature, order, parent, similarity, images, channels, \
                                            pixels, normalize != 0, nullptr, output},             \
                        cuda::tree_filter_scratch_bytes<T>, cuda::tree_filter<T>);                \
  }                                                                                               \
  int tree_filter_backward_##T(const T* grad_output, const T* feature, const T* output,           \
                               const int32_t* order, const int32_t* parent, const T* similarity,  \
                               int64_t images, int64_t channels, int64_t pixels, int normalize,   \
                               T* grad_feature, T* grad_similarity) {                             \
    return with_scratch(                                                                          \
        cuda::TreeFilterBackward<T>{grad_output, feature, output, order, parent, similarity,      \
                                    images, channels, pixels, normalize != 0, nullptr,            \
                                    grad_feature, grad_similarity},                               \
        cuda::tree_filter_backward_scratch_bytes<T>, cuda::tree_filter_backward<T>);              \
  }

extern "C" {

POINT2MASK_ENTRIES(float)
POINT2MASK_ENTRIES(double)

} // extern "C"
