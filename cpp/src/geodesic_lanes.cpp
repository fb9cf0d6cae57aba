#include "geodesic_lanes.hpp"

#include <cstring>

#include "point2mask/multiarch.hpp"

namespace point2mask::geodesic {
namespace {

// One pixel in every lane: a vector of the GNU dialect (gcc and clang), which stays in a register
// where an array of a scan's carry does not. The compiler picks the instructions of each clone.
template <typename T>
struct Vectors;
template <>
struct Vectors<float> {
  typedef float Pixel __attribute__((vector_size(sizeof(float) * kLanes<float>)));
  typedef std::int32_t Mask __attribute__((vector_size(sizeof(float) * kLanes<float>)));
};
template <>
struct Vectors<double> {
  typedef double Pixel __attribute__((vector_size(sizeof(double) * kLanes<double>)));
  typedef std::int64_t Mask __attribute__((vector_size(sizeof(double) * kLanes<double>)));
};

// A row of distances and what a pass over its columns lowers.
template <typename T>
struct Columns {
  using Pixel = typename Vectors<T>::Pixel;
  using Mask = typename Vectors<T>::Mask;
  T* row;
  std::int64_t begin, end;
  Pixel first, last;
  Mask lowered = {};

  POINT2MASK_INLINE static void load(Pixel& p, const T* from, std::int64_t x) {
    std::memcpy(&p, from + x * kLanes<T>, sizeof p);
  }
  POINT2MASK_INLINE static void relax(Pixel& p, const Pixel& from, T cost) {
    const Pixel d = from + cost;
    p = d < p ? d : p;
  }
  POINT2MASK_INLINE static void relax(Pixel& p, const T* from, std::int64_t x, T cost) {
    Pixel d;
    load(d, from, x);
    relax(p, d, cost);
  }
  POINT2MASK_INLINE static bool any(const Mask& m) {
    std::uint64_t words[sizeof m / sizeof(std::uint64_t)], bits = 0;
    std::memcpy(words, &m, sizeof m);
    for (const std::uint64_t word : words) bits |= word;
    return bits != 0;
  }

  POINT2MASK_INLINE Columns(T* r, std::int64_t b, std::int64_t e) : row(r), begin(b), end(e) {
    load(first, row, begin);
    load(last, row, end - 1);
  }
  POINT2MASK_INLINE void store(std::int64_t x, const Pixel& before, const Pixel& after) {
    lowered |= after < before;
    std::memcpy(row + x * kLanes<T>, &after, sizeof after);
  }
  POINT2MASK_INLINE unsigned result() const {
    if (!any(lowered)) return 0;
    Pixel f, l;
    load(f, row, begin);
    load(l, row, end - 1);
    return kAny | (any(f < first) ? kFirst : 0U) | (any(l < last) ? kLast : 0U);
  }
};

template <typename T>
POINT2MASK_INLINE unsigned pull_columns(T* row, const T* neighbour, const StepsIntoRow<T>& steps,
                                        std::int64_t begin, std::int64_t end, std::int64_t width) {
  using C = Columns<T>;
  const T* const straight = steps.straight;
  const T* const from_left = steps.from_left;
  const T* const from_right = steps.from_right;
  const T* const along = steps.along;
  C columns(row, begin, end);
  const auto border = [&](std::int64_t x) {
    typename C::Pixel before, p;
    C::load(before, row, x);
    p = before;
    C::relax(p, neighbour, x, straight[x]);
    if (x > 0) C::relax(p, neighbour, x - 1, from_left[x - 1]);
    if (x + 1 < width) C::relax(p, neighbour, x + 1, from_right[x + 1]);
    if (x > 0) C::relax(p, row, x - 1, along[x - 1]);
    columns.store(x, before, p);
  };
  std::int64_t x = begin;
  if (x == 0) border(x++);
  typename C::Pixel carry;
  C::load(carry, row, x - 1);
  for (const std::int64_t interior = end < width ? end : width - 1; x < interior; ++x) {
    typename C::Pixel before, p;
    C::load(before, row, x);
    p = before;
    C::relax(p, neighbour, x - 1, from_left[x - 1]);
    C::relax(p, neighbour, x, straight[x]);
    C::relax(p, neighbour, x + 1, from_right[x + 1]);
    C::relax(p, carry, along[x - 1]); // last: only this addition waits for the pixel before
    columns.store(x, before, p);
    carry = p;
  }
  if (x < end) border(x);
  return columns.result();
}

// Step 1 scans right and step -1 left; each column is entered from column x - step.
template <typename T, int Step>
POINT2MASK_INLINE unsigned scan_columns(T* row, const T* cost, std::int64_t begin,
                                        std::int64_t end) {
  using C = Columns<T>;
  C columns(row, begin, end);
  const std::int64_t start = Step > 0 ? begin : end - 1;
  typename C::Pixel carry;
  C::load(carry, row, start - Step);
  for (std::int64_t i = 0, x = start; i < end - begin; ++i, x += Step) {
    typename C::Pixel before, p;
    C::load(before, row, x);
    p = before;
    C::relax(p, carry, cost[x - Step]);
    columns.store(x, before, p);
    carry = p;
  }
  return columns.result();
}

} // namespace

// Clones cannot be templates: one plain function a type.
POINT2MASK_MULTIARCH unsigned pull(float* row, const float* neighbour,
                                   const StepsIntoRow<float>& steps, std::int64_t begin,
                                   std::int64_t end, std::int64_t width) {
  return pull_columns(row, neighbour, steps, begin, end, width);
}
POINT2MASK_MULTIARCH unsigned pull(double* row, const double* neighbour,
                                   const StepsIntoRow<double>& steps, std::int64_t begin,
                                   std::int64_t end, std::int64_t width) {
  return pull_columns(row, neighbour, steps, begin, end, width);
}

POINT2MASK_MULTIARCH unsigned scan_right(float* row, const float* cost, std::int64_t begin,
                                         std::int64_t end) {
  return scan_columns<float, 1>(row, cost, begin, end);
}
POINT2MASK_MULTIARCH unsigned scan_right(double* row, const double* cost, std::int64_t begin,
                                         std::int64_t end) {
  return scan_columns<double, 1>(row, cost, begin, end);
}

POINT2MASK_MULTIARCH unsigned scan_left(float* row, const float* cost, std::int64_t begin,
                                        std::int64_t end) {
  return scan_columns<float, -1>(row, cost, begin, end);
}
POINT2MASK_MULTIARCH unsigned scan_left(double* row, const double* cost, std::int64_t begin,
                                        std::int64_t end) {
  return scan_columns<double, -1>(row, cost, begin, end);
}

} // namespace point2mask::geodesic
