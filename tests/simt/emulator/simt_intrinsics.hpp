#pragma once

// CUDA's built-in device functions, as far as kernels use them: synchronisation, warp exchange,
// atomics, bit casts. Included by simt_emulator.hpp.

// ---- block and warp synchronisation

inline void __syncthreads(simt::Site at = simt::Site::current()) {
  simt::block_barrier(simt::Sync::barrier, false, at);
}
inline int __syncthreads_or(int predicate, simt::Site at = simt::Site::current()) {
  return simt::block_barrier(simt::Sync::any, predicate != 0, at);
}
inline int __syncthreads_and(int predicate, simt::Site at = simt::Site::current()) {
  return simt::block_barrier(simt::Sync::all, predicate != 0, at);
}
inline int __syncthreads_count(int predicate, simt::Site at = simt::Site::current()) {
  return simt::block_barrier(simt::Sync::count, predicate != 0, at);
}
inline void __syncwarp(std::uint32_t mask = 0xffffffffU, simt::Site at = simt::Site::current()) {
  simt::warp_barrier(mask, at);
}
inline void __threadfence() { simt::fence(); }
inline void __threadfence_block() { simt::fence(); }

// ---- warp exchange; as in CUDA it orders no memory accesses

template <typename T>
T __shfl_sync(std::uint32_t mask, T value, int lane, simt::Site at = simt::Site::current()) {
  return simt::from_bits<T>(
      simt::warp_shuffle(mask, simt::to_bits(value), static_cast<unsigned>(lane) & 31U, at));
}
template <typename T>
T __shfl_xor_sync(std::uint32_t mask, T value, int lanes, simt::Site at = simt::Site::current()) {
  const unsigned source = simt::lane_index() ^ static_cast<unsigned>(lanes);
  return simt::from_bits<T>(simt::warp_shuffle(mask, simt::to_bits(value), source & 31U, at));
}
template <typename T>
T __shfl_down_sync(std::uint32_t mask, T value, unsigned by,
                   simt::Site at = simt::Site::current()) {
  const unsigned lane = simt::lane_index();
  const unsigned source = lane + by < 32 ? lane + by : lane;
  return simt::from_bits<T>(simt::warp_shuffle(mask, simt::to_bits(value), source, at));
}
template <typename T>
T __shfl_up_sync(std::uint32_t mask, T value, unsigned by, simt::Site at = simt::Site::current()) {
  const unsigned lane = simt::lane_index();
  const unsigned source = lane >= by ? lane - by : lane;
  return simt::from_bits<T>(simt::warp_shuffle(mask, simt::to_bits(value), source, at));
}
namespace point2mask::cuda {
template <typename T, int kCount>
SIMT_QUIET void shuffle_beside(std::uint32_t mask, const T (&here)[kCount], T (&left)[kCount],
                               T (&right)[kCount], simt::Site at = simt::Site::current()) {
  std::uint64_t words[3][kCount];
  for (int i = 0; i < kCount; ++i) words[0][i] = simt::to_bits(here[i]);
  simt::warp_beside(mask, words[0], kCount, words[1], words[2], at);
  for (int i = 0; i < kCount; ++i) {
    left[i] = simt::from_bits<T>(words[1][i]);
    right[i] = simt::from_bits<T>(words[2][i]);
  }
}
} // namespace point2mask::cuda
inline std::uint32_t __ballot_sync(std::uint32_t mask, int predicate,
                                   simt::Site at = simt::Site::current()) {
  return simt::warp_vote(mask, predicate != 0, at);
}
inline int __any_sync(std::uint32_t mask, int predicate, simt::Site at = simt::Site::current()) {
  return simt::warp_vote(mask, predicate != 0, at) != 0;
}
inline int __all_sync(std::uint32_t mask, int predicate, simt::Site at = simt::Site::current()) {
  return simt::warp_vote(mask, predicate == 0, at) == 0;
}
template <typename T>
std::uint32_t __match_any_sync(std::uint32_t mask, T value, simt::Site at = simt::Site::current()) {
  return simt::warp_match(mask, simt::to_bits(value), at);
}

// ---- atomics; the second type is not deduced, so that arguments convert as in CUDA

template <typename T>
SIMT_QUIET T atomicAdd(T* address, std::type_identity_t<T> value) {
  return simt::read_modify_write(address, __builtin_return_address(0),
                                 [=](T old) { return static_cast<T>(old + value); });
}
template <typename T>
SIMT_QUIET T atomicMin(T* address, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "CUDA has no floating atomicMin");
  return simt::read_modify_write(address, __builtin_return_address(0),
                                 [=](T old) { return value < old ? value : old; });
}
template <typename T>
SIMT_QUIET T atomicMax(T* address, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "CUDA has no floating atomicMax");
  return simt::read_modify_write(address, __builtin_return_address(0),
                                 [=](T old) { return value > old ? value : old; });
}
template <typename T>
SIMT_QUIET T atomicOr(T* address, std::type_identity_t<T> value) {
  return simt::read_modify_write(address, __builtin_return_address(0),
                                 [=](T old) { return static_cast<T>(old | value); });
}
template <typename T>
SIMT_QUIET T atomicAnd(T* address, std::type_identity_t<T> value) {
  return simt::read_modify_write(address, __builtin_return_address(0),
                                 [=](T old) { return static_cast<T>(old & value); });
}
template <typename T>
SIMT_QUIET T atomicExch(T* address, std::type_identity_t<T> value) {
  return simt::read_modify_write(address, __builtin_return_address(0), [=](T) { return value; });
}
template <typename T>
SIMT_QUIET T atomicCAS(T* address, std::type_identity_t<T> expected,
                       std::type_identity_t<T> value) {
  return simt::read_modify_write(address, __builtin_return_address(0),
                                 [=](T old) { return old == expected ? value : old; });
}

// ---- the rest

template <typename T>
__forceinline__ T __ldg(const T* address) {
  return *address;
}
inline float __fmul_rn(float a, float b) { return a * b; } // kernels are built without contraction
inline double __dmul_rn(double a, double b) { return a * b; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return bits ? __builtin_clz(static_cast<unsigned>(bits)) : 32; }
inline int __float_as_int(float value) { return simt::from_bits<int>(simt::to_bits(value)); }
inline float __int_as_float(int bits) { return simt::from_bits<float>(simt::to_bits(bits)); }
inline unsigned __float_as_uint(float value) {
  return simt::from_bits<unsigned>(simt::to_bits(value));
}
inline long long __double_as_longlong(double value) {
  return simt::from_bits<long long>(simt::to_bits(value));
}
inline float __uint_as_float(unsigned bits) { return simt::from_bits<float>(simt::to_bits(bits)); }
template <typename T>
T min(T a, std::type_identity_t<T> b) {
  return b < a ? b : a;
}
template <typename T>
T max(T a, std::type_identity_t<T> b) {
  return a < b ? b : a;
}
