#pragma once

#include <cstdint>

#include "point2mask/half.hpp"

namespace point2mask {

class Executor;

// Entropic optimal transport of every image's pixels (demand a) to its targets (supply b):
//   min_P <c, P> + epsilon KL(P | a x b) + rho1 KL(P 1 | a) + rho2 KL(P^T 1 | b),
// rho1 = demand_relaxation, rho2 = supply_relaxation, infinity = the marginal is a constraint.
// An iteration updates the pixels' potentials, then the targets'; only the latter are kept:
//   P_ik = a_i exp((1 - lambda1) L_i) softmax_k((u_k - c_ik) / epsilon), L_i the log of its
//   divisor, u_k <- lambda2 (u_k - epsilon log sum_i P_ik) + epsilon log b_k, lambda = rho / (rho +
//   epsilon).
// So u holds epsilon log b and labels are argmin(cost - potential). With both marginals fixed u is
// free up to a constant: it is returned with mean zero over the targets that take part.
// Targets without supply or without a pixel they may serve, and pixels without demand or without
// such a target, take no part.
// All numbers are of type T but the costs, which may be stored in 16 bits (POINT2MASK_FOR_COSTS):
// they are read, then computed with in T.
template <typename T, typename Stored = T>
struct Sinkhorn {
  const Stored* cost;         // [B, K, N], +inf = forbidden pair
  const T* supply;            // [B, K] mass of each target, >= 0
  const T* demand;            // [B, N] mass of each pixel, >= 0
  const T* initial_potential; // [B, K] in units of cost, or nullptr for zeros
  std::int64_t images, targets, pixels;
  double epsilon;                              // units of cost, > 0
  std::int64_t max_iterations;                 // >= 0
  double tolerance;                            // of marginal_error; 0 = run all iterations
  double supply_relaxation, demand_relaxation; // units of cost, > 0, may be infinity
  T* potential;                                // [B, K] -inf for targets that take no part
  std::int32_t* iterations;                    // [B]
  T* marginal_error; // [B] mass that the last update of u moved / total supply; inf before any
};

// Throws std::invalid_argument for values out of the ranges above and, with both marginals fixed,
// for totals that differ by more than 1e-4 (relative). Images do not depend on each other.
template <typename T, typename Stored>
void run(const Sinkhorn<T, Stored>& s, const Executor& executor);

// The same potentials by Newton's method along decreasing epsilons, both relaxations infinite. An
// iteration is one read of the cost. marginal_error is that of the returned potential, supply
// scaled to the mass that reaches it; infinity if the iterations ended before epsilon was reached.
template <typename T, typename Stored = T>
struct SinkhornNewton : Sinkhorn<T, Stored> {};

template <typename T, typename Stored>
void run(const SinkhornNewton<T, Stored>& s, const Executor& executor);

// Gradients of sinkhorn's potential at the fixed point of its iteration (implicit function
// theorem), so of the converged solution, whatever the number of iterations that led near it.
template <typename T>
struct SinkhornBackward {
  const T* grad_potential; // [B, K], ignored where potential is -inf
  const T* cost;           // [B, K, N]
  const T* supply;         // [B, K]
  const T* demand;         // [B, N]
  const T* potential;      // [B, K] result of sinkhorn
  std::int64_t images, targets, pixels;
  double epsilon, supply_relaxation, demand_relaxation;
  T* grad_cost;   // [B, K, N]
  T* grad_supply; // [B, K]
  T* grad_demand; // [B, N], 0 for pixels without demand
};

template <typename T>
void run(const SinkhornBackward<T>& s, const Executor& executor);

// The plan P of the potentials u, by the formula above.
template <typename T, typename Stored = T>
struct TransportPlan {
  const Stored* cost; // [B, K, N]
  const T* potential; // [B, K]
  const T* demand;    // [B, N]
  std::int64_t images, targets, pixels;
  double epsilon, demand_relaxation;
  T* plan; // [B, K, N] mass
};

template <typename T, typename Stored>
void run(const TransportPlan<T, Stored>& s, const Executor& executor);

template <typename T>
struct TransportPlanBackward {
  const T* grad_plan; // [B, K, N]
  const T* cost;      // [B, K, N]
  const T* potential; // [B, K]
  const T* demand;    // [B, N]
  std::int64_t images, targets, pixels;
  double epsilon, demand_relaxation;
  T* grad_cost;      // [B, K, N]
  T* grad_potential; // [B, K]
  T* grad_demand;    // [B, N]
};

template <typename T>
void run(const TransportPlanBackward<T>& s, const Executor& executor);

// The target that gets most of a pixel's mass: argmin_k(cost - potential), the lowest k of equals.
template <typename T, typename Stored = T>
struct TransportLabels {
  const Stored* cost; // [B, K, N]
  const T* potential; // [B, K]
  const T* demand;    // [B, N]
  std::int64_t images, targets, pixels;
  std::int32_t* labels; // [B, N], -1 without demand or without a finite cost - potential
};

template <typename T, typename Stored>
void run(const TransportLabels<T, Stored>& s, const Executor& executor);

// The parameters' ranges alone, which every device checks: run() does, and whoever hands a problem
// to a GPU. They throw std::invalid_argument, naming the operator, the argument and its value.
template <typename T, typename Stored>
void check(const Sinkhorn<T, Stored>& s);
template <typename T, typename Stored>
void check(const SinkhornNewton<T, Stored>& s);
template <typename T>
void check(const SinkhornBackward<T>& s);
template <typename T, typename Stored>
void check(const TransportPlan<T, Stored>& s);
template <typename T>
void check(const TransportPlanBackward<T>& s);

} // namespace point2mask
