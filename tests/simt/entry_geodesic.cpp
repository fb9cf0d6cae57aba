// The kernels' launchers under C names, for ctypes; one set a dtype.

#include "with_scratch.hpp"

using namespace point2mask;
using std::int32_t;
using std::int64_t;

#define POINT2MASK_ENTRIES(T)                                                                     \
  int64_t geodesic_distance_scratch_bytes_##T(int64_t images, int64_t targets, int64_t height,    \
                                              int64_t width) {                                    \
    GeodesicDistance<T> p{};                                                                      \
    p.images = images;                                                                            \
    p.targets = targets;                                                                          \
    p.height = height;                                                                            \
    p.width = width;                                                                              \
    return cuda::scratch_bytes(p);                                                                \
  }                                                                                               \
  int geodesic_distance_##T(const T* edge_cost, const int32_t* seeds, int64_t images,             \
                            int64_t height, int64_t width, int64_t targets, int64_t points,       \
                            T* distance) {                                                        \
    return with_scratch(                                                                          \
        GeodesicDistance<T>{edge_cost, seeds, images, height, width, targets, points, distance}); \
  }                                                                                               \
  int64_t geodesic_distance_backward_scratch_bytes_##T(int64_t images, int64_t targets,           \
                                                       int64_t height, int64_t width) {           \
    GeodesicDistanceBackward<T> p{};                                                              \
    p.images = images;                                                                            \
    p.targets = targets;                                                                          \
    p.height = height;                                                                            \
    p.width = width;                                                                              \
    return cuda::scratch_bytes(p);                                                                \
  }                                                                                               \
  int geodesic_distance_backward_##T(const T* grad_distance, const T* edge_cost,                  \
                                     const T* distance, const int32_t* seeds, int64_t images,     \
                                     int64_t height, int64_t width, int64_t targets,              \
                                     int64_t points, T* grad_edge_cost) {                         \
    return with_scratch(GeodesicDistanceBackward<T>{grad_distance, edge_cost, distance, seeds,    \
                                                    images, height, width, targets, points,       \
                                                    grad_edge_cost});                             \
  }

extern "C" {

POINT2MASK_ENTRIES(float)
POINT2MASK_ENTRIES(double)

} // extern "C"
