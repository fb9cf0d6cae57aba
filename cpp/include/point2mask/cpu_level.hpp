#pragma once

namespace point2mask {

// The x86-64 level whose copies of POINT2MASK_MULTIARCH functions this processor gets.
inline const char* cpu_level() {
#if defined(__x86_64__) && defined(__GNUC__)
  if (__builtin_cpu_supports("x86-64-v4")) return "x86-64-v4";
  if (__builtin_cpu_supports("x86-64-v3")) return "x86-64-v3";
  return "x86-64";
#else
  return "baseline";
#endif
}

} // namespace point2mask
