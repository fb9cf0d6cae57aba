// The launchers of the pair kernels under C names, for ctypes; one set a dtype.

#include "point2mask/pairs_cuda.hpp"

namespace cuda = point2mask::cuda;
using std::int32_t;
using std::int64_t;

#define POINT2MASK_PAIR_ENTRIES(T)                                                                 \
  int neighbor_difference_backward_##T(const T* grad, const T* feature, const T* difference,       \
                                       int64_t images, int64_t channels, int64_t height,           \
                                       int64_t width, int directions, int norm, T* grad_feature) { \
    return cuda::neighbor_difference_backward<T>(                                                  \
        {grad, feature, difference, images, channels, height, width, directions,                   \
         static_cast<cuda::Norm>(norm), grad_feature},                                             \
        nullptr);                                                                                  \
  }                                                                                                \
  int64_t lab_affinity_loss_scratch_##T(int64_t images, int64_t height, int64_t width) {           \
    return cuda::lab_affinity_loss_scratch_bytes<T>(images, height, width);                        \
  }                                                                                                \
  int64_t lab_affinity_loss_backward_scratch_##T(int64_t images, int64_t height, int64_t width) {  \
    return cuda::lab_affinity_loss_backward_scratch_bytes<T>(images, height, width);               \
  }                                                                                                \
  int lab_affinity_loss_##T(const T* logits, const T* lab, const bool* valid, int64_t images,      \
                            int64_t channels, int64_t height, int64_t width, int64_t kernel_size,  \
                            int64_t dilation, double theta, double threshold, void* scratch,       \
                            T* loss, int64_t* pairs) {                                             \
    return cuda::lab_affinity_loss<T>(                                                             \
        {logits, lab, valid, images, channels, height, width, kernel_size, dilation, theta,        \
         threshold, scratch, loss, pairs},                                                         \
        nullptr);                                                                                  \
  }                                                                                                \
  int lab_affinity_loss_backward_##T(                                                              \
      const T* grad_loss, const T* logits, const T* lab, const bool* valid, const int64_t* pairs,  \
      int64_t images, int64_t channels, int64_t height, int64_t width, int64_t kernel_size,        \
      int64_t dilation, double theta, double threshold, void* scratch, T* grad_logits) {           \
    return cuda::lab_affinity_loss_backward<T>(                                                    \
        {grad_loss, logits, lab, valid, pairs, images, channels, height, width, kernel_size,       \
         dilation, theta, threshold, scratch, grad_logits},                                        \
        nullptr);                                                                                  \
  }                                                                                                \
  int boundary_loss_##T(const T* boundary, const int32_t* instance, const int32_t* semantic,       \
                        int64_t images, int64_t height, int64_t width, int64_t kernel_size,        \
                        int64_t dilation, void* scratch, T* loss, int64_t* pairs) {                \
    return cuda::boundary_loss<T>({boundary, instance, semantic, images, height, width,            \
                                   kernel_size, dilation, scratch, loss, pairs},                   \
                                  nullptr);                                                        \
  }                                                                                                \
  int boundary_loss_backward_##T(const T* grad_loss, const T* boundary, const int32_t* instance,   \
                                 const int32_t* semantic, const int64_t* pairs, int64_t images,    \
                                 int64_t height, int64_t width, int64_t kernel_size,               \
                                 int64_t dilation, T* grad_boundary) {                             \
    return cuda::boundary_loss_backward<T>(                                                        \
        {grad_loss, boundary, instance, semantic, pairs, images, height, width, kernel_size,       \
         dilation, grad_boundary},                                                                 \
        nullptr);                                                                                  \
  }

extern "C" {

POINT2MASK_PAIR_ENTRIES(float)
POINT2MASK_PAIR_ENTRIES(double)

int64_t boundary_loss_scratch(int64_t images, int64_t height, int64_t width) {
  return cuda::boundary_loss_scratch_bytes(images, height, width);
}

} // extern "C"
