// The kernels' launchers under C names, for ctypes; one set a dtype.

#include "point2mask/masks_cuda.hpp"
#include "point2mask/pairs_cuda.hpp"
#include "point2mask/transport_cuda.hpp"

namespace cuda = point2mask::cuda;
using std::int32_t;
using std::int64_t;

#define POINT2MASK_ENTRIES(T)                                                                     \
  int transport_labels_##T(const T* cost, const T* potential, const T* demand, int64_t images,    \
                           int64_t targets, int64_t pixels, int32_t* labels) {                    \
    return cuda::transport_labels<T>({cost, potential, demand, images, targets, pixels, labels},  \
                                     nullptr);                                                    \
  }                                                                                               \
  int transport_plan_##T(const T* cost, const T* potential, const T* demand, int64_t images,      \
                         int64_t targets, int64_t pixels, double epsilon,                         \
                         double demand_relaxation, T* plan) {                                     \
    return cuda::transport_plan<T>(                                                               \
        {cost, potential, demand, images, targets, pixels, epsilon, demand_relaxation, plan},     \
        nullptr);                                                                                 \
  }                                                                                               \
  int neighbor_difference_##T(const T* feature, int64_t images, int64_t channels, int64_t height, \
                              int64_t width, int directions, int norm, T* difference) {           \
    return cuda::neighbor_difference<T>({feature, images, channels, height, width, directions,    \
                                         static_cast<cuda::Norm>(norm), difference},              \
                                        nullptr);                                                 \
  }

extern "C" {

POINT2MASK_ENTRIES(float)
POINT2MASK_ENTRIES(double)

int mask_statistics(const int32_t* labels, int64_t images, int64_t height, int64_t width,
                    int64_t targets, int64_t* coordinate_sum, int64_t* area, float* centroid,
                    int32_t* box) {
  return cuda::mask_statistics(
      {labels, images, height, width, targets, coordinate_sum, area, centroid, box}, nullptr);
}

} // extern "C"
