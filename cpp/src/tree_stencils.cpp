#include "tree_stencils.hpp"

#include <array>
#include <cmath>
#include <limits>

#include "point2mask/multiarch.hpp"

namespace point2mask::tree {
namespace {

template <typename T, typename Slot>
POINT2MASK_INLINE bool take(const T* __restrict weight, std::int64_t count, Slot slot,
                            T* __restrict lightest, Slot* __restrict slots) {
  Slot bad = 0;
  for (std::int64_t x = 0; x < count; ++x) {
    const T w = weight[x];
    bad |= static_cast<Slot>(!(std::abs(w) <= std::numeric_limits<T>::max()));
    const bool lighter = w < lightest[x];
    lightest[x] = lighter ? w : lightest[x];
    slots[x] = lighter ? slot : slots[x];
  }
  return bad == 0;
}

template <typename Slot>
POINT2MASK_INLINE void narrow_row(const Slot* __restrict slots, std::int64_t count,
                                  std::uint8_t* __restrict narrowed) {
  for (std::int64_t x = 0; x < count; ++x) narrowed[x] = static_cast<std::uint8_t>(slots[x]);
}

template <typename T>
POINT2MASK_INLINE void find(const T* __restrict upright, const T* __restrict top,
                            const T* __restrict bottom, std::int64_t count,
                            std::uint8_t* __restrict heaviest) {
  for (std::int64_t x = 0; x < count; ++x) {
    const T left = upright[x], right = upright[x + 1];
    const bool left_leads = left > right, top_leads = top[x] > bottom[x];
    const T side = left_leads ? left : right, level = top_leads ? top[x] : bottom[x];
    const std::uint8_t which_side = left_leads ? kLeft : kRight;
    const std::uint8_t which_level = top_leads ? kTop : kBottom;
    heaviest[x] = side > level ? which_side : which_level;
  }
}

template <unsigned kSlots>
POINT2MASK_INLINE void collect(const std::uint8_t* __restrict slots,
                               const std::array<std::int32_t, 8>& step, std::int64_t pixels,
                               std::uint8_t* __restrict steps) {
  for (std::int64_t p = 0; p < pixels; ++p) {
    unsigned set = 0;
    for (unsigned slot = 0; slot < kSlots; ++slot) {
      const bool taken = (slots[p] == slot) | (slots[p + step[slot]] == (slot ^ 1U));
      set |= taken ? 1U << slot : 0U;
    }
    steps[p] = static_cast<std::uint8_t>(set);
  }
}

} // namespace

POINT2MASK_MULTIARCH bool take_lighter(const float* weight, std::int64_t count, std::int32_t slot,
                                       float* lightest, std::int32_t* slots) {
  return take(weight, count, slot, lightest, slots);
}
POINT2MASK_MULTIARCH bool take_lighter(const double* weight, std::int64_t count, std::int64_t slot,
                                       double* lightest, std::int64_t* slots) {
  return take(weight, count, slot, lightest, slots);
}

POINT2MASK_MULTIARCH void narrow(const std::int32_t* slots, std::int64_t count,
                                 std::uint8_t* narrowed) {
  narrow_row(slots, count, narrowed);
}
POINT2MASK_MULTIARCH void narrow(const std::int64_t* slots, std::int64_t count,
                                 std::uint8_t* narrowed) {
  narrow_row(slots, count, narrowed);
}

POINT2MASK_MULTIARCH void find_heaviest(const float* upright, const float* top, const float* bottom,
                                        std::int64_t count, std::uint8_t* heaviest) {
  find(upright, top, bottom, count, heaviest);
}
POINT2MASK_MULTIARCH void find_heaviest(const double* upright, const double* top,
                                        const double* bottom, std::int64_t count,
                                        std::uint8_t* heaviest) {
  find(upright, top, bottom, count, heaviest);
}

POINT2MASK_MULTIARCH void mark_kept(const EdgeRow& row, std::int64_t count,
                                    std::uint8_t* __restrict kept) {
  const EdgeRow r = row;
  for (std::int64_t x = 0; x < count; ++x)
    kept[x] = static_cast<std::uint8_t>(
        (r.square[x] != r.role) & (r.other_square[x] != r.other_role) & (r.start[x] != r.end[x]));
}

POINT2MASK_MULTIARCH void collect_steps(const std::uint8_t* slots, const Grid& grid,
                                        std::uint8_t* steps) {
  if (grid.slots == 4)
    collect<4>(slots, grid.step, grid.pixels, steps);
  else
    collect<8>(slots, grid.step, grid.pixels, steps);
}

} // namespace point2mask::tree
