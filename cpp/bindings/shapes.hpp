#pragma once

// What the torch and the NumPy bindings share: shapes, compared and put into words.

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
  bool same = got.size() == expected.size();
  std::string message(op);
  message.append(": ").append(argument).append(" must have shape [");
  std::size_t i = 0;
  for (const Extent& e : expected) {
    if (i) message.append(", ");
    message.append(e.name);
    const bool named = e.name[0] < '0' || e.name[0] > '9';
    if (e.size >= 0 && named) message.append("=").append(std::to_string(e.size));
    same = same && (e.size < 0 || got[i] == e.size);
    ++i;
  }
  message.append("], got [");
  for (std::size_t d = 0; d < got.size(); ++d) {
    if (d) message.append(", ");
    message.append(std::to_string(got[d]));
  }
  message.append("]");
  return same ? std::string() : message;
}

} // namespace point2mask::bindings
