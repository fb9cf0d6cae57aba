#pragma once

#include "point2mask/multiarch.hpp"

namespace point2mask {

// The x86-64 level whose copies of POINT2MASK_MULTIARCH functions this processor gets, or
// "baseline" where the build has one copy of each.
inline const char* cpu_level() {
#if POINT2MASK_MULTIARCH_LEVELS
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4";
  return __builtin_cpu_supports("x86-64-v3") ? "x86-64-v3" : "x86-64";
#else
  return "baseline";
#endif
}

} // namespace point2mask
