// Counts what kernels move to and from global memory, kernel by kernel, in a race build: there the
// compiler calls the emulator at every access. Stacks (registers, on a device) and shared memory
// count for nothing, an atomic update counts as a write.
//
// `read` and `written` are the bytes asked for, whatever caches would make of it. `fetched` and
// `stored` are what device memory sees through a cache that is empty when a launch begins, keeps
// all it touches and writes back what changed: sectors of 32 bytes whose first access is a read,
// and sectors written.

#include <dlfcn.h>

#include <cstdio>
#include <unordered_map>

#include "machine.hpp"

namespace simt {
namespace {

constexpr std::uintptr_t kSectorBytes = 32;

struct Traffic {
  std::uint64_t launches = 0, read = 0, written = 0, fetched = 0, stored = 0;
};

bool counting = false;
std::uintptr_t first_byte = 0, bytes_within = 0;      // what is counted of global memory; none: all
std::vector<std::pair<const void*, Traffic>> kernels; // in the order of their first launches
Traffic launch;                                       // the one in progress
std::unordered_map<std::uintptr_t, bool> sectors;     // touched by it -> written

// The name of a function, without its arguments, by binutils' addr2line.
std::string name_of(const void* function) {
  Dl_info info;
  if (!dladdr(function, &info) || !info.dli_fname) return "?";
  const auto offset =
      reinterpret_cast<std::uintptr_t>(function) - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  char command[4096], line[4096] = "?";
  std::snprintf(command, sizeof command, "addr2line -f -C -e '%s' 0x%zx", info.dli_fname, offset);
  if (FILE* pipe = popen(command, "r")) {
    if (!std::fgets(line, sizeof line, pipe)) line[0] = '?';
    pclose(pipe);
  }
  std::string name = line;
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return name;
}

} // namespace

bool counts_traffic() { return counting; }

void count_access(std::uintptr_t address, std::size_t bytes, bool write) {
  if (bytes_within && address - first_byte >= bytes_within) return;
  if (!machine->in_global_memory(address)) return;
  (write ? launch.written : launch.read) += bytes;
  const std::uintptr_t last = (address + bytes - 1) / kSectorBytes;
  for (std::uintptr_t sector = address / kSectorBytes; sector <= last; ++sector) {
    const auto [place, fresh] = sectors.emplace(sector, false);
    if (fresh && !write) launch.fetched += kSectorBytes;
    if (write && !place->second) {
      launch.stored += kSectorBytes;
      place->second = true;
    }
  }
}

void end_count(const void* kernel) {
  if (!counting) return;
  auto place = kernels.begin();
  while (place != kernels.end() && place->first != kernel) ++place;
  if (place == kernels.end()) place = kernels.insert(place, {kernel, Traffic()});
  Traffic& sum = place->second;
  ++sum.launches;
  sum.read += launch.read;
  sum.written += launch.written;
  sum.fetched += launch.fetched;
  sum.stored += launch.stored;
  launch = Traffic();
  sectors.clear();
}

void count_traffic(bool on, const void* within, std::size_t bytes) {
  counting = on;
  first_byte = reinterpret_cast<std::uintptr_t>(within);
  bytes_within = bytes;
  kernels.clear();
}

std::string describe_traffic() {
  std::string text;
  for (const auto& [kernel, t] : kernels) {
    for (const std::uint64_t value : {t.launches, t.read, t.written, t.fetched, t.stored})
      text += std::to_string(value) + " ";
    text += name_of(kernel) + "\n";
  }
  return text;
}

} // namespace simt
