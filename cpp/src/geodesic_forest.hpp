#pragma once

#include <cstdint>
#include <vector>

namespace point2mask::geodesic {

// What flows down the forest of shortest paths of one target.
struct Flow {
  std::vector<unsigned char> entry; // [H, W] direction of the step that enters the pixel
  std::vector<double> flow;         // [H, W]
};

inline constexpr unsigned char kNoEntry = 8; // a seed or an unreachable pixel

// Builds the forest of one target from its distances, in memory that it keeps for the next.
template <typename T>
class Forest {
 public:
  Forest(std::int64_t height, std::int64_t width);

  // edge_cost is [8, H, W], distance and grad_distance [H, W]; negative seeds are padding.
  void solve(const T* edge_cost, const T* distance, const T* grad_distance,
             const std::int32_t* seeds, std::int64_t points, Flow& out);

 private:
  void find_tight(const T* edge_cost, const T* distance);
  void search(const std::int32_t* seeds, std::int64_t points, Flow& out);
  void gather(std::int32_t pixel, Flow& out) const;

  std::int64_t height_, width_;
  std::vector<unsigned char> tight_;       // [H, W] bit d: the step d from here is tight
  std::vector<std::int32_t> hops_, order_; // [H, W]; the pixels reached, breadth first
};

extern template class Forest<float>;
extern template class Forest<double>;

} // namespace point2mask::geodesic
