// The launchers of the tree kernels under C names, for ctypes; one set a dtype.

#include <cstdlib>
#include <cstring>
#include <memory>

#include "point2mask/tree_cuda.hpp"

namespace cuda = point2mask::cuda;
using std::int32_t;
using std::int64_t;

namespace {

// Launches with scratch of exactly the size asked for, which starts as anything.
template <typename Problem, typename Bytes, typename Launch>
int with_scratch(Problem problem, Bytes bytes, Launch launch) {
  const auto size = static_cast<std::size_t>(bytes(problem));
  const std::unique_ptr<void, void (*)(void*)> memory(std::aligned_alloc(256, size), std::free);
  std::memset(memory.get(), 0xa5, size);
  problem.scratch = memory.get();
  return launch(problem, nullptr);
}

} // namespace

#define POINT2MASK_ENTRIES(T)                                                                     \
  int spanning_tree_##T(const T* edge_weight, int64_t images, int64_t directions, int64_t height, \
                        int64_t width, int32_t* order, int32_t* parent, int32_t* edge,            \
                        T* weight) {                                                              \
    return with_scratch(cuda::SpanningTree<T>{edge_weight, images, directions, height, width,     \
                                              nullptr, order, parent, edge, weight},              \
                        cuda::spanning_tree_scratch_bytes<T>, cuda::spanning_tree<T>);            \
  }

extern "C" {

POINT2MASK_ENTRIES(float)
POINT2MASK_ENTRIES(double)

} // extern "C"
