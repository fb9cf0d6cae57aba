#pragma once

// Cuts a launcher's scratch memory into arrays.

#include <cstddef>
#include <cstdint>

namespace point2mask::cuda {

class ScratchMemory {
 public:
  explicit ScratchMemory(void* base) : base_(static_cast<char*>(base)) {}

  // With a null base only used() means something.
  template <typename T>
  void take(T** array, std::int64_t count) {
    *array = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ +=
        (static_cast<std::size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
  }
  std::size_t used() const { return used_; }

 private:
  static constexpr std::size_t kAlignment = 256;

  char* base_;
  std::size_t used_ = 0;
};

} // namespace point2mask::cuda
