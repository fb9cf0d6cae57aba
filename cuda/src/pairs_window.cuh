#pragma once

// What the kernels on pixel pairs share: the patches that blocks cover, the walk over the pairs of
// a dilated window, and sums over pairs in an order that neither grid nor schedule changes.

#include <algorithm>

#include "point2mask/simt.cuh"
#include "point2mask/warp.cuh"

namespace point2mask::cuda {

// A block covers a patch of an image, so that most neighbours are in the first-level cache.
constexpr int kPatchWidth = 32, kPatchHeight = 8, kPatchPixels = kPatchWidth * kPatchHeight;
constexpr int kWarps = kPatchPixels / kWarp;

// Images in patches, numbered over the whole batch.
struct Patches {
  std::int64_t images, height, width;
  std::int64_t rows, columns; // patches an image

  Patches(std::int64_t images_, std::int64_t height_, std::int64_t width_)
      : images(images_),
        height(height_),
        width(width_),
        rows((height_ + kPatchHeight - 1) / kPatchHeight),
        columns((width_ + kPatchWidth - 1) / kPatchWidth) {}

  __host__ __device__ std::int64_t per_image() const { return rows * columns; }
  __host__ __device__ std::int64_t count() const { return images * per_image(); }
};

struct Pixel {
  std::int64_t image, y, x;
  bool inside;
};

// The pixel of this thread in a patch.
__device__ __forceinline__ Pixel pixel_of(const Patches& patches, std::int64_t patch) {
  const std::int64_t image = patch / patches.per_image();
  const std::int64_t in_image = patch - image * patches.per_image();
  const std::int64_t y = in_image / patches.columns * kPatchHeight + threadIdx.x / kPatchWidth;
  const std::int64_t x = in_image % patches.columns * kPatchWidth + threadIdx.x % kPatchWidth;
  return {image, y, x, y < patches.height && x < patches.width};
}

// Half of a dilated window: the rows below the centre and what lies right of it in its own row.
// Positions that no pair of pixels of the image has are left out.
struct Window {
  std::int64_t rows, columns, dilation;

  Window(std::int64_t kernel_size, std::int64_t dilation_, std::int64_t height, std::int64_t width)
      : rows(std::min(kernel_size / 2, (height - 1) / dilation_)),
        columns(std::min(kernel_size / 2, (width - 1) / dilation_)),
        dilation(dilation_) {}

  __device__ __forceinline__ std::int64_t offsets() const {
    return rows * (2 * columns + 1) + columns;
  }
};

// A position of the half window, in steps of the dilation. The walk starts at the centre.
struct Position {
  std::int64_t y = 0, x = 0;

  __device__ __forceinline__ void advance(const Window& window) {
    if (++x > window.columns) {
      x = -window.columns;
      ++y;
    }
  }
};

// The distance to the other pixel of a pair within a plane; 0 where there is none.
__device__ __forceinline__ std::int64_t pair_offset(const Patches& patches, const Window& window,
                                                    const Pixel& at, const Position& position,
                                                    int sign) {
  if (position.y > window.rows) return 0;
  const std::int64_t dy = sign * position.y * window.dilation;
  const std::int64_t dx = sign * position.x * window.dilation;
  const std::int64_t y = at.y + dy, x = at.x + dx;
  const bool exists = y >= 0 && y < patches.height && x >= 0 && x < patches.width;
  return exists ? dy * patches.width + dx : 0;
}

// Losses of pairs and their number, for each of some kinds of pair.
template <int kKinds>
struct PairSums {
  double total[kKinds];
  std::int64_t pairs[kKinds];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int k = 0; k < kKinds; ++k) {
      total[k] = 0;
      pairs[k] = 0;
    }
  }
  __device__ __forceinline__ void add(const PairSums& other) {
#pragma unroll
    for (int k = 0; k < kKinds; ++k) {
      total[k] += other.total[k];
      pairs[k] += other.pairs[k];
    }
  }
};

// Adds up what the threads of a block hold: the lanes of a warp by a tree, then warp after warp.
// All threads call it; the first one gets the result.
template <int kKinds>
__device__ __forceinline__ void add_over_block(PairSums<kKinds>& sums) {
  POINT2MASK_SHARED(PairSums<kKinds>, of_warp, kWarps);
#pragma unroll
  for (int k = 0; k < kKinds; ++k)
#pragma unroll
    for (unsigned lanes = kWarp / 2; lanes > 0; lanes /= 2) {
      sums.total[k] += __shfl_down_sync(kFullWarp, sums.total[k], lanes);
      sums.pairs[k] += __shfl_down_sync(kFullWarp, sums.pairs[k], lanes);
    }
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = sums;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int warp = 1; warp < kWarps; ++warp) sums.add(of_warp[warp]);
  __syncthreads(); // the next sums may overwrite these
}

// A thread owns the pairs that begin at its pixel, which score(pixel, sums) adds up; a block leaves
// the sums of each of its patches.
template <int kKinds, typename Score>
__device__ __forceinline__ void sum_patches(const Patches& patches, Score&& score,
                                            PairSums<kKinds>* of_patch) {
  for (std::int64_t patch = blockIdx.x; patch < patches.count(); patch += gridDim.x) {
    const Pixel at = pixel_of(patches, patch);
    PairSums<kKinds> sums;
    sums.clear();
    if (at.inside) score(at, sums);
    add_over_block(sums);
    if (threadIdx.x == 0) of_patch[patch] = sums;
  }
}

// The sums of one image from those of its patches; for the first thread of the block.
template <int kKinds>
__device__ __forceinline__ PairSums<kKinds> sums_of_image(const PairSums<kKinds>* of_patch,
                                                          std::int64_t count) {
  PairSums<kKinds> sums;
  sums.clear();
  for (std::int64_t i = threadIdx.x; i < count; i += kPatchPixels) sums.add(of_patch[i]);
  add_over_block(sums);
  return sums;
}

} // namespace point2mask::cuda
