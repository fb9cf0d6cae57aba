#include "fibers.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if defined(SIMT_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace simt {
namespace {

#if defined(__x86_64__)
// Saves the callee-saved registers and the stack pointer, and loads the other side's.
extern "C" void simt_switch(void** save, void* to);
asm(R"(
.text
.type simt_switch, @function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch, .-simt_switch
)");
void* scheduler_stack_pointer;
#else
ucontext_t scheduler_context;
#endif

#if defined(SIMT_ASAN)
const void* scheduler_stack;
std::size_t scheduler_stack_bytes;
#endif

} // namespace

void prepare(Fiber& fiber, void (*entry)()) {
#if defined(SIMT_ASAN)
  // An earlier fiber may have been abandoned in the middle of a function.
  __asan_unpoison_memory_region(fiber.stack, kStackBytes);
#endif
#if defined(__x86_64__)
  // Six zero registers and a return address; the stack is then aligned as after a call.
  auto* top = reinterpret_cast<void**>(fiber.stack + kStackBytes - 64);
  *top = reinterpret_cast<void*>(entry);
  for (int i = 1; i <= 6; ++i) top[-i] = nullptr;
  fiber.stack_pointer = static_cast<void*>(top - 6);
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
#endif
}

void arrive() {
#if defined(SIMT_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

void enter(Fiber& fiber) {
#if defined(SIMT_ASAN)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, fiber.stack, kStackBytes);
#endif
#if defined(__x86_64__)
  simt_switch(&scheduler_stack_pointer, fiber.stack_pointer);
#else
  swapcontext(&scheduler_context, &fiber.context);
#endif
#if defined(SIMT_ASAN)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void leave(Fiber& fiber, [[maybe_unused]] bool for_good) {
#if defined(SIMT_ASAN)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack, scheduler_stack,
                                 scheduler_stack_bytes);
#endif
#if defined(__x86_64__)
  simt_switch(&fiber.stack_pointer, scheduler_stack_pointer);
#else
  swapcontext(&fiber.context, &scheduler_context);
#endif
#if defined(SIMT_ASAN)
  __sanitizer_finish_switch_fiber(fake_stack, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

void Stacks::reset(std::size_t count) {
  if (bytes_ < count * kStackBytes) {
    if (memory_) munmap(memory_, bytes_);
    bytes_ = count * kStackBytes;
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<char*>(memory);
  }
  free_.clear();
  for (std::size_t i = count; i-- > 0;) free_.push_back(memory_ + i * kStackBytes);
}

char* Stacks::take() {
  char* stack = free_.back();
  free_.pop_back();
  return stack;
}

bool Stacks::contains(std::size_t address) const {
  return address - reinterpret_cast<std::uintptr_t>(memory_) < bytes_;
}

} // namespace simt
