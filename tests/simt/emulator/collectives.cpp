// Meetings: the block barrier, and what the lanes of a warp do together. A meeting completes when
// all threads that still run have arrived; whoever arrives somewhere else meanwhile diverges.

#include <algorithm>
#include <utility>

#include "machine.hpp"

namespace simt {
namespace {

std::vector<Thread*> waiting_at_barrier(Block& block) {
  std::vector<Thread*> group;
  for (Thread& t : block.threads)
    if (t.waiting == Waiting::barrier) group.push_back(&t);
  return group;
}

void release(const std::vector<Thread*>& group) {
  for (Thread* t : group) {
    t->waiting = Waiting::nothing;
    machine->make_ready(*t);
  }
}

void complete_barrier(Block& block) {
  const unsigned votes = block.votes, arrived = block.arrived;
  switch (block.kind) {
    case Sync::any:
      block.result = votes > 0;
      break;
    case Sync::all:
      block.result = votes == arrived;
      break;
    default:
      block.result = static_cast<int>(votes);
  }
  const std::vector<Thread*> group = waiting_at_barrier(block);
  if (detects_races()) learn_together(group);
  block.arrived = 0;
  release(group);
}

void complete_exchange(Block& block, unsigned warp, Exchange& exchange) {
  std::vector<Thread*> group;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!(exchange.arrived >> lane & 1U)) continue;
    exchange.value[lane] = exchange.deposited[lane];
    group.push_back(&block.threads[warp * 32 + lane]);
  }
  // Only __syncwarp orders memory; shuffles and votes do not.
  if (exchange.kind == Sync::warp && detects_races()) learn_together(group);
  exchange.lanes = exchange.arrived;
  exchange.arrived = 0;
  release(group);
}

const Exchange& meet(Sync kind, std::uint32_t mask, const std::uint64_t* words, std::size_t count,
                     const Site& at) {
  Thread& thread = *running();
  Block& block = *thread.owner;
  const std::uint32_t own = 1U << thread.lane;
  if (!(mask & own)) {
    fail("warp collective: lane " + std::to_string(thread.lane) + " is not in its mask, " +
         describe(at));
    mask |= own;
  }
  Exchange* found = nullptr;
  for (Exchange& e : block.exchanges[thread.warp])
    if (e.mask == mask) found = &e;
  if (!found) {
    found = &block.exchanges[thread.warp].emplace_back();
    found->mask = mask;
  }
  Exchange& exchange = *found;
  if (!exchange.arrived) {
    exchange.kind = kind;
    exchange.at = at;
  } else if (exchange.kind != kind || exchange.at.line() != at.line()) {
    fail("divergent warp: lanes meet at " + describe(exchange.at) + " and " + describe(at));
  }
  std::copy_n(words, count, exchange.deposited[thread.lane].begin());
  exchange.arrived |= own;
  thread.waiting = Waiting::warp;
  thread.waits_at = at;
  if (exchange.arrived == (mask & block.live_lanes[thread.warp]))
    complete_exchange(block, thread.warp, exchange);
  machine->suspend(); // the last to arrive is ready already, like the others
  return exchange;
}

const Exchange& meet(Sync kind, std::uint32_t mask, std::uint64_t value, const Site& at) {
  return meet(kind, mask, &value, 1, at);
}

} // namespace

int block_barrier(Sync kind, bool predicate, const Site& at) {
  Thread& thread = *running();
  Block& block = *thread.owner;
  if (!block.arrived) {
    block.kind = kind;
    block.at = at;
    block.votes = 0;
  } else if (block.kind != kind || block.at.line() != at.line()) {
    fail("divergent barrier: threads of one block meet at " + describe(block.at) + " and " +
         describe(at));
  }
  block.votes += predicate;
  ++block.arrived;
  thread.waiting = Waiting::barrier;
  thread.waits_at = at;
  if (block.arrived == block.live) complete_barrier(block);
  machine->suspend();
  return block.result;
}

void warp_barrier(std::uint32_t mask, const Site& at) { meet(Sync::warp, mask, 0, at); }

std::uint64_t warp_shuffle(std::uint32_t mask, std::uint64_t value, unsigned lane, const Site& at) {
  const Exchange& exchange = meet(Sync::shuffle, mask, value, at);
  if (exchange.lanes >> lane & 1U) return exchange.value[lane][0];
  fail("shuffle: lane " + std::to_string(lane) + " does not take part, " + describe(at));
  return value;
}

void warp_beside(std::uint32_t mask, const std::uint64_t* here, std::size_t count,
                 std::uint64_t* left, std::uint64_t* right, const Site& at) {
  const unsigned lane = running()->lane;
  const Exchange& exchange = meet(Sync::shuffle, mask, here, count, at);
  for (const auto& [from, to] :
       {std::pair{lane ? lane - 1 : lane, left}, std::pair{lane < 31 ? lane + 1 : lane, right}}) {
    if (!(exchange.lanes >> from & 1U))
      fail("shuffle: lane " + std::to_string(from) + " does not take part, " + describe(at));
    std::copy_n(exchange.value[from].begin(), count, to);
  }
}

std::uint32_t warp_vote(std::uint32_t mask, bool predicate, const Site& at) {
  const Exchange& exchange = meet(Sync::vote, mask, predicate, at);
  std::uint32_t votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((exchange.lanes >> lane & 1U) && exchange.value[lane][0]) votes |= 1U << lane;
  return votes;
}

std::uint32_t warp_match(std::uint32_t mask, std::uint64_t value, const Site& at) {
  const Exchange& exchange = meet(Sync::match, mask, value, at);
  std::uint32_t same = 0;
  for (unsigned lane = 0; lane < 32; ++lane)
    if ((exchange.lanes >> lane & 1U) && exchange.value[lane][0] == value) same |= 1U << lane;
  return same;
}

void leave_meetings(Thread& thread) {
  Block& block = *thread.owner;
  block.live_lanes[thread.warp] &= ~(1U << thread.lane);
  --block.live;
  if (block.live && block.arrived == block.live) complete_barrier(block);
  for (Exchange& e : block.exchanges[thread.warp])
    if (e.arrived && e.arrived == (e.mask & block.live_lanes[thread.warp]))
      complete_exchange(block, thread.warp, e);
}

} // namespace simt
