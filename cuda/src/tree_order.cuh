#pragma once

// Roots a spanning tree at pixel 0 and puts it in heavy-first preorder.

#include "point2mask/tree_grid.cuh"

namespace point2mask::cuda::tree {

// Arrays of one image.
struct RootedOrder {
  TreeEdges tree;
  Word* tour;         // [2 N] scratch
  Word* path;         // [N] scratch
  std::int32_t* size; // [N] scratch
  std::int32_t* up;   // [N] scratch
};

// Tree edge c has two arcs: 2c along its direction, 2c + 1 back.
__device__ __forceinline__ std::int64_t arc_from(const TreeEdges& t, std::int32_t pixel, int slot) {
  return 2 * std::int64_t{t.number[t.grid.edge_id(pixel, slot)]} + (slot % 2 ? 0 : 1);
}

// The lowest slot of a set behind `slot`, or kNoSlot.
__device__ __forceinline__ int next_slot(unsigned set, int slot) {
  const unsigned rest = set >> (slot + 1);
  return rest == 0 ? kNoSlot : slot + __ffs(static_cast<int>(rest));
}

// The Euler tour: an arc is followed by the next arc around the pixel it arrives at. It starts with
// pixel 0's first slot and ends where it would start again.
__device__ __forceinline__ Word next_of_arc(const TreeEdges& t, std::int64_t own,
                                            std::int32_t pixel, int slot_back) {
  const unsigned set = t.slots[pixel];
  const int next = next_slot(set, slot_back);
  if (next != kNoSlot) return hop(arc_from(t, pixel, next), 1);
  if (pixel == 0) return hop(own, 0);
  return hop(arc_from(t, pixel, next_slot(set, -1)), 1);
}

__device__ __forceinline__ void link_tour(const TreeEdges& t, Word* tour, std::int64_t c) {
  const std::int64_t arc = 2 * c;
  const std::int32_t edge = t.edge[c];
  if (edge < 0) {
    tour[arc] = hop(arc, 0);
    tour[arc + 1] = hop(arc + 1, 0);
    return;
  }
  const Ends ends = ends_of(t.grid, edge);
  tour[arc] = next_of_arc(t, arc, ends.second, ends.slot ^ 1);
  tour[arc + 1] = next_of_arc(t, arc + 1, ends.first, ends.slot);
}

// Of an edge's two arcs the earlier one, which is farther from the end, leads away from the root.
// Between them lie two arcs for every other pixel of the subtree.
__device__ __forceinline__ void find_parent(const RootedOrder& r, std::int64_t c) {
  const TreeEdges& t = r.tree;
  if (c == 0) {
    r.up[0] = kNoSlot;
    r.size[0] = t.grid.pixels;
  }
  const std::int32_t edge = t.edge[c];
  if (edge < 0) return;
  const Ends ends = ends_of(t.grid, edge);
  const std::int64_t to_end = hop_sum(r.tour[2 * c]), back_to_end = hop_sum(r.tour[2 * c + 1]);
  const bool down = to_end > back_to_end;
  const std::int64_t apart = down ? to_end - back_to_end : back_to_end - to_end;
  const std::int32_t child = down ? ends.second : ends.first;
  r.up[child] = down ? ends.slot ^ 1 : ends.slot;
  r.size[child] = static_cast<std::int32_t>((apart + 1) / 2);
}

// A child's rank less its parent's: 1 for the heavy child, behind which the others follow in
// increasing edge id, each behind the subtree of the one before it.
__device__ __forceinline__ void place_children(const RootedOrder& r, std::int32_t pixel) {
  const TreeEdges& t = r.tree;
  if (pixel == 0) r.path[0] = hop(0, 0);
  const unsigned children = t.slots[pixel] & ~(1U << r.up[pixel]);
  int heavy = kNoSlot;
  std::int32_t largest = 0;
  for (int slot = next_slot(children, -1); slot != kNoSlot; slot = next_slot(children, slot)) {
    const std::int32_t size = r.size[t.grid.neighbor(pixel, slot)];
    if (size <= largest) continue;
    largest = size;
    heavy = slot;
  }
  std::int64_t behind = 1 + std::int64_t{largest};
  for (int slot = next_slot(children, -1); slot != kNoSlot; slot = next_slot(children, slot)) {
    const std::int32_t child = t.grid.neighbor(pixel, slot);
    r.path[child] = hop(pixel, slot == heavy ? 1 : behind);
    if (slot != heavy) behind += r.size[child];
  }
}

// Writes one image's part of spanning_tree's results, each from its own first entry on.
template <typename T>
__device__ __forceinline__ void write_order(const RootedOrder& r, Team& team, const T* edge_weight,
                                            std::int32_t* order, std::int32_t* parent,
                                            std::int32_t* edge, T* weight) {
  const Grid& grid = r.tree.grid;
  team.for_each(grid.pixels, [&](std::int64_t c) { link_tour(r.tree, r.tour, c); });
  team.barrier.wait();
  follow(r.tour, 2 * std::int64_t{grid.pixels}, team.thread, team.threads);
  team.barrier.wait();
  team.for_each(grid.pixels, [&](std::int64_t c) { find_parent(r, c); });
  team.barrier.wait();
  team.for_each(grid.pixels,
                [&](std::int64_t i) { place_children(r, static_cast<std::int32_t>(i)); });
  team.barrier.wait();
  follow(r.path, grid.pixels, team.thread, team.threads);
  team.barrier.wait();
  team.for_each(grid.pixels, [&](std::int64_t i) {
    const auto pixel = static_cast<std::int32_t>(i);
    const std::int64_t out = hop_sum(r.path[i]);
    const int up = r.up[i];
    const bool root = up == kNoSlot;
    const std::int32_t above = root ? pixel : grid.neighbor(pixel, up);
    const std::int32_t id = root ? -1 : grid.edge_id(pixel, up);
    order[out] = pixel;
    parent[out] = static_cast<std::int32_t>(hop_sum(r.path[above]));
    edge[out] = id;
    weight[out] = root ? T(0) : edge_weight[id];
  });
}

} // namespace point2mask::cuda::tree
