#pragma once

// How costs are read: as they are, or from 16 bits. Straight-line code that the compiler
// vectorises on every machine; no value is rounded.

#include <bit>
#include <cstdint>

#include "point2mask/half.hpp"
#include "point2mask/multiarch.hpp"

namespace point2mask::transport {

POINT2MASK_INLINE float read_cost(float cost) { return cost; }
POINT2MASK_INLINE double read_cost(double cost) { return cost; }

POINT2MASK_INLINE float read_cost(Bfloat16 cost) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(cost.bits) << 16);
}

// The exponent's bias is 15 in one type and 127 in the other. Numbers below 2^-14 lack the leading
// bit: they are what is left of 2^-14 with their fraction. An exponent of ones stays one.
POINT2MASK_INLINE float read_cost(Float16 cost) {
  const std::uint32_t sign = (cost.bits & 0x8000U) << 16;
  const std::uint32_t magnitude = (cost.bits & 0x7fffU) << 13;
  constexpr std::uint32_t kBias = 112U << 23, kLeast = 113U << 23;
  const float small = std::bit_cast<float>(kLeast | magnitude) - std::bit_cast<float>(kLeast);
  const std::uint32_t tall = magnitude + (magnitude < (31U << 23) ? kBias : 2 * kBias);
  const std::uint32_t bits = magnitude < (1U << 23) ? std::bit_cast<std::uint32_t>(small) : tall;
  return std::bit_cast<float>(bits | sign);
}

} // namespace point2mask::transport
