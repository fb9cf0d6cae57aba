#include "pairs_window.cuh"
#include "point2mask/cuda.hpp"

namespace point2mask::cuda {
namespace {

constexpr double kEpsilon = 1e-5;
constexpr int kKinds = 3; // thing, stuff, apart

// Share of the loss of each kind of pair.
__device__ __forceinline__ double share(int kind) { return kind == 2 ? 0.5 : 0.25; }

template <typename T>
struct BoundaryMap {
  const T* boundary;
  const std::int32_t* instance;
  const std::int32_t* semantic;
  Patches patches;
  Window window;
};

// One pixel of the map.
template <typename T>
struct Labelled {
  T boundary;
  std::int32_t instance, semantic;
};

template <typename T>
__device__ __forceinline__ Labelled<T> read(const BoundaryMap<T>& p, std::int64_t i) {
  return {__ldg(p.boundary + i), __ldg(p.instance + i), __ldg(p.semantic + i)};
}

// A pair with the same instance but different classes is both a thing pair and apart, as the
// formula has it.
struct Kinds {
  bool thing, stuff, apart;
};

template <typename T>
__device__ __forceinline__ Kinds kinds_of(const Labelled<T>& a, const Labelled<T>& b) {
  const bool same = a.instance == b.instance, thing = same && a.instance >= 0;
  const bool known = a.semantic >= 0 && b.semantic >= 0;
  const bool alike = known && a.semantic == b.semantic;
  return {thing, same && alike && !thing, !same || (known && !alike)};
}

template <typename T>
__device__ __forceinline__ void score_pixel(const BoundaryMap<T>& p, const Pixel& at,
                                            PairSums<kKinds>& sums) {
  constexpr T kSmall = static_cast<T>(kEpsilon);
  const std::int64_t i = (at.image * p.patches.height + at.y) * p.patches.width + at.x;
  const Labelled<T> here = read(p, i);
  Position position;
  for (std::int64_t k = 0; k < p.window.offsets(); ++k) {
    position.advance(p.window);
    const std::int64_t offset = pair_offset(p.patches, p.window, at, position, 1);
    if (offset == 0) continue;
    const Labelled<T> there = read(p, i + offset);
    const Kinds kinds = kinds_of(here, there);
    const T most = here.boundary > there.boundary ? here.boundary : there.boundary;
    const bool alike = kinds.thing || kinds.stuff;
    const auto together = static_cast<double>(alike ? -log((T(1) - most) + kSmall) : T(0));
    const auto apart = static_cast<double>(kinds.apart ? -log(most + kSmall) : T(0));
    sums.add({{kinds.thing ? together : 0.0, kinds.stuff ? together : 0.0, apart},
              {kinds.thing, kinds.stuff, kinds.apart}});
  }
}

template <typename T>
__global__ void __launch_bounds__(kPatchPixels)
    boundary_pairs_kernel(BoundaryMap<T> p, PairSums<kKinds>* of_patch) {
  sum_patches(
      p.patches, [&](const Pixel& at, PairSums<kKinds>& sums) { score_pixel(p, at, sums); },
      of_patch);
}

// One block an image.
template <typename T>
__global__ void __launch_bounds__(kPatchPixels)
    boundary_mean_kernel(const PairSums<kKinds>* of_patch, std::int64_t images,
                         std::int64_t patches, T* loss, std::int64_t* pairs) {
  for (std::int64_t image = blockIdx.x; image < images; image += gridDim.x) {
    const PairSums<kKinds> sums = sums_of_image(of_patch + image * patches, patches);
    if (threadIdx.x != 0) continue;
    double of_image = 0;
#pragma unroll
    for (int k = 0; k < kKinds; ++k) {
      pairs[image * kKinds + k] = sums.pairs[k];
      if (sums.pairs[k] > 0)
        of_image += share(k) * sums.total[k] / static_cast<double>(sums.pairs[k]);
    }
    loss[image] = static_cast<T>(of_image);
  }
}

// d loss / d max of a pair, given to the pixel with the larger boundary, halved at a tie.
template <typename T>
__device__ __forceinline__ T slope(const Labelled<T>& here, const Labelled<T>& there,
                                   const T (&weight)[kKinds]) {
  constexpr T kSmall = static_cast<T>(kEpsilon);
  const Kinds kinds = kinds_of(here, there);
  const T most = here.boundary > there.boundary ? here.boundary : there.boundary;
  const T together = (kinds.thing ? weight[0] : T(0)) + (kinds.stuff ? weight[1] : T(0));
  const T apart = kinds.apart ? weight[2] : T(0);
  const T whole = together / ((T(1) - most) + kSmall) - apart / (most + kSmall);
  if (here.boundary == there.boundary) return T(0.5) * whole;
  return here.boundary > there.boundary ? whole : T(0);
}

// A thread owns the gradient of its pixel and gathers over the pairs that contain it.
template <typename T>
__global__ void __launch_bounds__(kPatchPixels)
    boundary_gradient_kernel(BoundaryMap<T> p, const T* grad_loss, const std::int64_t* pairs,
                             T* grad_boundary) {
  for (std::int64_t patch = blockIdx.x; patch < p.patches.count(); patch += gridDim.x) {
    const Pixel at = pixel_of(p.patches, patch);
    if (!at.inside) continue;
    T weight[kKinds];
#pragma unroll
    for (int k = 0; k < kKinds; ++k) {
      const std::int64_t count = __ldg(pairs + at.image * kKinds + k);
      weight[k] = count > 0 ? __ldg(grad_loss + at.image) *
                                  static_cast<T>(share(k) / static_cast<double>(count))
                            : T(0);
    }
    const std::int64_t i = (at.image * p.patches.height + at.y) * p.patches.width + at.x;
    const Labelled<T> here = read(p, i);
    T grad = T(0);
    Position position;
    for (std::int64_t k = 0; k < p.window.offsets(); ++k) {
      position.advance(p.window);
#pragma unroll
      for (int sign = 1; sign >= -1; sign -= 2) {
        const std::int64_t offset = pair_offset(p.patches, p.window, at, position, sign);
        if (offset != 0) grad += slope(here, read(p, i + offset), weight);
      }
    }
    grad_boundary[i] = grad;
  }
}

template <typename T, typename Arguments>
BoundaryMap<T> map_of(const Arguments& p) {
  return {p.boundary, p.instance, p.semantic, Patches(p.images, p.height, p.width),
          Window(p.kernel_size, p.dilation, p.height, p.width)};
}

} // namespace

template <typename T>
std::int64_t scratch_bytes(const BoundaryLoss<T>& p) {
  return Patches(p.images, p.height, p.width).count() *
         static_cast<std::int64_t>(sizeof(PairSums<kKinds>));
}

template <typename T>
cudaError_t run(const BoundaryLoss<T>& p, void* scratch, cudaStream_t stream) {
  if (p.images == 0) return cudaSuccess;
  const dim3 block(kPatchPixels);
  auto* const of_patch = static_cast<PairSums<kKinds>*>(scratch);
  const Patches patches(p.images, p.height, p.width);
  cudaError_t status = cudaSuccess;
  if (patches.count() > 0)
    status = launch(boundary_pairs_kernel<T>, dim3(blocks_for(patches.count(), 1)), block, 0,
                    stream, map_of<T>(p), of_patch);
  if (status == cudaSuccess)
    status = launch(boundary_mean_kernel<T>, dim3(blocks_for(p.images, 1)), block, 0, stream,
                    of_patch, p.images, patches.per_image(), p.loss, p.pairs);
  return status;
}

template <typename T>
cudaError_t run(const BoundaryLossBackward<T>& p, void* /*scratch*/, cudaStream_t stream) {
  const Patches patches(p.images, p.height, p.width);
  if (patches.count() == 0) return cudaSuccess;
  return launch(boundary_gradient_kernel<T>, dim3(blocks_for(patches.count(), 1)),
                dim3(kPatchPixels), 0, stream, map_of<T>(p), p.grad_loss, p.pairs, p.grad_boundary);
}

template std::int64_t scratch_bytes(const BoundaryLoss<float>&);
template std::int64_t scratch_bytes(const BoundaryLoss<double>&);
template cudaError_t run(const BoundaryLoss<float>&, void*, cudaStream_t);
template cudaError_t run(const BoundaryLoss<double>&, void*, cudaStream_t);
template cudaError_t run(const BoundaryLossBackward<float>&, void*, cudaStream_t);
template cudaError_t run(const BoundaryLossBackward<double>&, void*, cudaStream_t);

} // namespace point2mask::cuda
