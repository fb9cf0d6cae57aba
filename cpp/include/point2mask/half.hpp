#pragma once

// Numbers of 16 bits, as torch and CUDA store them. They are stored and read, never computed with.

#include <cstdint>

namespace point2mask {

struct Float16 { // IEEE 754 binary16
  std::uint16_t bits;
};

struct Bfloat16 { // the upper half of a float
  std::uint16_t bits;
};

} // namespace point2mask

// F(T, Stored) for every type T that costs are computed in and every type they may be stored in.
#define POINT2MASK_FOR_COSTS(F) \
  F(float, float) F(double, double) F(float, Float16) F(float, Bfloat16)
