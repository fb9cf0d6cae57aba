#include "point2mask/tree_grid.cuh"

namespace point2mask::cuda::tree {
namespace {

// Tree edge c has two arcs: 2c along its direction, 2c + 1 back.
__device__ __forceinline__ std::int64_t arc_from(const TreeEdges& t, std::int64_t image,
                                                 std::int32_t pixel, int slot) {
  const std::int64_t directions = t.grid.slots / 2;
  const std::int32_t* const number = t.number + image * directions * t.grid.pixels;
  return 2 * std::int64_t{number[t.grid.edge_id(pixel, slot)]} + (slot % 2 ? 0 : 1);
}

// The lowest slot of a set behind `slot`, or kNoSlot.
__device__ __forceinline__ int next_slot(unsigned set, int slot) {
  const unsigned rest = set >> (slot + 1);
  return rest == 0 ? kNoSlot : slot + __ffs(static_cast<int>(rest));
}

// The Euler tour: an arc is followed by the next arc around the pixel it arrives at. It starts with
// pixel 0's first slot and ends where it would start again.
__device__ __forceinline__ Word next_of_arc(const TreeEdges& t, std::int64_t image,
                                            std::int64_t own, std::int32_t pixel, int slot_back) {
  const unsigned set = t.slots[image * t.grid.pixels + pixel];
  const int next = next_slot(set, slot_back);
  if (next != kNoSlot) return hop(arc_from(t, image, pixel, next), 1);
  if (pixel == 0) return hop(own, 0);
  return hop(arc_from(t, image, pixel, next_slot(set, -1)), 1);
}

__global__ void __launch_bounds__(kThreads) link_tour_kernel(TreeEdges t, Word* tour) {
  for_each(t.images, t.grid.pixels, [&](std::int64_t image, std::int64_t c) {
    const std::int64_t arc = 2 * c, out = 2 * (image * t.grid.pixels + c);
    const std::int32_t edge = t.edge[image * t.grid.pixels + c];
    if (edge < 0) {
      tour[out] = hop(arc, 0);
      tour[out + 1] = hop(arc + 1, 0);
      return;
    }
    const Ends ends = ends_of(t.grid, edge);
    tour[out] = next_of_arc(t, image, arc, ends.second, ends.slot ^ 1);
    tour[out + 1] = next_of_arc(t, image, arc + 1, ends.first, ends.slot);
  });
}

// Of an edge's two arcs the earlier one, which is farther from the end, leads away from the root.
// Between them lie two arcs for every other pixel of the subtree.
__global__ void __launch_bounds__(kThreads) find_parents_kernel(RootedOrder r) {
  const TreeEdges& t = r.tree;
  for_each(t.images, t.grid.pixels, [&](std::int64_t image, std::int64_t c) {
    const std::int64_t base = image * t.grid.pixels;
    if (c == 0) {
      r.up[base] = kNoSlot;
      r.size[base] = t.grid.pixels;
    }
    const std::int32_t edge = t.edge[base + c];
    if (edge < 0) return;
    const Ends ends = ends_of(t.grid, edge);
    const std::int64_t to_end = hop_sum(r.tour[2 * (base + c)]);
    const std::int64_t back_to_end = hop_sum(r.tour[2 * (base + c) + 1]);
    const bool down = to_end > back_to_end;
    const std::int64_t apart = down ? to_end - back_to_end : back_to_end - to_end;
    const std::int64_t child = base + (down ? ends.second : ends.first);
    r.up[child] = down ? ends.slot ^ 1 : ends.slot;
    r.size[child] = static_cast<std::int32_t>((apart + 1) / 2);
  });
}

// A child's rank less its parent's: 1 for the heavy child, behind which the others follow in
// increasing edge id, each behind the subtree of the one before it.
__global__ void __launch_bounds__(kThreads) place_children_kernel(RootedOrder r) {
  const TreeEdges& t = r.tree;
  for_each(t.images, t.grid.pixels, [&](std::int64_t image, std::int64_t i) {
    const std::int64_t base = image * t.grid.pixels;
    const auto pixel = static_cast<std::int32_t>(i);
    if (pixel == 0) r.path[base] = hop(0, 0);
    const unsigned children = t.slots[base + i] & ~(1U << r.up[base + i]);
    int heavy = kNoSlot;
    std::int32_t largest = 0;
    for (int slot = next_slot(children, -1); slot != kNoSlot; slot = next_slot(children, slot)) {
      const std::int32_t size = r.size[base + t.grid.neighbor(pixel, slot)];
      if (size <= largest) continue;
      largest = size;
      heavy = slot;
    }
    std::int64_t behind = 1 + std::int64_t{largest};
    for (int slot = next_slot(children, -1); slot != kNoSlot; slot = next_slot(children, slot)) {
      const std::int64_t child = base + t.grid.neighbor(pixel, slot);
      r.path[child] = hop(i, slot == heavy ? 1 : behind);
      if (slot != heavy) behind += r.size[child];
    }
  });
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    write_order_kernel(RootedOrder r, const T* edge_weight, std::int32_t* order,
                       std::int32_t* parent, std::int32_t* edge, T* weight) {
  const Grid& grid = r.tree.grid;
  for_each(r.tree.images, grid.pixels, [&](std::int64_t image, std::int64_t i) {
    const std::int64_t base = image * grid.pixels;
    const auto pixel = static_cast<std::int32_t>(i);
    const std::int64_t out = base + hop_sum(r.path[base + i]);
    const int up = r.up[base + i];
    const bool root = up == kNoSlot;
    const std::int32_t above = root ? pixel : grid.neighbor(pixel, up);
    const std::int32_t id = root ? -1 : grid.edge_id(pixel, up);
    order[out] = pixel;
    parent[out] = static_cast<std::int32_t>(hop_sum(r.path[base + above]));
    edge[out] = id;
    weight[out] = root ? T(0) : edge_weight[base * (grid.slots / 2) + id];
  });
}

} // namespace

template <typename T>
cudaError_t write_order(const RootedOrder& r, const T* edge_weight, std::int32_t* order,
                        std::int32_t* parent, std::int32_t* edge, T* weight, cudaStream_t stream) {
  const std::int64_t images = r.tree.images, pixels = r.tree.grid.pixels;
  const dim3 grid = image_grid(pixels, images), block(kThreads);
  cudaError_t status = launch(link_tour_kernel, grid, block, 0, stream, r.tree, r.tour);
  if (status == cudaSuccess) status = follow_hops(r.tour, images, 2 * pixels, stream);
  if (status == cudaSuccess) status = launch(find_parents_kernel, grid, block, 0, stream, r);
  if (status == cudaSuccess) status = launch(place_children_kernel, grid, block, 0, stream, r);
  if (status == cudaSuccess) status = follow_hops(r.path, images, pixels, stream);
  if (status == cudaSuccess)
    status = launch(write_order_kernel<T>, grid, block, 0, stream, r, edge_weight, order, parent,
                    edge, weight);
  return status;
}

template cudaError_t write_order(const RootedOrder&, const float*, std::int32_t*, std::int32_t*,
                                 std::int32_t*, float*, cudaStream_t);
template cudaError_t write_order(const RootedOrder&, const double*, std::int32_t*, std::int32_t*,
                                 std::int32_t*, double*, cudaStream_t);

} // namespace point2mask::cuda::tree
