// The launchers of the geodesic kernels under C names, for ctypes; one set a dtype.

#include "point2mask/geodesic_cuda.hpp"

namespace cuda = point2mask::cuda;
using std::int32_t;
using std::int64_t;

#define POINT2MASK_ENTRIES(T)                                                                      \
  int64_t geodesic_distance_scratch_bytes_##T(int64_t images, int64_t targets, int64_t height,     \
                                              int64_t width, int64_t shared_bytes) {               \
    return static_cast<int64_t>(cuda::geodesic_distance_scratch_bytes<T>(                          \
        images, targets, height, width, static_cast<std::size_t>(shared_bytes)));                  \
  }                                                                                                \
  int geodesic_distance_##T(const T* edge_cost, const int32_t* seeds, int64_t images,              \
                            int64_t height, int64_t width, int64_t targets, int64_t points,        \
                            int32_t* scratch, T* distance) {                                       \
    return cuda::geodesic_distance<T>(                                                             \
        {edge_cost, seeds, images, height, width, targets, points, scratch, distance}, nullptr);   \
  }                                                                                                \
  int64_t geodesic_gradient_scratch_bytes_##T(int64_t images, int64_t targets, int64_t height,     \
                                              int64_t width, int64_t targets_at_once) {            \
    return static_cast<int64_t>(cuda::geodesic_gradient_scratch_bytes<T>(images, targets, height,  \
                                                                         width, targets_at_once)); \
  }                                                                                                \
  int geodesic_distance_backward_##T(                                                              \
      const T* grad_distance, const T* edge_cost, const T* distance, const int32_t* seeds,         \
      int64_t images, int64_t height, int64_t width, int64_t targets, int64_t points,              \
      int64_t targets_at_once, void* scratch, T* grad_edge_cost) {                                 \
    return cuda::geodesic_distance_gradient<T>(                                                    \
        {grad_distance, edge_cost, distance, seeds, images, height, width, targets, points,        \
         targets_at_once, scratch, grad_edge_cost},                                                \
        nullptr);                                                                                  \
  }

extern "C" {

POINT2MASK_ENTRIES(float)
POINT2MASK_ENTRIES(double)

} // extern "C"
