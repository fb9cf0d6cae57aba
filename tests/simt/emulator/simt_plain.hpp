#pragma once

// Atomics and relaxed accesses as plain ones, under names that bench/mutate_kernels.py puts beside
// theirs, and the number of the mutant that takes its own: each mutant must be noticed.

extern "C" {
inline int simt_mutant = 0; // 0: the kernels as they are
}

namespace point2mask::cuda {

// Not instrumented: the kernel's own accesses stay what they are.
__attribute__((noinline, no_sanitize("thread", "address"))) inline bool is_mutant(int number) {
  return simt_mutant == number;
}

#define POINT2MASK_PLAIN(name, result)                     \
  template <typename T, typename V>                        \
  inline T plain_##name(T* address, V given) {             \
    const T old = *address, value = static_cast<T>(given); \
    *address = result;                                     \
    return old;                                            \
  }
POINT2MASK_PLAIN(Add, static_cast<T>(old + value))
POINT2MASK_PLAIN(Min, value < old ? value : old)
POINT2MASK_PLAIN(Max, value > old ? value : old)
POINT2MASK_PLAIN(Or, static_cast<T>(old | value))
POINT2MASK_PLAIN(And, static_cast<T>(old& value))
POINT2MASK_PLAIN(Exch, value)
#undef POINT2MASK_PLAIN

template <typename T, typename E, typename V>
inline T plain_CAS(T* address, E expected, V value) {
  const T old = *address;
  if (old == static_cast<T>(expected)) *address = static_cast<T>(value);
  return old;
}

template <typename T>
inline T plain_load(const T* address) {
  return *address;
}

template <typename T, typename V>
inline void plain_store(T* address, V value) {
  *address = static_cast<T>(value);
}

} // namespace point2mask::cuda
