// The transport kernels' launchers under C names, for ctypes; one set a dtype, or a type that costs
// are stored in.

#include <cmath>

#include "with_scratch.hpp"

using namespace point2mask;
using std::int32_t;
using std::int64_t;

#define POINT2MASK_COST_ENTRIES(T, Stored)                                                         \
  int transport_labels_##Stored(const Stored* cost, const T* potential, const T* demand,           \
                                int64_t images, int64_t targets, int64_t pixels,                   \
                                int32_t* labels) {                                                 \
    return with_scratch(                                                                           \
        TransportLabels<T, Stored>{cost, potential, demand, images, targets, pixels, labels});     \
  }                                                                                                \
  int transport_plan_##Stored(const Stored* cost, const T* potential, const T* demand,             \
                              int64_t images, int64_t targets, int64_t pixels, double epsilon,     \
                              double demand_relaxation, T* plan) {                                 \
    return with_scratch(TransportPlan<T, Stored>{cost, potential, demand, images, targets, pixels, \
                                                 epsilon, demand_relaxation, plan});               \
  }                                                                                                \
  int sinkhorn_##Stored(const Stored* cost, const T* supply, const T* demand,                      \
                        const T* initial_potential, int64_t images, int64_t targets,               \
                        int64_t pixels, double epsilon, int64_t max_iterations, double tolerance,  \
                        double supply_relaxation, double demand_relaxation, T* potential,          \
                        int32_t* iterations, T* marginal_error) {                                  \
    return with_scratch(Sinkhorn<T, Stored>{                                                       \
        cost, supply, demand, initial_potential, images, targets, pixels, epsilon, max_iterations, \
        tolerance, supply_relaxation, demand_relaxation, potential, iterations, marginal_error});  \
  }                                                                                                \
  int sinkhorn_newton_##Stored(                                                                    \
      const Stored* cost, const T* supply, const T* demand, const T* initial_potential,            \
      int64_t images, int64_t targets, int64_t pixels, double epsilon, int64_t max_iterations,     \
      double tolerance, T* potential, int32_t* iterations, T* marginal_error) {                    \
    return with_scratch(SinkhornNewton<T, Stored>{                                                 \
        {cost, supply, demand, initial_potential, images, targets, pixels, epsilon,                \
         max_iterations, tolerance, INFINITY, INFINITY, potential, iterations, marginal_error}});  \
  }                                                                                                \
  int sinkhorn_variant_##Stored(int64_t images, int64_t targets, int64_t pixels) {                 \
    Sinkhorn<T, Stored> p{};                                                                       \
    p.images = images;                                                                             \
    p.targets = targets;                                                                           \
    p.pixels = pixels;                                                                             \
    p.epsilon = p.supply_relaxation = p.demand_relaxation = 1;                                     \
    cuda::SinkhornVariant variant;                                                                 \
    return cuda::sinkhorn_variant(p, &variant) == cudaSuccess ? static_cast<int>(variant) : -1;    \
  }

#define POINT2MASK_GRADIENT_ENTRIES(T)                                                            \
  int sinkhorn_backward_##T(const T* grad_potential, const T* cost, const T* supply,              \
                            const T* demand, const T* potential, int64_t images, int64_t targets, \
                            int64_t pixels, double epsilon, double supply_relaxation,             \
                            double demand_relaxation, T* grad_cost, T* grad_supply,               \
                            T* grad_demand) {                                                     \
    return with_scratch(SinkhornBackward<T>{                                                      \
        grad_potential, cost, supply, demand, potential, images, targets, pixels, epsilon,        \
        supply_relaxation, demand_relaxation, grad_cost, grad_supply, grad_demand});              \
  }                                                                                               \
  int transport_plan_backward_##T(const T* grad_plan, const T* cost, const T* potential,          \
                                  const T* demand, int64_t images, int64_t targets,               \
                                  int64_t pixels, double epsilon, double demand_relaxation,       \
                                  T* grad_cost, T* grad_potential, T* grad_demand) {              \
    return with_scratch(TransportPlanBackward<T>{grad_plan, cost, potential, demand, images,      \
                                                 targets, pixels, epsilon, demand_relaxation,     \
                                                 grad_cost, grad_potential, grad_demand});        \
  }

extern "C" {

POINT2MASK_FOR_COSTS(POINT2MASK_COST_ENTRIES)
POINT2MASK_GRADIENT_ENTRIES(float)
POINT2MASK_GRADIENT_ENTRIES(double)

} // extern "C"
