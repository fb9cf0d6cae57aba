#pragma once

// Cuts the scratch memory of a launch into arrays, each 256 bytes or a multiple of it from the
// start. Without memory it only counts, so that one function says both how many bytes are needed
// and where each array lies.

#include <cstdint>

namespace point2mask::cuda {

class Scratch {
 public:
  explicit Scratch(void* memory = nullptr) : memory_(static_cast<unsigned char*>(memory)) {}

  template <typename T>
  T* take(std::int64_t count) {
    const std::int64_t begin = bytes_;
    bytes_ += (count * static_cast<std::int64_t>(sizeof(T)) + 255) / 256 * 256;
    return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + begin);
  }

  std::int64_t bytes() const { return bytes_; }

 private:
  unsigned char* memory_;
  std::int64_t bytes_ = 0;
};

} // namespace point2mask::cuda
