#pragma once

// The emulator's inside: threads, blocks and the scheduler that runs one launch.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fibers.hpp"
#include "simt_emulator.hpp"

namespace simt {

std::string describe(const Site& at); // "file:line"

// What a thread knows to have happened, for the race detector. Threads are numbered over the grid.
using Clocks = std::map<unsigned, std::uint32_t>; // thread -> its clock
struct Knowledge {
  std::vector<std::uint32_t> own_block;       // clock of every thread of the own block
  std::shared_ptr<const Clocks> other_blocks; // may be null
  Clocks released;                            // at the last fence: what an atomic write publishes
  Clocks acquired;                            // read by atomics: counts from the next fence on
};

enum class Waiting { nothing, barrier, warp };

struct Block;
struct Thread : Context {
  Fiber fiber;
  Block* owner = nullptr;
  unsigned id = 0; // in the grid
  bool queued = false;
  Waiting waiting = Waiting::nothing;
  Site waits_at;
  Knowledge knowledge;
};

// What a lane brings to a meeting.
inline constexpr std::size_t kMostWords = 16;
using Words = std::array<std::uint64_t, kMostWords>;

// One meeting of the lanes in `mask`.
struct Exchange {
  std::uint32_t mask = 0, arrived = 0;
  Sync kind = Sync::warp;
  Site at;
  Words deposited[32];     // of the meeting in progress
  Words value[32];         // of the last complete one
  std::uint32_t lanes = 0; // that took part in it
};

struct SharedArray {
  const void* tag; // null: the dynamic one
  std::unique_ptr<char[]> memory;
  std::size_t bytes;
};

struct Block {
  std::vector<Thread> threads;
  unsigned live = 0;
  std::vector<std::uint32_t> live_lanes;       // per warp
  std::vector<std::deque<Exchange>> exchanges; // per warp, one for each mask met
  std::vector<SharedArray> shared;
  unsigned arrived = 0, votes = 0; // at the block barrier
  Sync kind = Sync::barrier;
  Site at;
  int result = 0;
};

class Machine {
 public:
  Machine(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body);
  void run();

  void make_ready(Thread& thread);
  void yield();   // the running thread stays ready
  void suspend(); // the running thread waits until made ready
  bool chance(double probability);
  std::uint64_t random();
  void* shared_array(const void* tag, std::size_t bytes);
  void* dynamic_array() { return shared_array(nullptr, shared_bytes_); }
  static bool on_a_stack(std::size_t address);
  bool in_global_memory(std::size_t address) const; // of what is on no stack

 private:
  static void thread_entry();
  bool start_block();
  void start_thread(Block& block, unsigned block_index, unsigned index);
  void run_some();
  void report_deadlock() const;

  dim3 grid_, block_;
  std::size_t shared_bytes_;
  const std::function<void()>& body_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<Thread*> ready_;
  unsigned next_block_ = 0;
  bool in_order_;
  std::uint64_t random_state_, ordered_chances_ = 0;
};

extern Machine* machine; // of the launch in progress
inline Thread* running() { return static_cast<Thread*>(self); }

// collectives.cpp: the meetings a thread's end completes
void leave_meetings(Thread& thread);

// races.cpp
bool detects_races();
void forget_all();                                      // a launch is ordered after those before
void forget(const void* memory, std::size_t bytes);     // fresh shared memory
void learn_start(Thread& thread);                       // a thread knows only itself
void learn_together(const std::vector<Thread*>& group); // they met at a barrier
void learn_at_fence(Thread& thread);

// traffic.cpp
bool counts_traffic();
void count_access(std::size_t address, std::size_t bytes, bool write);
void end_count(const void* kernel); // of its launch

} // namespace simt
