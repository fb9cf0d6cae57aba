// The kernels' launchers under C names, for ctypes; one set a dtype.

#include "with_scratch.hpp"

using namespace point2mask;
using std::int32_t;
using std::int64_t;

#define POINT2MASK_ENTRIES(T)                                                                     \
  int64_t tree_filter_kept_##T(int64_t images, int64_t pixels, int normalize) {                   \
    TreeFilter<T> p{};                                                                            \
    p.images = images;                                                                            \
    p.pixels = pixels;                                                                            \
    p.normalize = normalize != 0;                                                                 \
    return kept_words(p);                                                                         \
  }                                                                                               \
  int spanning_tree_##T(const T* edge_weight, int64_t images, int64_t directions, int64_t height, \
                        int64_t width, int32_t* order, int32_t* parent, int32_t* edge,            \
                        T* weight) {                                                              \
    return with_scratch(SpanningTree<T>{edge_weight, images, directions, height, width, order,    \
                                        parent, edge, weight});                                   \
  }                                                                                               \
  int tree_filter_##T(const T* feature, const int32_t* order, const int32_t* parent,              \
                      const T* similarity, int64_t images, int64_t channels, int64_t pixels,      \
                      int normalize, T* output, int32_t* kept) {                                  \
    return with_scratch(TreeFilter<T>{feature, order, parent, similarity, images, channels,       \
                                      pixels, normalize != 0, output, kept});                     \
  }                                                                                               \
  int tree_filter_backward_##T(const T* grad_output, const T* feature, const T* output,           \
                               const int32_t* order, const int32_t* parent, const T* similarity,  \
                               int64_t images, int64_t channels, int64_t pixels, int normalize,   \
                               const int32_t* kept, T* grad_feature, T* grad_similarity) {        \
    return with_scratch(TreeFilterBackward<T>{                                                    \
        grad_output, feature, output, order, parent, similarity, images, channels, pixels,        \
        normalize != 0, grad_feature, grad_similarity, kept});                                    \
  }

extern "C" {

POINT2MASK_ENTRIES(float)
POINT2MASK_ENTRIES(double)

} // extern "C"
