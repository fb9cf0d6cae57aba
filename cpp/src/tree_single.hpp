#pragma once

// The filter of one channel. Its rows are gathered and scattered along the order itself: the ranks
// and the turning of strips, which serve many channels, took 40% of the time here. Every bit is
// that of the filter of many channels.

#include "point2mask/tree.hpp"

namespace point2mask::tree {

// Of at least one pixel, with similarities that were checked; the order is checked here.
template <typename T>
void filter_single(const TreeFilter<T>& f, const Executor& executor);
template <typename T>
void differentiate_single(const TreeFilterBackward<T>& f, const Executor& executor);

} // namespace point2mask::tree
