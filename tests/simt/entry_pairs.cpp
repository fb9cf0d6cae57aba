// The kernels' launchers under C names, for ctypes; one set a dtype.

#include "with_scratch.hpp"

using namespace point2mask;
using std::int32_t;
using std::int64_t;

#define POINT2MASK_ENTRIES(T)                                                                      \
  int neighbor_difference_##T(const T* feature, int64_t images, int64_t channels, int64_t height,  \
                              int64_t width, int64_t directions, int norm, T* difference) {        \
    return with_scratch(NeighborDifference<T>{feature, images, channels, height, width,            \
                                              directions, static_cast<Norm>(norm), difference});   \
  }                                                                                                \
  int neighbor_difference_backward_##T(                                                            \
      const T* grad, const T* feature, const T* difference, int64_t images, int64_t channels,      \
      int64_t height, int64_t width, int64_t directions, int norm, T* grad_feature) {              \
    return with_scratch(NeighborDifferenceBackward<T>{grad, feature, difference, images, channels, \
                                                      height, width, directions,                   \
                                                      static_cast<Norm>(norm), grad_feature});     \
  }                                                                                                \
  int lab_affinity_loss_##T(const T* logits, const T* lab, const bool* valid, int64_t images,      \
                            int64_t channels, int64_t height, int64_t width, int64_t kernel_size,  \
                            int64_t dilation, double theta, double threshold, T* loss,             \
                            int64_t* pairs) {                                                      \
    return with_scratch(LabAffinityLoss<T>{logits, lab, valid, images, channels, height, width,    \
                                           kernel_size, dilation, theta, threshold, loss, pairs}); \
  }                                                                                                \
  int lab_affinity_loss_backward_##T(                                                              \
      const T* grad_loss, const T* logits, const T* lab, const bool* valid, const int64_t* pairs,  \
      int64_t images, int64_t channels, int64_t height, int64_t width, int64_t kernel_size,        \
      int64_t dilation, double theta, double threshold, T* grad_logits) {                          \
    return with_scratch(LabAffinityLossBackward<T>{grad_loss, logits, lab, valid, pairs, images,   \
                                                   channels, height, width, kernel_size, dilation, \
                                                   theta, threshold, grad_logits});                \
  }                                                                                                \
  int boundary_loss_##T(const T* boundary, const int32_t* instance, const int32_t* semantic,       \
                        int64_t images, int64_t height, int64_t width, int64_t kernel_size,        \
                        int64_t dilation, T* loss, int64_t* pairs) {                               \
    return with_scratch(BoundaryLoss<T>{boundary, instance, semantic, images, height, width,       \
                                        kernel_size, dilation, loss, pairs});                      \
  }                                                                                                \
  int boundary_loss_backward_##T(const T* grad_loss, const T* boundary, const int32_t* instance,   \
                                 const int32_t* semantic, const int64_t* pairs, int64_t images,    \
                                 int64_t height, int64_t width, int64_t kernel_size,               \
                                 int64_t dilation, T* grad_boundary) {                             \
    return with_scratch(BoundaryLossBackward<T>{grad_loss, boundary, instance, semantic, pairs,    \
                                                images, height, width, kernel_size, dilation,      \
                                                grad_boundary});                                   \
  }

extern "C" {

POINT2MASK_ENTRIES(float)
POINT2MASK_ENTRIES(double)

} // extern "C"
