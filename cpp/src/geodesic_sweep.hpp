#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "geodesic_lanes.hpp"

namespace point2mask::geodesic {

// Distances of up to kLanes targets of one image by Gauss-Seidel sweeps over the rows, down and up
// in turn. A sweep visits only blocks of columns with a lowered neighbour in the row it comes from;
// within a row the lowering is carried to both sides as far as it reaches, which leaves the row a
// fixed point in itself, since no shortest path within a row turns back.
template <typename T>
class Sweeps {
 public:
  Sweeps(std::int64_t height, std::int64_t width);

  // edge_cost is [8, H, W]; each lane has a list of seeds, -1 = padding. Returns whether the fixed
  // point was reached before blocks were visited more than mean_visits times on average; if not,
  // the distances are upper bounds that a queue can finish.
  bool run(const T* edge_cost, std::span<const std::span<const std::int32_t>> seeds,
           std::int64_t mean_visits);

  // Writes the first lanes, one [H, W] each.
  void copy_to(std::span<T* const> distance) const;

  // The pixels whose outgoing steps may not all have been relaxed, in increasing order.
  std::vector<std::int32_t> unfinished() const;

 private:
  using Flags = std::vector<unsigned char>;

  void plant(std::int64_t pixel);
  bool sweep(bool down);
  void visit(std::int64_t y, bool down);
  void carry_left(std::int64_t y);
  void notify(std::int64_t y);
  unsigned right(std::int64_t y, std::int64_t block);
  unsigned left(std::int64_t y, std::int64_t block);

  T* row(std::int64_t y) { return distance_.data() + y * width_ * kLanes<T>; }
  const T* cost(int direction, std::int64_t y) const {
    return edge_cost_ + (direction * height_ + y) * width_;
  }
  std::int64_t begin(std::int64_t block) const;
  std::int64_t end(std::int64_t block) const;

  std::int64_t height_, width_, blocks_, visits_ = 0;
  const T* edge_cost_ = nullptr;
  std::vector<T> distance_; // [H, W, kLanes]
  Flags from_above_,
      from_below_; // [H, blocks] the row above, below was lowered since the last pull
  Flags lowered_;  // [blocks] kAny | kFirst | kLast in the row being visited
};

extern template class Sweeps<float>;
extern template class Sweeps<double>;

} // namespace point2mask::geodesic
