// The race detector: vector clocks over the threads of a launch, and for every word of memory the
// accesses that a later one may conflict with. Barriers and __syncwarp make their threads know of
// each other; an atomic hands on what its thread knew at its last fence, and what it reads that
// way counts from the reader's next fence on. Two accesses conflict if one writes, not both are
// atomic, and neither thread knows of the other's.
//
// The kernels are compiled with -fsanitize=thread but linked without its runtime: the compiler
// then calls the __tsan_ functions below at every access.

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <set>
#include <unordered_map>

#include "machine.hpp"

namespace simt {
namespace {

struct Access {
  unsigned thread = 0;
  std::uint32_t clock = 0; // of that thread; 0 = no access
  const void* pc = nullptr;
  std::uint8_t bytes = 0; // of the word, one bit each
  bool write = false, atomic = false;
};

// The latest accesses of one kind that do not know of each other; a bounded sample of them.
using Recent = std::array<Access, 4>;

struct Word {
  Access write;
  Recent reads, atomics;
};

constexpr std::uintptr_t kWordsPerPage = 64;
using Page = std::array<Word, kWordsPerPage>;

std::unordered_map<std::uintptr_t, std::unique_ptr<Page>> pages;
std::unordered_map<std::uintptr_t, Clocks> published; // by atomics, at their address
std::set<std::pair<const void*, const void*>> reported;

void join(Clocks& into, const Clocks& from) {
  for (const auto& [thread, clock] : from) {
    std::uint32_t& known = into[thread];
    known = std::max(known, clock);
  }
}

// The clock of `other` up to which this thread knows what it did.
std::uint32_t known(const Thread& t, unsigned other) {
  const unsigned in_block = other - (t.id - t.index);
  if (in_block < t.knowledge.own_block.size()) return t.knowledge.own_block[in_block];
  if (!t.knowledge.other_blocks) return 0;
  const auto found = t.knowledge.other_blocks->find(other);
  return found == t.knowledge.other_blocks->end() ? 0 : found->second;
}

// "file:line" of a return address, by binutils' addr2line.
std::string source_line(const void* pc) {
  Dl_info info;
  if (!dladdr(pc, &info) || !info.dli_fname) return "?";
  const auto offset =
      reinterpret_cast<std::uintptr_t>(pc) - 1 - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  char command[4096], line[512] = "?";
  std::snprintf(command, sizeof command, "addr2line -s -e '%s' 0x%zx", info.dli_fname, offset);
  if (FILE* pipe = popen(command, "r")) {
    if (!std::fgets(line, sizeof line, pipe)) line[0] = '?';
    pclose(pipe);
  }
  const std::string text = line;
  return text.substr(0, text.find_first_of(" \n"));
}

const char* name_of(const Access& a) {
  if (a.atomic) return a.write ? "atomic update" : "relaxed read";
  return a.write ? "write" : "read";
}

void report_race(const Access& first, const Access& second, unsigned threads_per_block) {
  ++report().races;
  if (reported.size() >= 10 || !reported.insert(std::minmax(first.pc, second.pc)).second) return;
  const auto describe_access = [&](const Access& a) {
    return std::string(name_of(a)) + " at " + source_line(a.pc) + " by block " +
           std::to_string(a.thread / threads_per_block) + " thread " +
           std::to_string(a.thread % threads_per_block);
  };
  fail("race: " + describe_access(first) + " / " + describe_access(second));
}

void compare(const Thread& t, const Access& before, const Access& now) {
  if (before.clock == 0 || before.thread == now.thread || !(before.bytes & now.bytes)) return;
  if (!(before.write || now.write) || (before.atomic && now.atomic)) return;
  if (before.clock <= known(t, before.thread)) return;
  report_race(before, now, static_cast<unsigned>(t.owner->threads.size()));
}

void remember(const Thread& t, Recent& recent, const Access& now) {
  for (Access& a : recent) {
    if (a.write && !now.write) continue; // a relaxed read must not hide an atomic update
    const bool superseded = a.bytes == now.bytes && a.clock <= known(t, a.thread);
    if (a.clock == 0 || a.thread == now.thread || superseded) {
      a = now;
      return;
    }
  }
  for (Access& a : recent)
    if (a.thread / 32 == now.thread / 32 && a.write == now.write) {
      a = now;
      return;
    }
  recent[machine->random() % recent.size()] = now;
}

Word& word_at(std::uintptr_t address) {
  static std::uintptr_t last_number = 0;
  static Page* last_page = nullptr;
  const std::uintptr_t word = address / 4, number = word / kWordsPerPage;
  if (pages.empty() || number != last_number || !last_page) {
    auto& page = pages[number];
    if (!page) page = std::make_unique<Page>();
    last_page = page.get();
    last_number = number;
  }
  return (*last_page)[word % kWordsPerPage];
}

void record(const Thread& t, Word& word, const Access& now) {
  compare(t, word.write, now);
  for (const Access& a : word.atomics) compare(t, a, now);
  for (const Access& a : word.reads) compare(t, a, now);
  if (now.atomic) {
    remember(t, word.atomics, now);
  } else if (now.write) {
    word.write = now;
    word.reads.fill({});
  } else {
    remember(t, word.reads, now);
  }
}

void access(std::uintptr_t address, std::size_t bytes, bool write, bool atomic, const void* pc) {
  Thread* t = running();
  if (!t || Machine::on_a_stack(address)) return;
  ++report().accesses;
  if (counts_traffic()) return count_access(address, bytes, write);
  if (machine->chance(atomic ? config().preempt_atomic : config().preempt)) machine->yield();
  for (const std::uintptr_t end = address + bytes; address < end;) {
    const std::uintptr_t word_end = (address & ~std::uintptr_t{3}) + 4;
    const auto count = static_cast<unsigned>(std::min(end, word_end) - address);
    const auto mask = static_cast<std::uint8_t>(((1U << count) - 1) << (address & 3U));
    const std::uint32_t clock = t->knowledge.own_block[t->index];
    record(*t, word_at(address), {t->id, clock, pc, mask, write, atomic});
    address += count;
  }
}

} // namespace

#if defined(SIMT_RACE)
bool detects_races() { return !counts_traffic(); }
#else
bool detects_races() { return false; }
#endif

void forget_all() {
  pages.clear();
  published.clear();
  reported.clear();
}

void forget(const void* memory, std::size_t bytes) {
  if (!detects_races()) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  for (std::uintptr_t a = begin & ~std::uintptr_t{3}; a < begin + bytes; a += 4) {
    word_at(a) = Word();
    published.erase(a);
  }
}

void learn_start(Thread& t) {
  t.knowledge = Knowledge();
  t.knowledge.own_block.assign(t.owner->threads.size(), 0);
  t.knowledge.own_block[t.index] = 1;
}

void learn_together(const std::vector<Thread*>& group) {
  if (group.empty()) return;
  std::vector<std::uint32_t> all(group.front()->knowledge.own_block.size(), 0);
  std::shared_ptr<const Clocks> others;
  std::set<const Clocks*> joined;
  for (const Thread* t : group) {
    const Knowledge& k = t->knowledge;
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = std::max(all[i], k.own_block[i]);
    if (!k.other_blocks || !joined.insert(k.other_blocks.get()).second) continue;
    if (!others) {
      others = k.other_blocks;
    } else {
      auto merged = std::make_shared<Clocks>(*others);
      join(*merged, *k.other_blocks);
      others = std::move(merged);
    }
  }
  for (Thread* t : group) {
    t->knowledge.own_block = all;
    t->knowledge.other_blocks = others;
    ++t->knowledge.own_block[t->index];
  }
}

void learn_at_fence(Thread& t) {
  Knowledge& k = t.knowledge;
  const unsigned first = t.id - t.index;
  if (!k.acquired.empty()) {
    auto others =
        k.other_blocks ? std::make_shared<Clocks>(*k.other_blocks) : std::make_shared<Clocks>();
    for (const auto& [thread, clock] : k.acquired) {
      const bool own = thread - first < k.own_block.size();
      std::uint32_t& mine = own ? k.own_block[thread - first] : (*others)[thread];
      mine = std::max(mine, clock);
    }
    k.other_blocks = std::move(others);
    k.acquired.clear();
  }
  k.released = k.other_blocks ? *k.other_blocks : Clocks();
  for (unsigned i = 0; i < k.own_block.size(); ++i)
    if (k.own_block[i]) k.released[first + i] = k.own_block[i];
  ++k.own_block[t.index];
}

void atomic_access(const volatile void* address, std::size_t bytes, bool write, const void* pc) {
  Thread* t = running();
  if (!t) return;
  const auto a = reinterpret_cast<std::uintptr_t>(address);
  if (!detects_races()) {
    if (counts_traffic()) access(a, bytes, write, true, pc);
    if (machine->chance(config().preempt_atomic)) machine->yield();
    return;
  }
  access(a, bytes, write, true, pc);
  const auto found = published.find(a);
  if (found != published.end()) join(t->knowledge.acquired, found->second);
  if (write && !t->knowledge.released.empty()) join(published[a], t->knowledge.released);
}

#if defined(SIMT_RACE)
#define SIMT_ACCESS(name, bytes, write)                                    \
  extern "C" void name(void* address) {                                    \
    access(reinterpret_cast<std::uintptr_t>(address), bytes, write, false, \
           __builtin_return_address(0));                                   \
  }
#define SIMT_ACCESSES(bytes)                              \
  SIMT_ACCESS(__tsan_read##bytes, bytes, false)           \
  SIMT_ACCESS(__tsan_write##bytes, bytes, true)           \
  SIMT_ACCESS(__tsan_unaligned_read##bytes, bytes, false) \
  SIMT_ACCESS(__tsan_unaligned_write##bytes, bytes, true) \
  SIMT_ACCESS(__tsan_volatile_read##bytes, bytes, false)  \
  SIMT_ACCESS(__tsan_volatile_write##bytes, bytes, true)
SIMT_ACCESSES(1)
SIMT_ACCESSES(2)
SIMT_ACCESSES(4)
SIMT_ACCESSES(8)
SIMT_ACCESSES(16)

extern "C" {
void __tsan_read_range(void* address, std::size_t bytes) {
  access(reinterpret_cast<std::uintptr_t>(address), bytes, false, false,
         __builtin_return_address(0));
}
void __tsan_write_range(void* address, std::size_t bytes) {
  access(reinterpret_cast<std::uintptr_t>(address), bytes, true, false,
         __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
}
#endif

} // namespace simt
