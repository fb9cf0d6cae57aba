// The transport kernels' launchers under C names, for ctypes; one set a dtype.

#include <cstdlib>
#include <memory>

#include "point2mask/transport_cuda.hpp"

namespace cuda = point2mask::cuda;
using std::int32_t;
using std::int64_t;

namespace {

// Exactly as much scratch memory as the launcher asks for, full of noise.
std::unique_ptr<char[]> scratch(std::size_t bytes) {
  std::unique_ptr<char[]> memory(new char[bytes]);
  for (std::size_t i = 0; i < bytes; ++i) memory[i] = static_cast<char>(0xa5);
  return memory;
}

template <typename T>
int run_sinkhorn(cuda::Sinkhorn<T> p) {
  const auto memory = scratch(cuda::sinkhorn_scratch_bytes(p));
  p.scratch = memory.get();
  return cuda::sinkhorn(p, nullptr);
}

template <typename T>
int run_sinkhorn_backward(cuda::SinkhornBackward<T> p) {
  const auto memory = scratch(cuda::sinkhorn_backward_scratch_bytes(p));
  p.scratch = memory.get();
  return cuda::sinkhorn_backward(p, nullptr);
}

template <typename T>
int run_plan_backward(cuda::TransportPlanBackward<T> p) {
  const auto memory = scratch(cuda::transport_plan_backward_scratch_bytes(p));
  p.scratch = memory.get();
  return cuda::transport_plan_backward(p, nullptr);
}

} // namespace

#define POINT2MASK_ENTRIES(T)                                                                     \
  int sinkhorn_##T(const T* cost, const T* supply, const T* demand, const T* initial_potential,   \
                   int64_t images, int64_t targets, int64_t pixels, double epsilon,               \
                   int64_t max_iterations, double tolerance, double supply_relaxation,            \
                   double demand_relaxation, T* potential, int32_t* iterations,                   \
                   T* marginal_error) {                                                           \
    return run_sinkhorn<T>({cost, supply, demand, initial_potential, images, targets, pixels,     \
                            epsilon, max_iterations, tolerance, supply_relaxation,                \
                            demand_relaxation, nullptr, potential, iterations, marginal_error});  \
  }                                                                                               \
  int sinkhorn_backward_##T(const T* grad_potential, const T* cost, const T* supply,              \
                            const T* demand, const T* potential, int64_t images, int64_t targets, \
                            int64_t pixels, double epsilon, double supply_relaxation,             \
                            double demand_relaxation, T* grad_cost, T* grad_supply,               \
                            T* grad_demand) {                                                     \
    return run_sinkhorn_backward<T>(                                                              \
        {grad_potential, cost, supply, demand, potential, images, targets, pixels, epsilon,       \
         supply_relaxation, demand_relaxation, nullptr, grad_cost, grad_supply, grad_demand});    \
  }                                                                                               \
  int transport_plan_backward_##T(const T* grad_plan, const T* cost, const T* potential,          \
                                  const T* demand, int64_t images, int64_t targets,               \
                                  int64_t pixels, double epsilon, double demand_relaxation,       \
                                  T* grad_cost, T* grad_potential, T* grad_demand) {              \
    return run_plan_backward<T>({grad_plan, cost, potential, demand, images, targets, pixels,     \
                                 epsilon, demand_relaxation, nullptr, grad_cost, grad_potential,  \
                                 grad_demand});                                                   \
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
