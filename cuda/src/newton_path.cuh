#pragma once

// The way of one image to the solution of its semi-dual: where the next pass of Newton's method
// reads, from what the last one found. By the blocks that solve its systems; the steps are those of
// cpp/src/transport_path.cpp.

#include <cmath>
#include <cstdint>

#include "transport_laplacian.cuh"

namespace point2mask::cuda {

constexpr double kGoodCorrection = 1.5;   // in units of epsilon: one that needs no damping
constexpr double kBadCorrection = 4;      // one that says that epsilon went down too fast
constexpr double kTargetCorrection = 0.5; // the one aimed at
constexpr double kFirstRate = 0.7;        // of log epsilon a pass
constexpr double kSlowestRate = 0.1, kFastestRate = 2.3;
constexpr double kNearError = 0.01;      // of a start that is one
constexpr double kRefinementRate = 1e-3; // below which a correction counts however large

// What has one number an image.
struct NewtonState {
  double supply_total, first_epsilon, epsilon, rate, error;
  double anchor; // epsilon of the last point on the curve, 0 without one
  std::int32_t iterations;
  bool warm, running;
};

// Threads of all these blocks hold the same `state`, come to the same decisions, and own the
// entries of their number. Targets that take no part have supply 0, potential -inf, and neither
// mass nor coupling.
struct NewtonPath {
  Laplacian system; // of the last pass: its parts' upper triangles
  double* weight;   // [n, n] a copy, as solving destroys one
  double *potential, *supply, *tilt, *corrected, *tangent; // [n]
  double target_epsilon;
  NewtonState state;

  __device__ __forceinline__ bool active(std::int64_t k) const { return supply[k] > 0; }

  template <typename F>
  __device__ __forceinline__ void for_own(F f) const {
    for (std::int64_t k = system.thread(); k < system.n; k += system.threads()) f(k);
  }
  // Over the targets that take part, the same in all threads.
  template <typename F>
  __device__ __forceinline__ double sum_of(F f) const {
    return system.row_sum(0, [&](std::int64_t k) { return active(k) ? f(k) : 0.0; });
  }
  template <typename F>
  __device__ __forceinline__ double largest_of(F f) const {
    double largest = -infinity<double>();
    for (std::int64_t k = system.lane(); k < system.n; k += kWarp)
      if (active(k)) largest = max(largest, f(k));
    return warp_max(largest);
  }

  // Far above the last epsilon, where one step suffices.
  __device__ __forceinline__ void start_blurred() {
    state.warm = false;
    state.anchor = 0;
    state.rate = kFirstRate;
    state.epsilon = state.first_epsilon;
    for_own([&](std::int64_t k) {
      potential[k] = active(k) ? state.epsilon * log(supply[k]) : -infinity<double>();
    });
  }

  __device__ __forceinline__ void predict() {
    state.epsilon = state.anchor * exp(-state.rate);
    if (state.epsilon < target_epsilon * (1 + 1e-7)) state.epsilon = target_epsilon;
    for_own([&](std::int64_t k) {
      potential[k] = corrected[k] + tangent[k] * (state.epsilon - state.anchor);
    });
  }

  // The system of Newton's step on log mass = log supply, in units of epsilon, in weight and z.
  __device__ __forceinline__ void prepare_step(double total) {
    const double* const mass = system.mass;
    double* const z = system.z;
    for_own([&](std::int64_t k) {
      z[k] = active(k) ? mass[k] * log((supply[k] / state.supply_total) / (mass[k] / total)) : 0;
    });
    for (std::int64_t i = system.thread(); i < system.n * system.n; i += system.threads())
      weight[i] = system.weight[i];
    system.barrier.wait();
    const double excess = sum_of([&](std::int64_t k) { return z[k]; });
    system.barrier.wait();
    for_own([&](std::int64_t k) { z[k] -= excess * (mass[k] / total); });
  }

  // What to do with a step in z; correction: its spread. Returns whether it led to a point of the
  // curve, from which the way goes on along the tangent.
  __device__ __forceinline__ bool correct(double correction, bool usable, bool arrived) {
    const bool bad = !(correction < kBadCorrection), anchored = state.anchor > 0;
    if ((state.warm && (bad || state.error > kNearError)) || (bad && !usable && !anchored)) {
      start_blurred();
      return false;
    }
    if (bad && anchored && state.rate > kRefinementRate) {
      state.rate /= 2;
      predict();
      return false;
    }
    if (!std::isfinite(correction)) { // the problem has no solution down there
      if (anchored) for_own([&](std::int64_t k) { potential[k] = corrected[k]; });
      state.running = false;
      return false;
    }
    state.warm = false;
    const bool good = correction < kGoodCorrection;
    const double damping = good ? 1 : log1p(correction) / correction;
    for_own([&](std::int64_t k) { potential[k] += damping * (state.epsilon * system.z[k]); });
    if (good && arrived) state.anchor = 0;
    if (!good || arrived) return false;
    if (anchored) {
      const double change = sqrt(kTargetCorrection / max(correction, 1e-12));
      state.rate = min(max(state.rate * min(max(change, 0.5), 2.0), kSlowestRate), kFastestRate);
    }
    return true;
  }

  // What a pass at (potential, epsilon) found, in system.weight and tilt, decides where the next
  // one goes. A function of its own, once for all types of costs: it is most of the kernel's code
  // and would ask for all 255 registers.
  [[gnu::noinline]] __device__ void advance(double tolerance, bool last) {
    const double* const mass = system.mass;
    const double total = sum_of([&](std::int64_t k) { return mass[k]; });
    const bool usable =
        sum_of([&](std::int64_t k) { return mass[k] >= kSmallest<double> ? 0.0 : 1.0; }) == 0;
    ++state.iterations;
    const bool arrived = state.epsilon == target_epsilon;
    if (arrived)
      state.error = sum_of(
          [&](std::int64_t k) { return abs(mass[k] / total - supply[k] / state.supply_total); });
    if (last || (arrived && tolerance > 0 && state.error <= tolerance)) {
      state.running = false;
      return;
    }
    if (!usable) {
      correct(infinity<double>(), usable, arrived);
      return;
    }
    prepare_step(total);
    // The step, then the tangent, by the same code: the solver is large.
#pragma unroll 1
    for (bool along = false;; along = true) {
      Laplacian matrix = system;
      if (!along) matrix.weight = weight;
      matrix.solve();
      system.barrier.wait();
      if (along) break;
      const double* const z = system.z;
      const double spread = largest_of([&](std::int64_t k) { return z[k]; }) +
                            largest_of([&](std::int64_t k) { return -z[k]; });
      if (!correct(spread, usable, arrived)) return;
      system.barrier.wait(); // all have read the step
      for_own([&](std::int64_t k) { system.z[k] = tilt[k]; });
    }
    for_own([&](std::int64_t k) {
      corrected[k] = potential[k];
      tangent[k] = -system.z[k];
    });
    state.anchor = state.epsilon;
    predict();
  }
};

} // namespace point2mask::cuda
