#include "tree_boruvka.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "point2mask/multiarch.hpp"

namespace point2mask::tree {
namespace {

// One row of pixels and one of their slots: takes the lighter edge, the earlier one among equals.
// False if a weight is not finite.
template <typename T>
POINT2MASK_INLINE bool take_lighter(const T* __restrict weight, std::int64_t count,
                                    std::uint8_t slot, T* __restrict lightest,
                                    std::uint8_t* __restrict slots) {
  unsigned bad = 0;
  for (std::int64_t x = 0; x < count; ++x) {
    const T w = weight[x];
    bad |= static_cast<unsigned>(!(std::abs(w) <= std::numeric_limits<T>::max()));
    const bool lighter = w < lightest[x];
    lightest[x] = lighter ? w : lightest[x];
    slots[x] = lighter ? slot : slots[x];
  }
  return bad == 0;
}

POINT2MASK_MULTIARCH bool take_lighter_row(const float* weight, std::int64_t count,
                                           std::uint8_t slot, float* lightest,
                                           std::uint8_t* slots) {
  return take_lighter(weight, count, slot, lightest, slots);
}
POINT2MASK_MULTIARCH bool take_lighter_row(const double* weight, std::int64_t count,
                                           std::uint8_t slot, double* lightest,
                                           std::uint8_t* slots) {
  return take_lighter(weight, count, slot, lightest, slots);
}

} // namespace

template <typename T>
Boruvka<T>::Boruvka(const Grid& grid)
    : grid_(grid),
      lightest_(static_cast<std::size_t>(grid.width)),
      slot_(static_cast<std::size_t>(grid.pixels)),
      link_(static_cast<std::size_t>(grid.pixels)),
      label_(static_cast<std::size_t>(grid.pixels)),
      list_(std::make_unique_for_overwrite<Edge[]>(static_cast<std::size_t>(grid.pixels) *
                                                   static_cast<std::size_t>(grid.slots / 2))) {}

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
  bool finite = true;
  for (std::int64_t y = 0; y < grid_.height; ++y) {
    std::fill(lightest_.begin(), lightest_.end(), std::numeric_limits<T>::infinity());
    for (unsigned slot = 0; slot < grid_.slots; ++slot) {
      const Offset o = Grid::offset(slot);
      if (y + o.dy < 0 || y + o.dy >= grid_.height) continue;
      const std::int64_t begin = o.dx < 0 ? 1 : 0;
      const std::int64_t end = o.dx > 0 ? width - 1 : width;
      const std::int64_t edge = grid_.edge_id(static_cast<std::int32_t>(y * width + begin), slot);
      finite &= take_lighter_row(edge_weight + edge, end - begin, static_cast<std::uint8_t>(slot),
                                 lightest_.data() + begin, slot_.data() + y * width + begin);
    }
  }
  std::fill_n(steps, grid_.pixels, std::uint8_t{0});
  if (!finite || grid_.pixels < 2) return finite;
  for (std::int32_t pixel = 0; pixel < grid_.pixels; ++pixel) {
    const unsigned slot = slot_[static_cast<std::size_t>(pixel)];
    const std::int32_t other = grid_.neighbor(pixel, slot);
    link_[static_cast<std::size_t>(pixel)] = other;
    steps[pixel] |= Grid::bit(slot);
    steps[other] |= Grid::bit(slot ^ 1U);
  }
  return true;
}

// Follows the links to the two components that chose the same edge, which every chain ends in,
// and names the joined components in the order in which they are met.
template <typename T>
void Boruvka<T>::join() {
  const std::int32_t* link = link_.data();
  std::int32_t* label = label_.data();
  std::fill_n(label, components_, -1);
  std::int32_t joined = 0;
  for (std::int32_t start = 0; start < components_; ++start) {
    if (label[start] >= 0) continue;
    std::int32_t c = start;
    while (label[c] < 0 && link[link[c]] != c) c = link[c];
    if (label[c] < 0) label[c] = label[link[c]] >= 0 ? label[link[c]] : joined++;
    for (std::int32_t d = start; d != c; d = link[d]) label[d] = label[c];
  }
  components_ = joined;
}

template <typename T>
void Boruvka<T>::list_edges(const T* edge_weight) {
  best_.assign(
      static_cast<std::size_t>(components_),
      candidate(std::numeric_limits<Key>::max(), std::numeric_limits<std::uint32_t>::max()));
  const std::int64_t width = grid_.width;
  std::size_t count = 0;
  for (unsigned slot = 1; slot < grid_.slots; slot += 2) {
    const Offset o = Grid::offset(slot);
    for (std::int64_t y = 0; y + o.dy < grid_.height; ++y) {
      const std::int64_t end = o.dx > 0 ? width - 1 : width;
      for (std::int64_t x = o.dx < 0 ? 1 : 0; x < end; ++x) {
        const auto pixel = static_cast<std::int32_t>(y * width + x);
        const std::int32_t id = grid_.edge_id(pixel, slot);
        const std::int32_t a = label_[static_cast<std::size_t>(pixel)];
        const std::int32_t b = label_[static_cast<std::size_t>(grid_.neighbor(pixel, slot))];
        list_[count] = {key_of(edge_weight[id]), id, a, b};
        count += a != b; // a branch would be mispredicted every other time
      }
    }
  }
  edges_ = count;
  for (std::size_t i = 0; i < edges_; ++i) offer(list_[i], static_cast<std::uint32_t>(i));
}

template <typename T>
void Boruvka<T>::offer(const Edge& edge, std::uint32_t place) {
  const Candidate c = candidate(edge.key, place);
  Candidate& a = best_[static_cast<std::size_t>(edge.a)];
  Candidate& b = best_[static_cast<std::size_t>(edge.b)];
  a = std::min(a, c);
  b = std::min(b, c);
}

template <typename T>
void Boruvka<T>::link_components(std::uint8_t* steps) {
  for (std::int32_t c = 0; c < components_; ++c) {
    const Edge& edge = list_[place_of(best_[static_cast<std::size_t>(c)])];
    link_[static_cast<std::size_t>(c)] = edge.a == c ? edge.b : edge.a;
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
  best_.assign(
      static_cast<std::size_t>(components_),
      candidate(std::numeric_limits<Key>::max(), std::numeric_limits<std::uint32_t>::max()));
  std::size_t count = 0;
  for (std::size_t i = 0; i < edges_; ++i) {
    const Edge e = list_[i];
    const std::int32_t a = label_[static_cast<std::size_t>(e.a)];
    const std::int32_t b = label_[static_cast<std::size_t>(e.b)];
    list_[count] = {e.key, e.id, a, b};
    count += a != b;
  }
  edges_ = count;
  for (std::size_t i = 0; i < edges_; ++i) offer(list_[i], static_cast<std::uint32_t>(i));
}

template class Boruvka<float>;
template class Boruvka<double>;

} // namespace point2mask::tree
