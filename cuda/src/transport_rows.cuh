#pragma once

// A pixel's row of the plan, given the potential: what the gradients start from.

#include <cmath>
#include <cstdint>

#include "transport_device.cuh"

namespace point2mask::cuda {

constexpr double kLog2E = 1.4426950408889634, kLn2 = 0.6931471805599453;

// lambda = rho / (rho + epsilon) and 1 - lambda of a marginal with relaxation rho.
struct Damping {
  double lambda, complement;

  Damping(double relaxation, double epsilon)
      : lambda(std::isinf(relaxation) ? 1.0 : relaxation / (relaxation + epsilon)),
        complement(std::isinf(relaxation) ? 0.0 : epsilon / (relaxation + epsilon)) {}
};

// How a row follows from the potential; see Sinkhorn.
template <typename T>
struct RowModel {
  T scale;      // log2(e) / epsilon
  T row_scale;  // log2(e) / (rho1 + epsilon), 0 if not relaxed
  T lambda;     // rho1 / (rho1 + epsilon)
  T complement; // 1 - lambda

  RowModel(double epsilon, double demand_relaxation) {
    const Damping rows(demand_relaxation, epsilon);
    scale = static_cast<T>(kLog2E / epsilon);
    row_scale = static_cast<T>(rows.complement * kLog2E / epsilon);
    lambda = static_cast<T>(rows.lambda);
    complement = static_cast<T>(rows.complement);
  }
};

template <typename T>
struct Row {
  T largest; // of potential - cost
  T inverse; // of the softmax's divisor; 0 where no potential - cost is finite
  T factor;  // the row's mass for demand 1

  // softmax_k((potential - cost) / epsilon)
  __device__ __forceinline__ T share(T difference, const RowModel<T>& model) const {
    return exp2_flushed((difference - largest) * model.scale) * inverse;
  }
};

// difference(k) is target k's potential - cost at the pixel.
template <typename T, typename Difference>
__device__ __forceinline__ Row<T> row_of(std::int64_t targets, const RowModel<T>& model,
                                         Difference difference) {
  PowerSum<T> total;
#pragma unroll 2
  for (std::int64_t k = 0; k < targets; ++k) total.add(difference(k), T(1), model.scale);
  if (!(total.sum > T(0))) return {T(0), T(0), T(0)};
  Row<T> row{total.largest, T(1) / total.sum, T(1)};
  if (model.complement > T(0))
    row.factor = exp2(model.row_scale * row.largest + model.complement * log2(total.sum));
  return row;
}

} // namespace point2mask::cuda
