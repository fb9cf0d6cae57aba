#include "tree_stencils.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

#include "point2mask/multiarch.hpp"

namespace point2mask::tree {
namespace {

template <typename T, typename Slot>
POINT2MASK_INLINE bool take(const T* __restrict weight, std::int64_t count, Slot slot,
                            T* __restrict lightest, Slot* __restrict slots) {
  using Flag = std::make_unsigned_t<Slot>;
  Flag bad = 0;
  for (std::int64_t x = 0; x < count; ++x) {
    const T w = weight[x];
    bad |= static_cast<Flag>(!(std::abs(w) <= std::numeric_limits<T>::max()));
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
POINT2MASK_INLINE unsigned heaviest_of_square(T left, T right, T top, T bottom) {
  const bool left_leads = left > right, top_leads = top > bottom;
  const T side = left_leads ? left : right, level = top_leads ? top : bottom;
  const unsigned which_side = left_leads ? kLeft : kRight;
  const unsigned which_level = top_leads ? kTop : kBottom;
  return side > level ? which_side : which_level;
}

// Of three edges by id, whose bits these are.
template <typename T>
POINT2MASK_INLINE unsigned heaviest_of_triangle(T a, T b, T c, unsigned bit_a, unsigned bit_b,
                                                unsigned bit_c) {
  const T leader = a > b ? a : b;
  const unsigned leads = a > b ? bit_a : bit_b;
  return leader > c ? leads : bit_c;
}

template <typename T>
POINT2MASK_INLINE void find(const SquareRow<T>& row, std::int64_t count,
                            std::uint8_t* __restrict heaviest) {
  const auto [upright, top, bottom, falling, rising] = row;
  if (falling == nullptr) {
    for (std::int64_t x = 0; x < count; ++x)
      heaviest[x] = static_cast<std::uint8_t>(
          heaviest_of_square(upright[x], upright[x + 1], top[x], bottom[x]));
    return;
  }
  for (std::int64_t x = 0; x < count; ++x) {
    const T l = upright[x], r = upright[x + 1], t = top[x], b = bottom[x];
    const T f = falling[x], g = rising[x];
    heaviest[x] = static_cast<std::uint8_t>(
        heaviest_of_square(l, r, t, b) | heaviest_of_triangle(r, t, f, kRight, kTop, kFalling) |
        heaviest_of_triangle(l, b, f, kLeft, kBottom, kFalling) |
        heaviest_of_triangle(l, t, g, kLeft, kTop, kRising) |
        heaviest_of_triangle(r, b, g, kRight, kBottom, kRising));
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

POINT2MASK_MULTIARCH void find_heaviest(const SquareRow<float>& row, std::int64_t count,
                                        std::uint8_t* heaviest) {
  find(row, count, heaviest);
}
POINT2MASK_MULTIARCH void find_heaviest(const SquareRow<double>& row, std::int64_t count,
                                        std::uint8_t* heaviest) {
  find(row, count, heaviest);
}

POINT2MASK_MULTIARCH void mark_kept(const EdgeRow& row, std::int64_t count,
                                    std::uint8_t* __restrict kept) {
  const EdgeRow r = row;
  const unsigned role = r.role, other_role = r.other_role;
  for (std::int64_t x = 0; x < count; ++x) {
    const bool light = ((r.square[x] & role) | (r.other_square[x] & other_role)) == 0;
    const auto apart = static_cast<std::uint8_t>(r.start[x] != r.end[x]);
    kept[x] = light ? apart : 0;
  }
}

POINT2MASK_MULTIARCH void collect_steps(const std::uint8_t* slots, const Grid& grid,
                                        std::uint8_t* steps) {
  if (grid.slots == 4)
    collect<4>(slots, grid.step, grid.pixels, steps);
  else
    collect<8>(slots, grid.step, grid.pixels, steps);
}

} // namespace point2mask::tree
