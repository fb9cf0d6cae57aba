#include "machine.hpp"

#include <algorithm>
#include <cstdlib>

namespace simt {

Context* self = nullptr;
Machine* machine = nullptr;

namespace {
Stacks stacks;
} // namespace

Config& config() {
  static Config value;
  return value;
}

Report& report() {
  static Report value;
  return value;
}

void clear_report() { report() = Report(); }

void fail(const std::string& message) {
  auto& errors = report().errors;
  const bool known = std::find(errors.begin(), errors.end(), message) != errors.end();
  if (!known && errors.size() < 20) errors.push_back(message);
}

std::string describe(const Site& at) {
  const std::string file = at.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(at.line());
}

Machine::Machine(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body)
    : grid_(grid),
      block_(block),
      shared_bytes_(shared_bytes),
      body_(body),
      in_order_(config().seed == 0),
      random_state_((config().seed + 1) * 0x9e3779b97f4a7c15ULL | 1U) {
  for (int i = 0; i < 8; ++i) random();
}

std::uint64_t Machine::random() { // xorshift64
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 7;
  random_state_ ^= random_state_ << 17;
  return random_state_;
}

bool Machine::chance(double probability) {
  if (in_order_) return (++ordered_chances_ & 255U) == 0; // now and then, lest a spin never ends
  return static_cast<double>(random() >> 11) * 0x1p-53 < probability;
}

void Machine::make_ready(Thread& thread) {
  if (thread.queued) return;
  thread.queued = true;
  ready_.push_back(&thread);
}

void Machine::suspend() { leave(running()->fiber, false); }

void Machine::yield() {
  Thread& thread = *running();
  if (!thread.queued) ready_.insert(in_order_ ? ready_.begin() : ready_.end(), &thread);
  thread.queued = true;
  suspend();
}

bool Machine::on_a_stack(std::size_t address) { return stacks.contains(address); }

bool Machine::in_global_memory(std::size_t address) const {
  const auto inside = [&](const void* memory, std::size_t bytes) {
    return address - reinterpret_cast<std::size_t>(memory) < bytes;
  };
  for (const SharedArray& a : running()->owner->shared)
    if (inside(a.memory.get(), a.bytes)) return false;
  return !inside(&body_, sizeof body_); // where a thread finds what to run
}

void Machine::thread_entry() {
  arrive();
  machine->body_();
  Thread& thread = *running();
  leave_meetings(thread);
  stacks.give(thread.fiber.stack);
  leave(thread.fiber, true);
  std::abort(); // a finished fiber was entered
}

void Machine::start_thread(Block& block, unsigned block_index, unsigned index) {
  Thread& t = block.threads[index];
  const unsigned x = block_.x, y = block_.y;
  t.thread = {index % x, index / x % y, index / x / y};
  t.block = {block_index % grid_.x, block_index / grid_.x % grid_.y,
             block_index / grid_.x / grid_.y};
  t.block_size = block_;
  t.grid_size = grid_;
  t.index = index;
  t.lane = index % 32;
  t.warp = index / 32;
  t.id = block_index * static_cast<unsigned>(block.threads.size()) + index;
  t.owner = &block;
  t.waiting = Waiting::nothing;
  t.queued = false;
  block.live_lanes[t.warp] |= 1U << t.lane;
  t.fiber.stack = stacks.take();
  prepare(t.fiber, &thread_entry);
  if (detects_races()) learn_start(t);
  make_ready(t);
}

bool Machine::start_block() {
  if (next_block_ >= grid_.x * grid_.y * grid_.z) return false;
  const unsigned threads = block_.x * block_.y * block_.z, warps = (threads + 31) / 32;
  auto slot = std::find_if(blocks_.begin(), blocks_.end(), [](const auto& b) { return !b->live; });
  if (slot == blocks_.end()) slot = blocks_.insert(slot, std::make_unique<Block>());
  Block& block = **slot;
  block.threads.resize(threads);
  block.live = threads;
  block.live_lanes.assign(warps, 0);
  block.exchanges.assign(warps, {});
  block.shared.clear();
  block.arrived = 0;
  for (unsigned i = threads; i-- > 0;) start_thread(block, next_block_, i); // in order: last first
  ++next_block_;
  return true;
}

void* Machine::shared_array(const void* tag, std::size_t bytes) {
  Block& block = *running()->owner;
  for (const SharedArray& a : block.shared)
    if (a.tag == tag) return a.memory.get();
  std::unique_ptr<char[]> memory(new char[bytes]);
  const bool nan = (random() & 1U) != 0; // all ones are a NaN of every floating type
  for (std::size_t i = 0; i < bytes; ++i)
    memory[i] = nan ? static_cast<char>(0xff) : static_cast<char>(random());
  forget(memory.get(), bytes);
  block.shared.push_back({tag, std::move(memory), bytes});
  return block.shared.back().memory.get();
}

// Runs ready threads until a block ends (its place is free then) or for a while.
void Machine::run_some() {
  for (int step = 0; step < 4096 && !ready_.empty(); ++step) {
    const std::size_t i = in_order_ ? ready_.size() - 1 : random() % ready_.size();
    Thread& thread = *ready_[i];
    ready_[i] = ready_.back();
    ready_.pop_back();
    thread.queued = false;
    self = &thread;
    enter(thread.fiber);
    self = nullptr;
    ++report().switches;
    if (!thread.owner->live) return;
  }
}

void Machine::report_deadlock() const {
  std::string message = "deadlock:";
  int named = 0;
  for (const auto& block : blocks_)
    for (const Thread& t : block->threads) {
      if (!block->live || t.waiting == Waiting::nothing || named++ >= 6) continue;
      message += " [block " + std::to_string(t.block.x) + " thread " + std::to_string(t.index) +
                 " waits at " + describe(t.waits_at) +
                 (t.waiting == Waiting::barrier ? " for its block]" : " for its warp]");
    }
  fail(message);
}

void Machine::run() {
  const std::size_t resident = std::max(1U, config().resident_blocks);
  stacks.reset(resident * block_.x * block_.y * block_.z);
  const std::uint64_t first_switch = report().switches;
  for (;;) {
    const auto live = [](const auto& b) { return b->live != 0; };
    auto alive = static_cast<std::size_t>(std::count_if(blocks_.begin(), blocks_.end(), live));
    while (alive < resident && start_block()) ++alive;
    if (!alive) return;
    if (ready_.empty()) return report_deadlock();
    if (report().switches - first_switch > config().watchdog)
      return fail("watchdog: no end after " + std::to_string(config().watchdog) + " switches");
    run_some();
  }
}

cudaError_t run(const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                const std::function<void()>& body) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  if (threads == 0 || threads > 1024 || blocks == 0 || grid.y > 65535 || grid.z > 65535 ||
      shared_bytes > config().shared_bytes) {
    fail("launch: invalid configuration");
    return cudaErrorInvalidConfiguration;
  }
  const std::size_t errors = report().errors.size();
  const std::uint64_t races = report().races;
  forget_all();
  Machine launch(grid, block, shared_bytes, body);
  machine = &launch;
  launch.run();
  machine = nullptr;
  end_count(kernel);
  const bool ok = report().errors.size() == errors && report().races == races;
  return ok ? cudaSuccess : cudaErrorLaunchFailure;
}

void* static_shared(const void* tag, std::size_t bytes) {
  return machine->shared_array(tag, bytes);
}
void* dynamic_shared() { return machine->dynamic_array(); }

void fence() {
  if (detects_races()) learn_at_fence(*running());
}

} // namespace simt
