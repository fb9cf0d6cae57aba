#pragma once

#include <cstddef>
#include <memory>

#include "huge_pages.hpp"

namespace point2mask::tree {

// Arrays of one image cut from one block of memory, without being cleared. One block instead of
// many is reused by the heap from call to call, while the pages of many go back to the system and
// fault in again.
class Arena {
 public:
  explicit Arena(std::size_t bytes) : block_(std::make_unique_for_overwrite<std::byte[]>(bytes)) {
    prefer_huge_pages(block_.get(), bytes);
  }

  template <typename T>
  static std::size_t bytes(std::size_t count) {
    return (count * sizeof(T) + kLine - 1) / kLine * kLine;
  }
  template <typename T>
  T* take(std::size_t count) {
    T* array = reinterpret_cast<T*>(block_.get() + used_);
    used_ += bytes<T>(count);
    return array;
  }
  std::size_t used() const { return used_; }
  // Gives back what was taken since `used` was this.
  void rewind(std::size_t used) { used_ = used; }

 private:
  static constexpr std::size_t kLine = 64;
  std::unique_ptr<std::byte[]> block_;
  std::size_t used_ = 0;
};

} // namespace point2mask::tree
