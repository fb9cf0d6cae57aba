#pragma once

#include <cstdint>

namespace point2mask {

class Executor;

// Multi-scale deformable attention (Zhu et al., ICLR 2021): every query and head reads P points on
// each of L maps, bilinearly, and adds them up with weights. A map of h x w cells spans the unit
// square; the centre of cell (i, j) lies at ((j + 1/2) / w, (i + 1/2) / h); outside is 0. A point
// that is NaN or farther than a cell outside reads 0.
template <typename T>
struct DeformableAttention {
  const T* value;             // [B, S, M, C], the L maps one after the other, row-major
  const T* where;             // [B, Q, M, L, P, 2], x and y
  const T* weight;            // [B, Q, M, L, P]
  const std::int64_t* shapes; // [L, 2], h and w
  std::int64_t images, cells, queries, heads, channels, levels, points;
  T* output; // [B, Q, M, C]
};

template <typename T>
void run(const DeformableAttention<T>& a, const Executor& executor);

// The gradients of all three inputs. Those of the values are added up in the order of queries,
// levels and points: one thread an image and head.
template <typename T>
struct DeformableAttentionBackward {
  const T* grad_output; // [B, Q, M, C]
  const T* value;
  const T* where;
  const T* weight;
  const std::int64_t* shapes;
  std::int64_t images, cells, queries, heads, channels, levels, points;
  T* grad_value;
  T* grad_where;
  T* grad_weight;
};

template <typename T>
void run(const DeformableAttentionBackward<T>& a, const Executor& executor);

// Throws std::invalid_argument unless the L maps have S cells together: nothing outside of them is
// read. run() calls it, and so must whoever hands a problem to a GPU.
template <typename T>
void check(const DeformableAttention<T>& a);
template <typename T>
void check(const DeformableAttentionBackward<T>& a);

} // namespace point2mask
