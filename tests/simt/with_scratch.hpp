#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

// Launches with scratch memory of exactly the size asked for, which starts as anything.
template <typename Problem, typename Bytes, typename Launch>
int with_scratch(Problem problem, Bytes bytes, Launch launch) {
  const auto size = static_cast<std::size_t>(bytes(problem));
  const std::unique_ptr<void, void (*)(void*)> memory(std::aligned_alloc(256, size), std::free);
  std::memset(memory.get(), 0xa5, size);
  problem.scratch = memory.get();
  return launch(problem, nullptr);
}
