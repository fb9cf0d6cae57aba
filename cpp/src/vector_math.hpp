#pragma once

// Elementary functions that vectorise inside plain loops and give the same bits on every x86-64
// level, unlike libmvec. The double overloads are the standard library's.

#include <bit>
#include <cmath>
#include <cstdint>

#include "point2mask/multiarch.hpp"

namespace point2mask {

// exp(x) to about 2 ulp for x <= 88; 0 below -87.3 (no denormals); NaN stays NaN.
POINT2MASK_INLINE float vector_exp(float x) {
  constexpr float kLog2E = 1.44269504F, kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  constexpr float kRound = 12582912.0F; // 1.5 * 2^23: adding it rounds to an integer
  constexpr float kLowest = -87.3F;
  const float z = x < kLowest ? kLowest : x;
  const float shifted = z * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (z - n * kLn2High) - n * kLn2Low; // |r| <= ln(2) / 2
  // Taylor: the next term is below 6e-9.
  float p = 1.0F / 5040.0F;
  p = p * r + 1.0F / 720.0F;
  p = p * r + 1.0F / 120.0F;
  p = p * r + 1.0F / 24.0F;
  p = p * r + 1.0F / 6.0F;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  // The low bits of `shifted` hold n: moved into the exponent they make 2^n.
  const std::uint32_t power = (std::bit_cast<std::uint32_t>(shifted) + 127U) << 23U;
  const float y = p * std::bit_cast<float>(power);
  return x < kLowest ? 0.0F : y;
}

// log(x) to about 2 ulp for positive normal x; anything else gives an unspecified number.
POINT2MASK_INLINE float vector_log(float x) {
  constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  constexpr std::uint32_t kHalfRoot = 0x3f3504f3U; // sqrt(1/2): m lies within a factor sqrt(2) of 1
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::int32_t exponent = static_cast<std::int32_t>(bits - kHalfRoot) >> 23;
  const float m = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(exponent) << 23U));
  const auto n = static_cast<float>(exponent);
  const float s = (m - 1.0F) / (m + 1.0F), z = s * s; // log(m) = 2 atanh(s), |s| < 0.172
  // Taylor: the next term is below 3e-9.
  float p = 1.0F / 9.0F;
  p = p * z + 1.0F / 7.0F;
  p = p * z + 1.0F / 5.0F;
  p = p * z + 1.0F / 3.0F;
  return n * kLn2High + (n * kLn2Low + (2.0F * s + 2.0F * s * (z * p)));
}

POINT2MASK_INLINE double vector_exp(double x) { return std::exp(x); }
POINT2MASK_INLINE double vector_log(double x) { return std::log(x); }

} // namespace point2mask
