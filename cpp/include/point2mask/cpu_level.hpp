#pragma once

namespace point2mask {

// The x86-64 level whose copies of POINT2MASK_MULTIARCH functions this processor gets.
inline const char* cpu_level() {
#if defined(__x86_64__) && defined(__GNUC__)
  // By what they have: clang 14 does not know the levels' names here.
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
                  __builtin_cpu_supports("fma");
  const bool v4 = v3 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (v4) return "x86-64-v4";
  return v3 ? "x86-64-v3" : "x86-64";
#else
  return "baseline";
#endif
}

} // namespace point2mask
