#include "huge_pages.hpp"

#ifdef __linux__
#include <sys/mman.h>

#include <memory>
#endif

namespace point2mask {

#ifdef __linux__
void prefer_huge_pages(void* memory, std::size_t bytes) {
  constexpr std::size_t kFresh = 32U << 20U; // glibc's largest block that is kept for reuse
  constexpr std::size_t kHuge = 2U << 20U;
  if (bytes < kFresh || std::align(kHuge, kHuge, memory, bytes) == nullptr) return;
  madvise(memory, bytes / kHuge * kHuge, MADV_HUGEPAGE); // refused: small pages
}
#else
void prefer_huge_pages(void* /*memory*/, std::size_t /*bytes*/) {}
#endif

} // namespace point2mask
