// torch.ops.point2mask.geodesic_distance and its gradient.

#include <utility>

#include "point2mask/geodesic.hpp"
#include "solve.hpp"

namespace point2mask::bindings {
namespace {

void check_geodesic(const char* op, const Tensor& edge_cost, const Tensor& seeds) {
  check_shape(op, "edge_cost", edge_cost, {{"B"}, {"D", 8}, {"H"}, {"W"}});
  check_argument(op, "seeds", seeds, {{"B", edge_cost.size(0)}, {"K"}, {"P"}}, ScalarType::Int,
                 edge_cost);
}

// The arguments and sizes that both directions share; the rest is the caller's.
template <template <typename> class Problem, typename T>
Problem<T> paths(const Tensor& edge_cost, const Tensor& seeds) {
  Problem<T> p{};
  p.edge_cost = edge_cost.const_data_ptr<T>();
  p.seeds = seeds.const_data_ptr<std::int32_t>();
  p.images = edge_cost.size(0);
  p.height = edge_cost.size(2);
  p.width = edge_cost.size(3);
  p.targets = seeds.size(1);
  p.points = seeds.size(2);
  return p;
}

Tensor geodesic_distance(const Tensor& edge_cost, const Tensor& seeds) {
  constexpr const char* kOp = "geodesic_distance";
  check_geodesic(kOp, edge_cost, seeds);
  const Tensor c = as_contiguous(edge_cost), s = as_contiguous(seeds);
  Tensor distance = torch::stable::new_empty(c, {c.size(0), s.size(1), c.size(2), c.size(3)});
  dispatch_floating(kOp, "edge_cost", c, [&]<typename T>() {
    auto p = paths<GeodesicDistance, T>(c, s);
    p.distance = distance.mutable_data_ptr<T>();
    solve(kOp, c, p);
  });
  return distance;
}

Tensor geodesic_distance_backward(const Tensor& grad_distance, const Tensor& edge_cost,
                                  const Tensor& distance, const Tensor& seeds) {
  constexpr const char* kOp = "geodesic_distance_backward";
  check_geodesic(kOp, edge_cost, seeds);
  for (const auto& [name, t] :
       {std::pair{"grad_distance", &grad_distance}, std::pair{"distance", &distance}}) {
    check_argument(kOp, name, *t,
                   {{"B", edge_cost.size(0)},
                    {"K", seeds.size(1)},
                    {"H", edge_cost.size(2)},
                    {"W", edge_cost.size(3)}},
                   edge_cost.scalar_type(), edge_cost);
  }
  const Tensor g = as_contiguous(grad_distance), c = as_contiguous(edge_cost);
  const Tensor d = as_contiguous(distance), s = as_contiguous(seeds);
  Tensor grad_edge_cost = torch::stable::empty_like(c);
  dispatch_floating(kOp, "edge_cost", c, [&]<typename T>() {
    auto p = paths<GeodesicDistanceBackward, T>(c, s);
    p.grad_distance = g.const_data_ptr<T>();
    p.distance = d.const_data_ptr<T>();
    p.grad_edge_cost = grad_edge_cost.mutable_data_ptr<T>();
    solve(kOp, c, p);
  });
  return grad_edge_cost;
}

void implement(auto& m) {
  m.impl("geodesic_distance", TORCH_BOX(&geodesic_distance));
  m.impl("geodesic_distance_backward", TORCH_BOX(&geodesic_distance_backward));
}

} // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(point2mask, m) {
  m.def("geodesic_distance(Tensor edge_cost, Tensor seeds) -> Tensor");
  m.def(
      "geodesic_distance_backward(Tensor grad_distance, Tensor edge_cost, Tensor distance, "
      "Tensor seeds) -> Tensor");
}

POINT2MASK_IMPLEMENT(implement)

} // namespace point2mask::bindings
