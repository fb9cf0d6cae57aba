#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "tree_arena.hpp"
#include "tree_grid.hpp"

namespace point2mask::tree {

// Finds the minimum spanning tree of a grid under the total order (weight, edge id) by Boruvka's
// algorithm: every component takes its lightest edge to another one, until one component is left.
template <typename T>
class Boruvka {
 public:
  Boruvka(const Grid& grid, Arena& arena);
  static std::size_t bytes(const Grid& grid); // that an arena must have
  // Leaves each pixel's set of tree edges in steps[0, pixels). False if a weight is not finite.
  bool run(const T* edge_weight, std::uint8_t* steps);

 private:
  // Weights as unsigned integers of the same order. A list of edges stays sorted by edge id, so
  // comparing (key, place in the list) is comparing (weight, edge id).
  using Key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  using Slot = std::make_signed_t<Key>;
  struct Edge {
    Key key;
    std::int32_t id, a, b; // a and b: components
  };
  struct Candidate64 {
    Key key;
    std::uint32_t place;
    bool operator<(const Candidate64& o) const {
      return key < o.key || (key == o.key && place < o.place);
    }
  };
  // For float32 both fit one 64-bit number, whose minimum needs no branch.
  using Candidate = std::conditional_t<sizeof(T) == 4, std::uint64_t, Candidate64>;

  static Key key_of(T weight);
  static Candidate candidate(Key key, std::uint32_t place);
  static std::uint32_t place_of(const Candidate& c);

  bool link_pixels(const T* edge_weight, std::uint8_t* steps);
  void join();
  void find_squares(const T* edge_weight);
  void list_edges(const T* edge_weight);
  void list_row(const T* edge_weight, unsigned slot, std::int64_t y);
  void clear_best();
  void offer(const Edge& edge, std::uint32_t place);
  void link_components(std::uint8_t* steps);
  void compact();

  Grid grid_;
  std::int32_t components_ = 0;
  std::size_t edges_ = 0;
  std::vector<T> lightest_;           // of one row of pixels
  std::vector<Slot> lightest_slot_;   // of one row of pixels
  std::vector<std::uint8_t> kept_;    // of one row of edges
  std::vector<std::int32_t> columns_; // of the edges kept in one row
  std::uint8_t* slot_;                // of each pixel's lightest edge, between margins for a step
  std::uint8_t* heaviest_;            // [H + 1, W + 1], of the square to the upper left
  std::int32_t* link_;                // the component at the other end of the lightest edge
  std::int32_t* label_;               // the new name of each component
  Candidate* best_;                   // the lightest edge of each component
  Edge* list_;                        // edges between components, by id
};

} // namespace point2mask::tree
