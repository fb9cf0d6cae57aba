#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "point2mask/tree.hpp"
#include "tree_boruvka.hpp"
#include "tree_grid.hpp"

namespace point2mask {
namespace {

using tree::Grid;

constexpr unsigned kNone = 8; // no slot: the root's step to its parent

struct Pending {
  std::int32_t pixel, parent;
};

// What one image needs, kept from image to image.
struct Workspace {
  explicit Workspace(std::size_t pixels) : steps(pixels), open(pixels), up(pixels), size(pixels) {}
  std::vector<std::uint8_t> steps; // each pixel's set of tree edges
  std::vector<std::uint8_t> open;  // those whose other end is not yet known to be a child
  std::vector<std::uint8_t> up;    // the slot of the step to the parent
  std::vector<std::int32_t> size;  // pixels in the subtree
  std::vector<Pending> pending;    // children still to be visited, with their parents' ranks
};

// Directs every edge to pixel 0 by plucking leaves: a pixel with one open edge left has its parent
// behind it. A pixel that becomes a leaf behind the scan is plucked at once, one ahead when the
// scan gets there, so no queue is needed.
void find_parents(const Grid& grid, Workspace& ws) {
  std::copy(ws.steps.begin(), ws.steps.end(), ws.open.begin());
  std::fill(ws.size.begin(), ws.size.end(), 1);
  std::uint8_t* open = ws.open.data();
  std::int32_t* size = ws.size.data();
  ws.up[0] = kNone;
  for (std::int32_t scan = 1; scan < grid.pixels; ++scan) {
    std::int32_t pixel = scan;
    while (pixel <= scan && pixel != 0 && std::has_single_bit(open[pixel])) {
      const auto slot = static_cast<unsigned>(std::countr_zero(open[pixel]));
      const std::int32_t parent = grid.neighbor(pixel, slot);
      ws.up[static_cast<std::size_t>(pixel)] = static_cast<std::uint8_t>(slot);
      open[pixel] = 0;
      open[parent] ^= Grid::bit(slot ^ 1U);
      size[parent] += size[pixel];
      pixel = parent;
    }
  }
}

template <typename T>
void write_preorder(const SpanningTree<T>& s, std::int64_t image, const Grid& grid, Workspace& ws) {
  const std::int64_t base = image * grid.pixels;
  const T* edge_weight = s.edge_weight + image * s.directions * grid.pixels;
  std::int32_t rank = 0;
  ws.pending.assign(1, {0, 0});
  while (!ws.pending.empty()) {
    auto [pixel, parent] = ws.pending.back();
    ws.pending.pop_back();
    // Down the chain of heavy children. The others wait, the smallest edge id on top.
    for (bool leaf = false; !leaf; ++rank) {
      const unsigned up = ws.up[static_cast<std::size_t>(pixel)];
      const std::int64_t out = base + rank;
      const std::int32_t edge = up == kNone ? -1 : grid.edge_id(pixel, up);
      s.order[out] = pixel;
      s.parent[out] = parent;
      s.edge[out] = edge;
      s.weight[out] = up == kNone ? T(0) : edge_weight[edge];

      unsigned children = ws.steps[static_cast<std::size_t>(pixel)] & ~(1U << up);
      leaf = children == 0;
      if (leaf) continue;
      auto heavy = static_cast<unsigned>(std::countr_zero(children));
      if (!std::has_single_bit(children)) {
        std::int32_t largest = 0;
        for (unsigned rest = children; rest != 0; rest &= rest - 1) {
          const auto slot = static_cast<unsigned>(std::countr_zero(rest));
          const auto child = static_cast<std::size_t>(grid.neighbor(pixel, slot));
          if (ws.size[child] > largest) largest = ws.size[child], heavy = slot;
        }
        children ^= 1U << heavy;
        while (children != 0) {
          const auto slot = static_cast<unsigned>(std::bit_width(children)) - 1;
          ws.pending.push_back({grid.neighbor(pixel, slot), rank});
          children ^= 1U << slot;
        }
      }
      pixel = grid.neighbor(pixel, heavy);
      parent = rank;
    }
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
void spanning_tree(const SpanningTree<T>& s, const Executor& executor) {
  if (s.height == 0 || s.width == 0) return;
  if (s.height > std::numeric_limits<std::int32_t>::max() / s.directions / s.width)
    throw std::invalid_argument("spanning_tree: edge_weight must have less than 2^31 entries an " +
                                std::string("image, got ") + std::to_string(s.height) + " x " +
                                std::to_string(s.width) + " pixels");
  const Grid grid(s.directions, s.height, s.width);
  executor.for_range(s.images, 1, [&](std::int64_t begin, std::int64_t end) {
    Workspace ws(static_cast<std::size_t>(grid.pixels));
    tree::Boruvka<T> boruvka(grid);
    for (std::int64_t image = begin; image < end; ++image) {
      if (!boruvka.run(s.edge_weight + image * s.directions * grid.pixels, ws.steps.data()))
        throw_not_finite(s, image, grid);
      find_parents(grid, ws);
      write_preorder(s, image, grid, ws);
    }
  });
}

template void spanning_tree(const SpanningTree<float>&, const Executor&);
template void spanning_tree(const SpanningTree<double>&, const Executor&);

} // namespace point2mask
