#include "huge_pages.hpp"

#ifdef __linux__
#include <sys/mman.h>

#include <cstdint>
#endif

namespace point2mask {

#ifdef __linux__
void prefer_huge_pages(void* memory, std::size_t bytes) {
  constexpr std::size_t kFresh = 32U << 20U; // glibc's largest block that is kept for reuse
  constexpr std::uintptr_t kHuge = 2U << 20U;
  if (bytes < kFresh) return;
  const auto begin = (reinterpret_cast<std::uintptr_t>(memory) + kHuge - 1) / kHuge * kHuge;
  const auto end = (reinterpret_cast<std::uintptr_t>(memory) + bytes) / kHuge * kHuge;
  madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE); // refused: small pages
}
#else
void prefer_huge_pages(void* /*memory*/, std::size_t /*bytes*/) {}
#endif

} // namespace point2mask
