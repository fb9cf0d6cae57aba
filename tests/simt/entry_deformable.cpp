// The kernels' launchers under C names, for ctypes; one set a dtype.

#include "with_scratch.hpp"

using namespace point2mask;
using std::int64_t;

#define POINT2MASK_ENTRIES(T)                                                                      \
  int deformable_attention_##T(const T* value, const T* where, const T* weight,                    \
                               const int64_t* shapes, int64_t images, int64_t cells,               \
                               int64_t queries, int64_t heads, int64_t channels, int64_t levels,   \
                               int64_t points, T* output) {                                        \
    return with_scratch(DeformableAttention<T>{value, where, weight, shapes, images, cells,        \
                                               queries, heads, channels, levels, points, output}); \
  }                                                                                                \
  int deformable_attention_backward_##T(const T* grad_output, const T* value, const T* where,      \
                                        const T* weight, const int64_t* shapes, int64_t images,    \
                                        int64_t cells, int64_t queries, int64_t heads,             \
                                        int64_t channels, int64_t levels, int64_t points,          \
                                        T* grad_value, T* grad_where, T* grad_weight) {            \
    return with_scratch(DeformableAttentionBackward<T>{                                            \
        grad_output, value, where, weight, shapes, images, cells, queries, heads, channels,        \
        levels, points, grad_value, grad_where, grad_weight});                                     \
  }

extern "C" {

POINT2MASK_ENTRIES(float)
POINT2MASK_ENTRIES(double)

} // extern "C"
