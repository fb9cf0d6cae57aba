#pragma once

// Stacks and the switch between them.

#include <cstddef>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace simt {

inline constexpr std::size_t kStackBytes = std::size_t{64} << 10;

struct Fiber {
  char* stack = nullptr;
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context;
#endif
};

// Makes the fiber start in entry() when it is first entered. entry() must end with leave(true).
void prepare(Fiber& fiber, void (*entry)());
// Called as the first thing in entry().
void arrive();
// From the scheduler into the fiber; returns when the fiber leaves.
void enter(Fiber& fiber);
// From the fiber back to the scheduler.
void leave(Fiber& fiber, bool for_good);

// The stacks of one launch, in memory that is kept for the next one.
class Stacks {
 public:
  void reset(std::size_t count); // all stacks are free again
  char* take();
  void give(char* stack) { free_.push_back(stack); }
  bool contains(std::size_t address) const;

 private:
  char* memory_ = nullptr;
  std::size_t bytes_ = 0;
  std::vector<char*> free_;
};

} // namespace simt
