// The emulator's controls, for ctypes.

#include <cstring>

#include "simt_emulator.hpp"

namespace {

void copy(const std::string& from, char* text, std::size_t bytes) {
  std::strncpy(text, from.c_str(), bytes - 1);
  text[bytes - 1] = '\0';
}

} // namespace

extern "C" {

void simt_configure(std::uint64_t seed, unsigned resident_blocks, unsigned max_blocks,
                    std::size_t shared_bytes, std::int64_t scratch_limit, double preempt,
                    std::uint64_t watchdog) {
  simt::config().seed = seed;
  simt::config().resident_blocks = resident_blocks;
  simt::config().max_blocks = max_blocks;
  simt::config().shared_bytes = shared_bytes;
  simt::config().scratch_limit = scratch_limit;
  simt::config().preempt = preempt;
  simt::config().watchdog = watchdog;
}

void simt_clear_report() { simt::clear_report(); }

std::uint64_t simt_races() { return simt::report().races; }
std::uint64_t simt_accesses() { return simt::report().accesses; }
std::uint64_t simt_switches() { return simt::report().switches; }

void simt_count_traffic(int on, const void* within, std::size_t bytes) {
  simt::count_traffic(on != 0, within, bytes);
}

// One kernel a line, cut to fit.
void simt_traffic(char* text, std::size_t bytes) { copy(simt::describe_traffic(), text, bytes); }

// One error a line, cut to fit.
void simt_errors(char* text, std::size_t bytes) {
  std::string all;
  for (const std::string& error : simt::report().errors) all += error + "\n";
  copy(all, text, bytes);
}

} // extern "C"
