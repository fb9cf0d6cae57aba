#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "point2mask/parallel.hpp"
#include "point2mask/tree.hpp"
#include "tree_arena.hpp"
#include "tree_boruvka.hpp"
#include "tree_grid.hpp"
#include "tree_order.hpp"

namespace point2mask {
namespace {

using tree::Grid;

template <typename T>
void write_tree(const SpanningTree<T>& s, std::int64_t image, const Grid& grid,
                const tree::Placed* placed) {
  const std::int64_t base = image * grid.pixels;
  const T* edge_weight = s.edge_weight + image * s.directions * grid.pixels;
  std::array<std::int32_t, 8> edge_of{}; // what a slot adds to the pixel to make the edge's id
  for (unsigned slot = 0; slot < grid.slots; ++slot) edge_of[slot] = grid.edge_id(0, slot);
  s.order[base] = 0;
  s.parent[base] = 0;
  s.edge[base] = -1;
  s.weight[base] = T(0);
  for (std::int32_t rank = 1; rank < grid.pixels; ++rank) {
    const auto [visit, parent] = placed[rank];
    const auto pixel = static_cast<std::int32_t>(visit / grid.slots);
    const std::int32_t edge = pixel + edge_of[visit % grid.slots];
    s.order[base + rank] = pixel;
    s.parent[base + rank] = parent;
    s.edge[base + rank] = edge;
    s.weight[base + rank] = edge_weight[edge];
  }
}

template <typename T>
[[noreturn]] void throw_not_finite(const SpanningTree<T>& s, std::int64_t image, const Grid& grid) {
  const T* weight = s.edge_weight + image * s.directions * grid.pixels;
  for (std::int32_t pixel = 0; pixel < grid.pixels; ++pixel) {
    for (unsigned slot = 1; slot < grid.slots; slot += 2) {
      const Offset o = Grid::offset(slot);
      const std::int64_t x = pixel % grid.width + o.dx;
      const T w = weight[grid.edge_id(pixel, slot)];
      if (pixel / grid.width + o.dy < grid.height && x >= 0 && x < grid.width && !std::isfinite(w))
        throw std::invalid_argument("spanning_tree: edge_weight must be finite, got " +
                                    std::to_string(w) + " in image " + std::to_string(image));
    }
  }
  throw std::logic_error("spanning_tree: no weight is infinite");
}

} // namespace

template <typename T>
void check(const SpanningTree<T>& s) {
  if (s.width > 0 && s.height > std::numeric_limits<std::int32_t>::max() / s.directions / s.width)
    throw std::invalid_argument("spanning_tree: edge_weight must have less than 2^31 entries an " +
                                std::string("image, got ") + std::to_string(s.height) + " x " +
                                std::to_string(s.width) + " pixels");
}

template <typename T>
void run(const SpanningTree<T>& s, const Executor& executor) {
  check(s);
  if (s.height == 0 || s.width == 0) return;
  const Grid grid(s.directions, s.height, s.width);
  executor.for_range(s.images, 1, [&](std::int64_t begin, std::int64_t end) {
    const auto pixels = static_cast<std::size_t>(grid.pixels);
    tree::Arena arena(tree::Arena::bytes<std::uint8_t>(pixels) +
                      std::max(tree::Boruvka<T>::bytes(grid), tree::preorder_bytes(grid)));
    auto* steps = arena.take<std::uint8_t>(pixels);
    const std::size_t used = arena.used();
    for (std::int64_t image = begin; image < end; ++image) {
      arena.rewind(used);
      const T* edge_weight = s.edge_weight + image * s.directions * grid.pixels;
      if (!tree::Boruvka<T>(grid, arena).run(edge_weight, steps)) throw_not_finite(s, image, grid);
      arena.rewind(used);
      write_tree(s, image, grid, tree::preorder(grid, steps, arena));
    }
  });
}

template void check(const SpanningTree<float>&);
template void check(const SpanningTree<double>&);
template void run(const SpanningTree<float>&, const Executor&);
template void run(const SpanningTree<double>&, const Executor&);

} // namespace point2mask
