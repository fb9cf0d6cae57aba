#include "tree_order.hpp"

#include <algorithm>

namespace point2mask::tree {
namespace {

// By breadth-first index, in which parents are close to each other and to their children, so that
// nothing but the first look at a pixel and the last word on its rank jumps through memory.
struct Levels {
  Visit* visit;         // one entry more: a step is written before it is counted
  std::int32_t* parent; // index; likewise
  std::int32_t* size;   // pixels in the subtree
  std::int32_t* heavy;  // index of the child with the largest subtree
  std::int32_t* rank;
};

// Steps are taken without branches, which would be mispredicted at every other pixel. Children are
// visited in the order of their edges.
template <unsigned kSlots>
void visit_pixels(const Grid& grid, const std::uint8_t* steps, const Levels& l) {
  std::int32_t tail = 1;
  l.visit[0] = 0;
  l.parent[0] = 0;
  for (std::int32_t head = 0; head < tail; ++head) {
    const auto pixel = static_cast<std::int32_t>(l.visit[head] / kSlots);
    const unsigned up = head == 0 ? 0U : 1U << l.visit[head] % kSlots;
    const unsigned down = steps[pixel] & ~up;
    for (unsigned slot = 0; slot < kSlots; ++slot) {
      l.visit[tail] = static_cast<Visit>(grid.neighbor(pixel, slot)) * kSlots + (slot ^ 1U);
      l.parent[tail] = head;
      tail += static_cast<std::int32_t>(down >> slot & 1U);
    }
  }
}

// Children before parents. Siblings are neighbours, and the first of the largest is heavy.
void measure_subtrees(std::int32_t pixels, const Levels& l) {
  std::fill_n(l.size, pixels, 1);
  std::int32_t before = 0, largest = 0, heavy = 0; // of the parent at hand
  for (std::int32_t i = pixels - 1; i > 0; --i) {
    const std::int32_t parent = l.parent[i], size = l.size[i];
    largest = parent == before ? largest : 0;
    heavy = size >= largest ? i : heavy;
    largest = std::max(largest, size);
    before = parent;
    l.heavy[parent] = heavy;
    l.size[parent] += size;
  }
}

// Parents before children. Once a pixel has its rank its size is not needed any more, and the place
// holds the rank of its next child that is not heavy.
void rank_pixels(std::int32_t pixels, const Levels& l, Placed* placed) {
  std::int32_t* next = l.size;
  l.rank[0] = 0;
  next[0] = 1 + (pixels > 1 ? l.size[l.heavy[0]] : 0);
  placed[0] = {l.visit[0], 0};
  for (std::int32_t i = 1; i < pixels; ++i) {
    const std::int32_t parent = l.parent[i], size = l.size[i];
    const std::int32_t above = l.rank[parent], behind = next[parent];
    const bool heavy = l.heavy[parent] == i;
    const std::int32_t rank = heavy ? above + 1 : behind;
    next[parent] = heavy ? behind : behind + size;
    l.rank[i] = rank;
    next[i] = rank + 1 + l.size[l.heavy[i]]; // of no meaning at a leaf
    placed[rank] = {l.visit[i], above};
  }
}

} // namespace

std::size_t preorder_bytes(const Grid& grid) {
  const auto pixels = static_cast<std::size_t>(grid.pixels);
  return Arena::bytes<Placed>(pixels) + Arena::bytes<Visit>(pixels + 1) +
         Arena::bytes<std::int32_t>(pixels + 1) + 3 * Arena::bytes<std::int32_t>(pixels);
}

const Placed* preorder(const Grid& grid, const std::uint8_t* steps, Arena& arena) {
  const auto pixels = static_cast<std::size_t>(grid.pixels);
  Placed* placed = arena.take<Placed>(pixels);
  const Levels levels{.visit = arena.take<Visit>(pixels + 1),
                      .parent = arena.take<std::int32_t>(pixels + 1),
                      .size = arena.take<std::int32_t>(pixels),
                      .heavy = arena.take<std::int32_t>(pixels),
                      .rank = arena.take<std::int32_t>(pixels)};
  std::fill_n(levels.heavy, pixels, 0);
  if (grid.slots == 4)
    visit_pixels<4>(grid, steps, levels);
  else
    visit_pixels<8>(grid, steps, levels);
  measure_subtrees(grid.pixels, levels);
  rank_pixels(grid.pixels, levels, placed);
  return placed;
}

} // namespace point2mask::tree
