#include "tree_boruvka.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "tree_stencils.hpp"

namespace point2mask::tree {
namespace {

constexpr std::uint8_t kNoSlot = 0xff;

// Edges that are left to list: N/2 or more join pixels to components, and a square drops one that
// at most one other square drops.
std::size_t most_edges(const Grid& grid) {
  return static_cast<std::size_t>(grid.pixels) * (grid.slots / 2 - 1);
}
// A component has two pixels or more.
std::size_t most_components(const Grid& grid) {
  return static_cast<std::size_t>(grid.pixels) / 2 + 1;
}
std::size_t slot_margin(const Grid& grid) { return static_cast<std::size_t>(grid.width) + 1; }
std::size_t slot_entries(const Grid& grid) {
  return static_cast<std::size_t>(grid.pixels) + 2 * slot_margin(grid);
}
std::size_t squares(const Grid& grid) {
  return static_cast<std::size_t>((grid.width + 1) * (grid.height + 1));
}

} // namespace

template <typename T>
Boruvka<T>::Boruvka(const Grid& grid, Arena& arena)
    : grid_(grid),
      lightest_(static_cast<std::size_t>(grid.width)),
      lightest_slot_(static_cast<std::size_t>(grid.width)),
      kept_(static_cast<std::size_t>(grid.width)),
      columns_(static_cast<std::size_t>(grid.width)),
      slot_(arena.take<std::uint8_t>(slot_entries(grid)) + slot_margin(grid)),
      heaviest_(arena.take<std::uint8_t>(squares(grid))),
      link_(arena.take<std::int32_t>(static_cast<std::size_t>(grid.pixels))),
      label_(arena.take<std::int32_t>(static_cast<std::size_t>(grid.pixels))),
      best_(arena.take<Candidate>(most_components(grid))),
      list_(arena.take<Edge>(most_edges(grid))) {}

template <typename T>
std::size_t Boruvka<T>::bytes(const Grid& grid) {
  return Arena::bytes<std::uint8_t>(slot_entries(grid)) +
         Arena::bytes<std::uint8_t>(squares(grid)) +
         2 * Arena::bytes<std::int32_t>(static_cast<std::size_t>(grid.pixels)) +
         Arena::bytes<Candidate>(most_components(grid)) + Arena::bytes<Edge>(most_edges(grid));
}

template <typename T>
bool Boruvka<T>::run(const T* edge_weight, std::uint8_t* steps) {
  if (!link_pixels(edge_weight, steps)) return false;
  if (grid_.pixels < 2) return true;
  components_ = grid_.pixels;
  join();
  list_edges(edge_weight);
  while (components_ > 1) {
    link_components(steps);
    join();
    compact();
  }
  return true;
}

template <typename T>
auto Boruvka<T>::key_of(T weight) -> Key {
  const Key bits = std::bit_cast<Key>(weight + T(0)); // -0 + 0 is +0
  constexpr Key kSign = Key(1) << (8 * sizeof(Key) - 1);
  return bits & kSign ? ~bits : bits | kSign;
}

template <typename T>
auto Boruvka<T>::candidate(Key key, std::uint32_t place) -> Candidate {
  if constexpr (sizeof(T) == 4)
    return static_cast<Candidate>(key) << 32U | place;
  else
    return {key, place};
}

template <typename T>
std::uint32_t Boruvka<T>::place_of(const Candidate& c) {
  if constexpr (sizeof(T) == 4)
    return static_cast<std::uint32_t>(c);
  else
    return c.place;
}

// The first round needs no list: the lightest edge of every pixel comes from a stencil.
template <typename T>
bool Boruvka<T>::link_pixels(const T* edge_weight, std::uint8_t* steps) {
  const std::int64_t width = grid_.width;
  std::fill_n(slot_ - slot_margin(grid_), slot_margin(grid_), kNoSlot);
  std::fill_n(slot_ + grid_.pixels, slot_margin(grid_), kNoSlot);
  bool finite = true;
  for (std::int64_t y = 0; y < grid_.height; ++y) {
    std::fill(lightest_.begin(), lightest_.end(), std::numeric_limits<T>::infinity());
    for (unsigned slot = 0; slot < grid_.slots; ++slot) {
      const Offset o = Grid::offset(slot);
      if (y + o.dy < 0 || y + o.dy >= grid_.height) continue;
      const std::int64_t begin = o.dx < 0 ? 1 : 0;
      const std::int64_t end = o.dx > 0 ? width - 1 : width;
      const std::int64_t edge = grid_.edge_id(static_cast<std::int32_t>(y * width + begin), slot);
      finite &= take_lighter(edge_weight + edge, end - begin, static_cast<Slot>(slot),
                             lightest_.data() + begin, lightest_slot_.data() + begin);
    }
    narrow(lightest_slot_.data(), width, slot_ + y * width);
  }
  if (grid_.pixels < 2) steps[0] = 0;
  if (!finite || grid_.pixels < 2) return finite;
  collect_steps(slot_, grid_, steps);
  for (std::int32_t pixel = 0; pixel < grid_.pixels; ++pixel)
    link_[pixel] = grid_.neighbor(pixel, slot_[pixel]);
  return true;
}

// Every chain of links ends in two components that chose the same edge; the first of them stands
// for all that are joined, which are named in the order in which those stand.
template <typename T>
void Boruvka<T>::join() {
  std::int32_t joined = 0;
  for (std::int32_t c = 0; c < components_; ++c) {
    const std::int32_t next = link_[c];
    const bool stands = link_[next] == c;
    link_[c] = stands ? c : next;
    label_[c] = joined;
    joined += stands;
  }
  // Most chains are short: two doublings, without a branch, leave little to follow.
  for (int round = 0; round < 2; ++round)
    for (std::int32_t c = 0; c < components_; ++c) link_[c] = link_[link_[c]];
  for (std::int32_t c = 0; c < components_; ++c) {
    std::int32_t end = link_[c];
    while (link_[end] != end) end = link_[end];
    label_[c] = label_[end];
  }
  components_ = joined;
}

template <typename T>
void Boruvka<T>::find_squares(const T* edge_weight) {
  const std::int64_t width = grid_.width;
  std::fill_n(heaviest_, squares(grid_), std::uint8_t{0});
  for (std::int64_t y = 0; y + 1 < grid_.height; ++y) {
    const T* upright = edge_weight + y * width;
    const T* top = upright + grid_.pixels;
    const T* falling = grid_.slots > 4 ? top + grid_.pixels : nullptr;
    find_heaviest({.upright = upright,
                   .top = top,
                   .bottom = top + width,
                   .falling = falling,
                   // stored at its upper end, on the right
                   .rising = falling != nullptr ? falling + grid_.pixels + 1 : nullptr},
                  width - 1, heaviest_ + (y + 1) * (width + 1) + 1);
  }
}

template <typename T>
void Boruvka<T>::clear_best() {
  std::fill_n(
      best_, components_,
      candidate(std::numeric_limits<Key>::max(), std::numeric_limits<std::uint32_t>::max()));
}

template <typename T>
void Boruvka<T>::list_edges(const T* edge_weight) {
  find_squares(edge_weight);
  clear_best();
  edges_ = 0;
  for (unsigned slot = 1; slot < grid_.slots; slot += 2)
    for (std::int64_t y = 0; y + Grid::offset(slot).dy < grid_.height; ++y)
      list_row(edge_weight, slot, y);
}

template <typename T>
void Boruvka<T>::list_row(const T* edge_weight, unsigned slot, std::int64_t y) {
  const Offset o = Grid::offset(slot);
  const std::int64_t begin = o.dx < 0 ? 1 : 0;
  const std::int64_t count = grid_.width - (o.dx != 0 ? 1 : 0);
  const auto first = static_cast<std::int32_t>(y * grid_.width + begin);
  // The square below to the right has the pixel in its upper left corner. Edges down also lie on
  // the right of the square before it, edges across at the bottom of the square above it, and edges
  // down to the left only in the square before it.
  constexpr SquareEdge kRoles[] = {kLeft, kTop, kFalling, kNoEdge};
  constexpr SquareEdge kOtherRoles[] = {kRight, kBottom, kNoEdge, kRising};
  const std::uint8_t* square = heaviest_ + (y + 1) * (grid_.width + 1) + 1 + begin;
  mark_kept({.square = square,
             .other_square = square - (o.dy == 0 ? grid_.width + 1 : 1),
             .role = kRoles[slot / 2],
             .other_role = kOtherRoles[slot / 2],
             .start = label_ + first,
             .end = label_ + grid_.neighbor(first, slot)},
            count, kept_.data());
  std::size_t kept = 0;
  for (std::int64_t x = 0; x < count; ++x) {
    columns_[kept] = static_cast<std::int32_t>(x);
    kept += kept_[static_cast<std::size_t>(x)];
  }
  for (std::size_t i = 0; i < kept; ++i, ++edges_) {
    const std::int32_t pixel = first + columns_[i];
    const std::int32_t id = grid_.edge_id(pixel, slot);
    list_[edges_] = {key_of(edge_weight[id]), id, label_[pixel],
                     label_[grid_.neighbor(pixel, slot)]};
    offer(list_[edges_], static_cast<std::uint32_t>(edges_));
  }
}

template <typename T>
void Boruvka<T>::offer(const Edge& edge, std::uint32_t place) {
  const Candidate c = candidate(edge.key, place);
  best_[edge.a] = std::min(best_[edge.a], c);
  best_[edge.b] = std::min(best_[edge.b], c);
}

template <typename T>
void Boruvka<T>::link_components(std::uint8_t* steps) {
  for (std::int32_t c = 0; c < components_; ++c) {
    const Edge& edge = list_[place_of(best_[c])];
    link_[c] = edge.a == c ? edge.b : edge.a;
    const std::int32_t direction = edge.id / grid_.pixels;
    const std::int32_t pixel = edge.id - direction * grid_.pixels;
    const unsigned slot = 2 * static_cast<unsigned>(direction) + 1;
    steps[pixel] |= Grid::bit(slot);
    steps[grid_.neighbor(pixel, slot)] |= Grid::bit(slot ^ 1U);
  }
}

// Drops the edges inside a component; the order of the others stays.
template <typename T>
void Boruvka<T>::compact() {
  clear_best();
  std::size_t count = 0;
  for (std::size_t i = 0; i < edges_; ++i) {
    const Edge e = list_[i];
    const std::int32_t a = label_[e.a], b = label_[e.b];
    list_[count] = {e.key, e.id, a, b};
    count += a != b; // a branch would be mispredicted every other time
  }
  edges_ = count;
  for (std::size_t i = 0; i < edges_; ++i) offer(list_[i], static_cast<std::uint32_t>(i));
}

template class Boruvka<float>;
template class Boruvka<double>;

} // namespace point2mask::tree
