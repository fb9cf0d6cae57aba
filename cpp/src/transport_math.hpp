#pragma once

// 2^x and log2 as straight-line code that the compiler vectorises, for both floating types.

#include <bit>
#include <cstdint>

#include "point2mask/multiarch.hpp"

namespace point2mask::transport {

// Weights below 2^kFlush (of a pixel's largest) count as zero: far below rounding, and products
// with a pixel's mass stay clear of denormals, which cost a hundred cycles each on some CPUs.
template <typename T>
inline constexpr T kFlush = sizeof(T) == 4 ? T(-100) : T(-900);

// 2^x for x <= 64, relative error < 1e-7; 0 below kFlush. Adding kRound leaves the nearest integer
// in the low bits of the mantissa, from where it moves into the exponent.
POINT2MASK_INLINE float exp2_flushed(float x) {
  constexpr float kRound = 12582912.0F; // 1.5 * 2^23
  const float clamped = x < kFlush<float> ? kFlush<float> : x;
  const float shifted = clamped + kRound;
  const float f = clamped - (shifted - kRound);
  // Minimax on [-0.5, 0.5] with 2^0 = 1 exact; truncation 2e-9.
  float p = 1.5353362e-4F;
  p = p * f + 1.3398875e-3F;
  p = p * f + 9.6184369e-3F;
  p = p * f + 5.5503324e-2F;
  p = p * f + 2.4022648e-1F;
  p = p * f + 6.9314718e-1F;
  p = p * f + 1.0F;
  const float y = std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) +
                                       (std::bit_cast<std::uint32_t>(shifted) << 23));
  return x < kFlush<float> ? 0.0F : y;
}

POINT2MASK_INLINE double exp2_flushed(double x) {
  constexpr double kRound = 6755399441055744.0; // 1.5 * 2^52
  const double clamped = x < kFlush<double> ? kFlush<double> : x;
  const double shifted = clamped + kRound;
  const double f = clamped - (shifted - kRound);
  // Taylor: ln(2)^n / n!, truncation 4e-18.
  double p = 1.3691488853904124e-12;
  p = p * f + 2.5678435993488196e-11;
  p = p * f + 4.4455382718708100e-10;
  p = p * f + 7.0549116208011210e-09;
  p = p * f + 1.0178086009239696e-07;
  p = p * f + 1.3215486790144305e-06;
  p = p * f + 1.5252733804059838e-05;
  p = p * f + 1.5403530393381606e-04;
  p = p * f + 1.3333558146428441e-03;
  p = p * f + 9.6181291076284770e-03;
  p = p * f + 5.5504108664821576e-02;
  p = p * f + 2.4022650695910070e-01;
  p = p * f + 6.9314718055994530e-01;
  p = p * f + 1.0;
  const double y = std::bit_cast<double>(std::bit_cast<std::uint64_t>(p) +
                                         (std::bit_cast<std::uint64_t>(shifted) << 52));
  return x < kFlush<double> ? 0.0 : y;
}

// log2 of a positive normal number: exponent + log2 of the mantissa m in [sqrt(1/2), sqrt(2)) by
// the series of 2 artanh(t) / ln 2, t = (m - 1) / (m + 1).
POINT2MASK_INLINE float log2_positive(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const auto exponent = static_cast<std::int32_t>(bits - 0x3f3504f3U) >> 23;
  const float m = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(exponent) << 23));
  const float t = (m - 1.0F) / (m + 1.0F);
  const float t2 = t * t;
  float p = 0.32059890F;
  p = p * t2 + 0.41219858F;
  p = p * t2 + 0.57707802F;
  p = p * t2 + 0.96179669F;
  p = p * t2 + 2.88539008F;
  return static_cast<float>(exponent) + p * t;
}

POINT2MASK_INLINE double log2_positive(double x) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  const auto exponent = static_cast<std::int64_t>(bits - 0x3fe6a09e667f3bcdULL) >> 52;
  const double m = std::bit_cast<double>(bits - (static_cast<std::uint64_t>(exponent) << 52));
  const double t = (m - 1.0) / (m + 1.0);
  const double t2 = t * t;
  double p = 0.1373995277037108;
  p = p * t2 + 0.15186263588304877;
  p = p * t2 + 0.16972882833987804;
  p = p * t2 + 0.19235933878519512;
  p = p * t2 + 0.22195308321368667;
  p = p * t2 + 0.26230818925253880;
  p = p * t2 + 0.32059889797532520;
  p = p * t2 + 0.41219858311113240;
  p = p * t2 + 0.57707801635558540;
  p = p * t2 + 0.96179669392597560;
  p = p * t2 + 2.88539008177792680;
  return static_cast<double>(exponent) + p * t;
}

} // namespace point2mask::transport
