#pragma once

// One binding serves every device for which this build has an engine.

#include <torch/csrc/stable/library.h>

#include "checks.hpp"
#ifdef POINT2MASK_CUDA
#include "cuda_launch.hpp"
#endif

namespace point2mask::bindings {

// Runs a problem on the device of its tensors, of which `like` is one.
template <typename Problem>
void solve(const char* op, const Tensor& like, const Problem& p) {
#ifdef POINT2MASK_CUDA
  if (like.is_cuda()) return launch(op, like, p);
#endif
  static_cast<void>(op);
  static_cast<void>(like);
  run(p, TorchExecutor());
}

} // namespace point2mask::bindings

// Registers operators for every such device: `implement` takes the library.
#ifdef POINT2MASK_CUDA
#define POINT2MASK_IMPLEMENT(implement)                           \
  STABLE_TORCH_LIBRARY_IMPL(point2mask, CPU, m) { implement(m); } \
  STABLE_TORCH_LIBRARY_IMPL(point2mask, CUDA, m) { implement(m); }
#else
#define POINT2MASK_IMPLEMENT(implement) \
  STABLE_TORCH_LIBRARY_IMPL(point2mask, CPU, m) { implement(m); }
#endif
