#pragma once

// A rooted tree cut into paths, for passes whose number of steps does not depend on its depth.

#include "point2mask/scratch.hpp"
#include "point2mask/tree_kernels.cuh"

namespace point2mask::cuda::tree {

// A path is a run of consecutive ranks in which each parent is the rank before; in heavy-first
// preorder those are the heavy paths. The first rank is the path's head, and a head's edge to its
// parent is light. A path's level is the number of light edges above it: below
// 1 + log2(N) in heavy-first preorder, below N for any tree.
struct Paths {
  std::int64_t images, pixels;
  std::int32_t* rank;      // [B, N] rank of each pixel
  std::int32_t* parent;    // [B, N] rank of each rank's parent, 0 at the root
  std::int32_t* light;     // [B, N] the light child of highest rank, or -1
  std::int32_t* sibling;   // [B, N] of a head: its parent's light child of next lower rank, or -1
  std::int32_t* last;      // [B, N] of a head: the path's last rank
  std::int32_t* head;      // [B, N] the heads, level by level
  std::int32_t* level_end; // [B, N] where each level ends in `head`
  std::int32_t* levels;    // [B]
};

// Paths in memory of images * (7 pixels + 1) words.
Paths paths_in(std::int32_t* words, std::int64_t images, std::int64_t pixels);

// Entries by rank, of which the first lie in shared memory and the others beyond it.
template <typename Entry>
struct Split {
  Entry *shared, *beyond;
  std::int64_t fit;
  __device__ __forceinline__ Entry& operator[](std::int64_t rank) const {
    return rank < fit ? shared[rank] : beyond[rank - fit];
  }
};

// How many of an image's entries lie in shared memory that has room for so many: all, or at least
// as many as lie beyond, or 0.
inline std::int64_t entries_that_fit(std::int64_t pixels, std::int64_t room) {
  return room >= pixels ? pixels : 2 * room >= pixels ? room : 0;
}

// What only find_paths() needs.
struct PathScratch {
  Word* run;             // [B, N] hops to the head
  Word* depth;           // [B, N] a head's hops to the root's path
  std::int32_t* cursor;  // [B, N]
  std::int32_t* crowded; // [B] whether some rank has many light children
};

PathScratch path_scratch_in(Scratch& scratch, std::int64_t images, std::int64_t pixels);

cudaError_t find_paths(const Paths& paths, const PathScratch& scratch, const std::int32_t* order,
                       const std::int32_t* parent, cudaStream_t stream);

} // namespace point2mask::cuda::tree
