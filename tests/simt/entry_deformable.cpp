// The launchers of the deformable attention kernels under C names, for ctypes; one set a dtype.

#include "point2mask/deformable_cuda.hpp"

namespace cuda = point2mask::cuda;
using std::int64_t;

#define POINT2MASK_ENTRIES(T)                                                                    \
  int deformable_attention_##T(const T* value, const T* where, const T* weight,                  \
                               const int64_t* shapes, int64_t images, int64_t cells,             \
                               int64_t queries, int64_t heads, int64_t channels, int64_t levels, \
                               int64_t points, T* output) {                                      \
    return cuda::deformable_attention<T>({value, where, weight, shapes, images, cells, queries,  \
                                          heads, channels, levels, points, output},              \
                                         nullptr);                                               \
  }                                                                                              \
  int64_t deformable_attention_backward_scratch_bytes_##T(const int64_t* shapes, int64_t images, \
                                                          int64_t queries, int64_t heads,        \
                                                          int64_t levels, int64_t points) {      \
    cuda::DeformableAttentionBackward<T> p{};                                                    \
    p.shapes = shapes;                                                                           \
    p.images = images;                                                                           \
    p.queries = queries;                                                                         \
    p.heads = heads;                                                                             \
    p.levels = levels;                                                                           \
    p.points = points;                                                                           \
    return cuda::deformable_attention_backward_scratch_bytes(p);                                 \
  }                                                                                              \
  int deformable_attention_backward_##T(                                                         \
      const T* grad_output, const T* value, const T* where, const T* weight,                     \
      const int64_t* shapes, int64_t images, int64_t cells, int64_t queries, int64_t heads,      \
      int64_t channels, int64_t levels, int64_t points, void* scratch, T* grad_value,            \
      T* grad_where, T* grad_weight) {                                                           \
    return cuda::deformable_attention_backward<T>(                                               \
        {grad_output, value, where, weight, shapes, images, cells, queries, heads, channels,     \
         levels, points, scratch, grad_value, grad_where, grad_weight},                          \
        nullptr);                                                                                \
  }

extern "C" {

POINT2MASK_ENTRIES(float)
POINT2MASK_ENTRIES(double)

} // extern "C"
