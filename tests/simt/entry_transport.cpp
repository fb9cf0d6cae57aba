// The transport kernels' launchers under C names, for ctypes; one set a dtype.

#include "point2mask/transport_cuda.hpp"
#include "with_scratch.hpp"

namespace cuda = point2mask::cuda;
using std::int32_t;
using std::int64_t;

#define POINT2MASK_ENTRIES(T)                                                                     \
  int sinkhorn_##T(const T* cost, const T* supply, const T* demand, const T* initial_potential,   \
                   int64_t images, int64_t targets, int64_t pixels, double epsilon,               \
                   int64_t max_iterations, double tolerance, double supply_relaxation,            \
                   double demand_relaxation, T* potential, int32_t* iterations,                   \
                   T* marginal_error) {                                                           \
    return with_scratch(                                                                          \
        cuda::Sinkhorn<T>{cost, supply, demand, initial_potential, images, targets, pixels,       \
                          epsilon, max_iterations, tolerance, supply_relaxation,                  \
                          demand_relaxation, nullptr, potential, iterations, marginal_error},     \
        cuda::sinkhorn_scratch_bytes<T>, cuda::sinkhorn<T>);                                      \
  }                                                                                               \
  int sinkhorn_backward_##T(const T* grad_potential, const T* cost, const T* supply,              \
                            const T* demand, const T* potential, int64_t images, int64_t targets, \
                            int64_t pixels, double epsilon, double supply_relaxation,             \
                            double demand_relaxation, T* grad_cost, T* grad_supply,               \
                            T* grad_demand) {                                                     \
    return with_scratch(                                                                          \
        cuda::SinkhornBackward<T>{grad_potential, cost, supply, demand, potential, images,        \
                                  targets, pixels, epsilon, supply_relaxation, demand_relaxation, \
                                  nullptr, grad_cost, grad_supply, grad_demand},                  \
        cuda::sinkhorn_backward_scratch_bytes<T>, cuda::sinkhorn_backward<T>);                    \
  }                                                                                               \
  int transport_plan_backward_##T(const T* grad_plan, const T* cost, const T* potential,          \
                                  const T* demand, int64_t images, int64_t targets,               \
                                  int64_t pixels, double epsilon, double demand_relaxation,       \
                                  T* grad_cost, T* grad_potential, T* grad_demand) {              \
    return with_scratch(                                                                          \
        cuda::TransportPlanBackward<T>{grad_plan, cost, potential, demand, images, targets,       \
                                       pixels, epsilon, demand_relaxation, nullptr, grad_cost,    \
                                       grad_potential, grad_demand},                              \
        cuda::transport_plan_backward_scratch_bytes<T>, cuda::transport_plan_backward<T>);        \
  }                                                                                               \
  int sinkhorn_variant_##T(int64_t images, int64_t targets, int64_t pixels) {                     \
    cuda::Sinkhorn<T> p{};                                                                        \
    p.images = images;                                                                            \
    p.targets = targets;                                                                          \
    p.pixels = pixels;                                                                            \
    p.epsilon = p.supply_relaxation = p.demand_relaxation = 1;                                    \
    cuda::SinkhornVariant variant;                                                                \
    return cuda::sinkhorn_variant(p, &variant) == cudaSuccess ? static_cast<int>(variant) : -1;   \
  }

extern "C" {

POINT2MASK_ENTRIES(float)
POINT2MASK_ENTRIES(double)

} // extern "C"
