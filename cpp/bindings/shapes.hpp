#pragma once

// What the torch and the NumPy bindings share: shapes, compared and put into words.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace point2mask::bindings {

// One expected extent: a number that must match, or a name alone where any size will do. Where the
// name is the number (an RGB axis, say "3"), it is written once.
struct Extent {
  const char* name;
  std::int64_t size = -1;
};

// Empty if the shapes agree, else "op: argument must have shape [...], got [...]".
inline std::string shape_error(const char* op, const char* argument,
                               std::initializer_list<Extent> expected,
                               std::span<const std::int64_t> got) {
  const auto fits = [](const Extent& e, std::int64_t size) { return e.size < 0 || size == e.size; };
  if (std::ranges::equal(expected, got, fits)) return {}; // most of the time, without a word
  std::string message(op);
  message.append(": ").append(argument).append(" must have shape [");
  for (const Extent& e : expected) {
    if (&e != expected.begin()) message.append(", ");
    message.append(e.name);
    const bool named = e.name[0] < '0' || e.name[0] > '9';
    if (e.size >= 0 && named) message.append("=").append(std::to_string(e.size));
  }
  message.append("], got [");
  for (std::size_t d = 0; d < got.size(); ++d) {
    if (d) message.append(", ");
    message.append(std::to_string(got[d]));
  }
  message.append("]");
  return message;
}

} // namespace point2mask::bindings
