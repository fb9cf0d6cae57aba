#pragma once

// A row of lanes as vectors of the GNU dialect (gcc and clang), of a size that every machine keeps
// in registers: what a pass carries from one row to the next need not go through memory.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "point2mask/multiarch.hpp"

namespace point2mask::tree {

template <typename T, int kBytes>
struct Vectors;
template <>
struct Vectors<float, 8> {
  typedef float Vector __attribute__((vector_size(8)));
  typedef std::int32_t Mask __attribute__((vector_size(8)));
};
template <>
struct Vectors<float, 16> {
  typedef float Vector __attribute__((vector_size(16)));
  typedef std::int32_t Mask __attribute__((vector_size(16)));
};
template <>
struct Vectors<double, 16> {
  typedef double Vector __attribute__((vector_size(16)));
  typedef std::int64_t Mask __attribute__((vector_size(16)));
};

template <int kLanes, typename T>
struct Row {
  static constexpr int kBytes = std::min<int>(16, kLanes * sizeof(T));
  static constexpr int kParts = kLanes * static_cast<int>(sizeof(T)) / kBytes;
  using Vector = typename Vectors<T, kBytes>::Vector;
  using Mask = typename Vectors<T, kBytes>::Mask;
  Vector part[kParts];

  POINT2MASK_INLINE void load(const T* row) { std::memcpy(part, row, sizeof part); }
  POINT2MASK_INLINE void store(T* row) const { std::memcpy(row, part, sizeof part); }
  // All lanes set or none, to choose between two rows without a branch.
  POINT2MASK_INLINE static Mask mask_of(bool set) { return Mask{} - (set ? 1 : 0); }
};

} // namespace point2mask::tree
