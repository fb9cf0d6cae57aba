#pragma once

#include <cstddef>

namespace point2mask {

// Asks for huge pages where memory is so large that the heap hands it out fresh at every call: what
// is written for the first time then faults once in 2 MiB. Only advice: contents stay.
void prefer_huge_pages(void* memory, std::size_t bytes);

} // namespace point2mask
