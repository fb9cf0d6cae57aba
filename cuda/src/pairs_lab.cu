#include <algorithm>
#include <cmath>
#include <limits>

#include "pairs_window.cuh"
#include "point2mask/cuda.hpp"
#include "point2mask/scratch.hpp"

namespace point2mask::cuda {
namespace {

// Positions of the half window whose dot products a thread accumulates at once: all of a 3 x 3
// window. A larger one reads the logits again for every further group.
constexpr int kGroup = 4;

// Below this a dot product of two distributions may have lost terms to underflow.
template <typename T>
constexpr T kTinyDot = sizeof(T) == 4 ? T(1e-30) : T(1e-280);

// Probability of a class with logit z: exp(z - high) * inverse. inverse is 0 for invalid pixels.
template <typename T>
struct Softmax {
  T high, inverse;
};

// What both directions read.
template <typename T>
struct Affinity {
  const T* logits;
  const T* lab;
  const bool* valid;
  std::int64_t channels, plane;
  T limit; // largest squared colour distance of a near pair
  Softmax<T>* softmax;
  Patches patches;
  Window window;
};

// One thread a pixel and one exponential an entry: the sum is kept relative to the largest logit.
template <typename T>
__global__ void __launch_bounds__(kPatchPixels, 2) lab_softmax_kernel(Affinity<T> p) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t image = blockIdx.y; image < p.patches.images; image += gridDim.y)
    for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < p.plane;
         i += step) {
      const std::int64_t pixel = image * p.plane + i;
      Softmax<T> softmax{T(0), T(0)};
      if (p.valid == nullptr || p.valid[pixel]) {
        const T* logit = p.logits + image * p.channels * p.plane + i;
        softmax.high = __ldg(logit);
        T sum = exp(softmax.high - softmax.high); // 1, or NaN
#pragma unroll 4
        for (std::int64_t c = 1; c < p.channels; ++c) {
          const T z = __ldg(logit + c * p.plane);
          const bool grows = z > softmax.high;
          const T ratio = exp(grows ? softmax.high - z : z - softmax.high);
          sum = grows ? sum * ratio + T(1) : sum + ratio;
          softmax.high = grows ? z : softmax.high;
        }
        softmax.inverse = T(1) / sum;
      }
      p.softmax[pixel] = softmax;
    }
}

__device__ __forceinline__ float rounded_product(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double rounded_product(double a, double b) { return __dmul_rn(a, b); }

// Without fused multiply-adds: the same pairs are near as on the CPU.
template <typename T>
__device__ __forceinline__ T color_distance(const Affinity<T>& p, const T* lab,
                                            std::int64_t offset) {
  T sum = T(0);
#pragma unroll
  for (int c = 0; c < 3; ++c) {
    const T d = __ldg(lab + c * p.plane) - __ldg(lab + c * p.plane + offset);
    sum += rounded_product(d, d);
  }
  return sum;
}

// A pixel and its neighbours by one group of positions; kSigns is 1 for the pairs that begin at
// the pixel, 2 for all pairs that contain it.
template <typename T, int kSigns>
struct Neighbors {
  static constexpr int kCount = kSigns * kGroup;
  std::int64_t offset[kCount]; // in a plane, from the pixel
  Softmax<T> softmax[kCount];
  T dot[kCount];
  bool near[kCount];
  bool any; // is near
};

// Walks on by one group.
template <typename T, int kSigns>
__device__ __forceinline__ void find_near(const Affinity<T>& p, const Pixel& at, Position& position,
                                          Neighbors<T, kSigns>& n) {
  const std::int64_t i = at.y * p.patches.width + at.x;
  const T* const lab = p.lab + at.image * 3 * p.plane + i;
  const Softmax<T>* const softmax = p.softmax + at.image * p.plane + i;
  n.any = false;
#pragma unroll
  for (int k = 0; k < n.kCount; ++k) {
    if (k % kSigns == 0) position.advance(p.window);
    n.offset[k] = pair_offset(p.patches, p.window, at, position, k % kSigns == 0 ? 1 : -1);
    n.softmax[k] = softmax[n.offset[k]];
    n.near[k] = n.offset[k] != 0 && n.softmax[k].inverse != T(0) &&
                color_distance(p, lab, n.offset[k]) <= p.limit;
    n.any = n.any || n.near[k];
  }
}

// dot = sum over classes of the product of both probabilities, at most 1.
template <typename T, int kSigns>
__device__ __forceinline__ void multiply(const Affinity<T>& p, const T* logit,
                                         const Softmax<T>& here, Neighbors<T, kSigns>& n) {
#pragma unroll
  for (int k = 0; k < n.kCount; ++k) n.dot[k] = T(0);
  for (std::int64_t c = 0; c < p.channels; ++c, logit += p.plane) {
    const T own = exp(__ldg(logit) - here.high);
#pragma unroll
    for (int k = 0; k < n.kCount; ++k)
      if (n.near[k]) n.dot[k] += own * exp(__ldg(logit + n.offset[k]) - n.softmax[k].high);
  }
#pragma unroll
  for (int k = 0; k < n.kCount; ++k) {
    n.dot[k] *= here.inverse * n.softmax[k].inverse;
    // Probabilities sum to 1 up to rounding: no loss below zero. NaN stays.
    n.dot[k] = n.dot[k] > T(1) ? T(1) : n.dot[k];
  }
}

// Calls work(offset) for the near neighbours whose dot product is tiny. They are few, so that one
// copy of the code, which picks its neighbour, is better than one for each.
template <typename T, int kSigns, typename Work>
__device__ __forceinline__ void for_tiny(const Neighbors<T, kSigns>& n, Work&& work) {
  unsigned tiny = 0;
#pragma unroll
  for (int k = 0; k < n.kCount; ++k)
    if (n.near[k] && n.dot[k] < kTinyDot<T>) tiny |= 1U << k;
  while (tiny != 0) {
    const int first = __ffs(static_cast<int>(tiny)) - 1;
    std::int64_t offset = 0;
#pragma unroll
    for (int k = 0; k < n.kCount; ++k) offset = k == first ? n.offset[k] : offset;
    work(offset);
    tiny &= tiny - 1;
  }
}

// log sum_c exp(use_here * z_c + use_there * z_c of the other pixel), in double: the way of the
// pairs whose dot product underflows.
template <typename T>
__device__ __forceinline__ double log_sum_exp(const Affinity<T>& p, const T* logit,
                                              std::int64_t offset, double use_here,
                                              double use_there) {
  const auto exponent = [&](std::int64_t c) {
    const T* const z = logit + c * p.plane;
    return use_here * static_cast<double>(__ldg(z)) +
           use_there * static_cast<double>(__ldg(z + offset));
  };
  double high = exponent(0), sum = 0;
#pragma unroll 1
  for (std::int64_t c = 1; c < p.channels; ++c) high = fmax(high, exponent(c));
#pragma unroll 1
  for (std::int64_t c = 0; c < p.channels; ++c) sum += exp(exponent(c) - high);
  return high + log(sum);
}

// --- forward -----------------------------------------------------------------------------------

template <typename T>
__device__ __forceinline__ void score_pixel(const Affinity<T>& p, const Pixel& at,
                                            PairSums<1>& sums) {
  const std::int64_t i = at.y * p.patches.width + at.x;
  const T* const logit = p.logits + at.image * p.channels * p.plane + i;
  const Softmax<T> here = p.softmax[at.image * p.plane + i];
  if (here.inverse == T(0)) return;
  Position position;
  Neighbors<T, 1> n;
  for (std::int64_t group = 0; group < p.window.offsets(); group += kGroup) {
    find_near(p, at, position, n);
    if (!n.any) continue;
    multiply(p, logit, here, n);
#pragma unroll
    for (int k = 0; k < n.kCount; ++k) {
      const bool is_tiny = n.dot[k] < kTinyDot<T>;
      sums.total[0] -= static_cast<double>(n.near[k] && !is_tiny ? log(n.dot[k]) : T(0));
      sums.pairs[0] += n.near[k] ? 1 : 0;
    }
    for_tiny(n, [&](std::int64_t offset) {
#pragma unroll 1
      for (int term = 0; term < 3; ++term) // here, there, both
        sums.total[0] +=
            (term == 2 ? -1.0 : 1.0) *
            log_sum_exp(p, logit, offset, term != 1 ? 1.0 : 0.0, term != 0 ? 1.0 : 0.0);
    });
  }
}

template <typename T>
__global__ void __launch_bounds__(kPatchPixels, 2)
    lab_pairs_kernel(Affinity<T> p, PairSums<1>* of_patch) {
  sum_patches(
      p.patches, [&](const Pixel& at, PairSums<1>& sums) { score_pixel(p, at, sums); }, of_patch);
}

// One block an image.
template <typename T>
__global__ void __launch_bounds__(kPatchPixels)
    lab_mean_kernel(const PairSums<1>* of_patch, std::int64_t images, std::int64_t patches, T* loss,
                    std::int64_t* pairs) {
  for (std::int64_t image = blockIdx.x; image < images; image += gridDim.x) {
    const PairSums<1> sums = sums_of_image(of_patch + image * patches, patches);
    if (threadIdx.x != 0) continue;
    const std::int64_t count = sums.pairs[0];
    pairs[image] = count;
    loss[image] = count == 0 ? T(0) : static_cast<T>(sums.total[0] / static_cast<double>(count));
  }
}

// --- backward ----------------------------------------------------------------------------------

// The part of the gradient that comes from one group of neighbours, set or added:
//   scale * sum over near neighbours of (p_c - p_c * p_c of the neighbour / dot)
template <typename T>
__device__ __forceinline__ void add_gradient(const Affinity<T>& p, const T* logit,
                                             const Softmax<T>& here, const Neighbors<T, 2>& n,
                                             T scale, bool add, T* grad) {
  T near = T(0), weight[n.kCount];
#pragma unroll
  for (int k = 0; k < n.kCount; ++k) {
    near += n.near[k] ? T(1) : T(0);
    const bool is_tiny = n.dot[k] < kTinyDot<T>;
    weight[k] = n.near[k] && !is_tiny ? n.softmax[k].inverse / n.dot[k] : T(0);
  }
  for (std::int64_t c = 0; c < p.channels; ++c) {
    const T* const z = logit + c * p.plane;
    const T probability = exp(__ldg(z) - here.high) * here.inverse;
    T sum = T(0);
#pragma unroll
    for (int k = 0; k < n.kCount; ++k)
      if (weight[k] != T(0)) sum += weight[k] * exp(__ldg(z + n.offset[k]) - n.softmax[k].high);
    const T part = scale * (probability * (near - sum));
    grad[c * p.plane] = add ? grad[c * p.plane] + part : part;
  }
  for_tiny(n, [&](std::int64_t offset) {
    const double whole = log_sum_exp(p, logit, offset, 1.0, 1.0);
#pragma unroll 1
    for (std::int64_t c = 0; c < p.channels; ++c) {
      const T* const z = logit + c * p.plane;
      const double joint = static_cast<double>(__ldg(z)) + static_cast<double>(__ldg(z + offset));
      grad[c * p.plane] -= scale * static_cast<T>(exp(joint - whole));
    }
  });
}

// A thread owns the gradient of its pixel and gathers over the pairs that contain it.
template <typename T>
__device__ __forceinline__ void differentiate_pixel(const Affinity<T>& p, const Pixel& at, T scale,
                                                    T* grad_logits) {
  const std::int64_t i = at.y * p.patches.width + at.x;
  const std::int64_t first = at.image * p.channels * p.plane + i;
  const Softmax<T> here = p.softmax[at.image * p.plane + i];
  T* const grad = grad_logits + first;
  bool written = false;
  if (here.inverse != T(0)) {
    Position position;
    Neighbors<T, 2> n;
    for (std::int64_t group = 0; group < p.window.offsets(); group += kGroup) {
      find_near(p, at, position, n);
      if (!n.any) continue;
      multiply(p, p.logits + first, here, n);
      add_gradient(p, p.logits + first, here, n, scale, written, grad);
      written = true;
    }
  }
  if (written) return;
  for (std::int64_t c = 0; c < p.channels; ++c) grad[c * p.plane] = T(0);
}

// In double, two resident blocks would leave too few registers for eight neighbours.
template <typename T>
__global__ void __launch_bounds__(kPatchPixels, sizeof(T) == 4 ? 2 : 1)
    lab_gradient_kernel(Affinity<T> p, const T* grad_loss, const std::int64_t* pairs,
                        T* grad_logits) {
  for (std::int64_t patch = blockIdx.x; patch < p.patches.count(); patch += gridDim.x) {
    const Pixel at = pixel_of(p.patches, patch);
    if (!at.inside) continue;
    const std::int64_t count = __ldg(pairs + at.image);
    const T scale = count == 0 ? T(0) : __ldg(grad_loss + at.image) / static_cast<T>(count);
    differentiate_pixel(p, at, scale, grad_logits);
  }
}

// --- launchers ---------------------------------------------------------------------------------

template <typename T>
struct Arrays {
  Softmax<T>* softmax;
  PairSums<1>* of_patch;
};

template <typename T>
Arrays<T> arrays_in(Scratch& scratch, const Patches& patches) {
  Arrays<T> a;
  a.softmax = scratch.take<Softmax<T>>(patches.images * patches.height * patches.width);
  a.of_patch = scratch.take<PairSums<1>>(patches.count());
  return a;
}

template <typename T, typename Arguments>
Affinity<T> affinity_of(const Arguments& p, Softmax<T>* softmax) {
  const double radius = -p.theta * std::log(p.threshold);
  const auto most = static_cast<double>(std::numeric_limits<T>::max());
  return {p.logits,
          p.lab,
          p.valid,
          p.channels,
          p.height * p.width,
          static_cast<T>(std::min(radius * radius, most)),
          softmax,
          Patches(p.images, p.height, p.width),
          Window(p.kernel_size, p.dilation, p.height, p.width)};
}

template <typename T>
cudaError_t find_softmax(const Affinity<T>& p, cudaStream_t stream) {
  const dim3 grid(blocks_for(p.plane, kPatchPixels), blocks_for(p.patches.images, 1));
  return launch(lab_softmax_kernel<T>, grid, dim3(kPatchPixels), 0, stream, p);
}

} // namespace

template <typename T>
std::int64_t scratch_bytes(const LabAffinityLoss<T>& p) {
  Scratch memory;
  arrays_in<T>(memory, Patches(p.images, p.height, p.width));
  return memory.bytes();
}

template <typename T>
std::int64_t scratch_bytes(const LabAffinityLossBackward<T>& p) {
  return p.images * p.height * p.width * static_cast<std::int64_t>(sizeof(Softmax<T>));
}

template <typename T>
cudaError_t run(const LabAffinityLoss<T>& p, void* scratch, cudaStream_t stream) {
  if (p.images == 0) return cudaSuccess;
  const dim3 block(kPatchPixels);
  const Patches patches(p.images, p.height, p.width);
  Scratch memory(scratch);
  const Arrays<T> a = arrays_in<T>(memory, patches);
  cudaError_t status = cudaSuccess;
  if (patches.count() > 0) {
    const Affinity<T> affinity = affinity_of<T>(p, a.softmax);
    status = find_softmax(affinity, stream);
    if (status == cudaSuccess)
      status = launch(lab_pairs_kernel<T>, dim3(blocks_for(patches.count(), 1)), block, 0, stream,
                      affinity, a.of_patch);
  }
  if (status == cudaSuccess)
    status = launch(lab_mean_kernel<T>, dim3(blocks_for(p.images, 1)), block, 0, stream, a.of_patch,
                    p.images, patches.per_image(), p.loss, p.pairs);
  return status;
}

template <typename T>
cudaError_t run(const LabAffinityLossBackward<T>& p, void* scratch, cudaStream_t stream) {
  const Patches patches(p.images, p.height, p.width);
  if (patches.count() == 0) return cudaSuccess;
  const Affinity<T> affinity = affinity_of<T>(p, static_cast<Softmax<T>*>(scratch));
  const cudaError_t status = find_softmax(affinity, stream);
  if (status != cudaSuccess) return status;
  return launch(lab_gradient_kernel<T>, dim3(blocks_for(patches.count(), 1)), dim3(kPatchPixels), 0,
                stream, affinity, p.grad_loss, p.pairs, p.grad_logits);
}

#define POINT2MASK_INSTANTIATE(T)                                           \
  template std::int64_t scratch_bytes(const LabAffinityLoss<T>&);           \
  template std::int64_t scratch_bytes(const LabAffinityLossBackward<T>&);   \
  template cudaError_t run(const LabAffinityLoss<T>&, void*, cudaStream_t); \
  template cudaError_t run(const LabAffinityLossBackward<T>&, void*, cudaStream_t);
POINT2MASK_INSTANTIATE(float)
POINT2MASK_INSTANTIATE(double)

} // namespace point2mask::cuda
