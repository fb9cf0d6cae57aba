// Tells callgrind where a counted call begins and ends. Does nothing outside valgrind.

#include <valgrind/callgrind.h>

extern "C" {

void begin_count() {
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
}

void end_count(const char* name) {
  CALLGRIND_DUMP_STATS_AT(name);
  CALLGRIND_STOP_INSTRUMENTATION;
}

} // extern "C"
