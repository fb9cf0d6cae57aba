// Sinkhorn iterations by absorbed scaling (Schmitzer 2019). Every pixel's softmax over the targets
// is kept relative to a reference potential, so an iteration is two multiply-adds an entry and no
// exponential; the reference moves along when the scaling leaves its safe range, and an image with
// an underflowing column does one iteration in the log domain. The trajectory is that of the
// log-domain iteration up to rounding.

#include "point2mask/transport.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <new>
#include <numbers>
#include <vector>

#include "point2mask/parallel.hpp"
#include "transport_inspect.hpp"
#include "transport_kernels.hpp"
#include "transport_problem.hpp"

namespace point2mask {
namespace transport {
namespace {

// Images are iterated together as long as their kernels fit a core's share of the last-level cache.
constexpr std::int64_t kGroupBytes = 4'194'304; // 4 MiB

// A column sum below this fraction of the rows' sum may lack flushed entries that matter.
template <typename T>
const double kUnderflow =
    std::ldexp(1.0, static_cast<int>(kFlush<T>) + std::numeric_limits<T>::digits);

template <typename T, typename Stored>
class Solver {
 public:
  Solver(const Sinkhorn<T, Stored>& s, const Executor& executor)
      : s_(s),
        executor_(executor),
        rows_(s.demand_relaxation, s.epsilon),
        columns_(s.supply_relaxation, s.epsilon),
        relaxed_(rows_.complement > 0),
        scale_(static_cast<T>(std::numbers::log2e / s.epsilon)),
        row_scale_(static_cast<T>(rows_.complement * std::numbers::log2e / s.epsilon)),
        chunks_(chunks_of(s.pixels)),
        padded_((s.pixels + kTile - 1) / kTile * kTile) {}

  void run(const std::vector<ImageMass>& masses) {
    const std::int64_t kernel = padded_ * s_.targets;
    const std::int64_t fitting =
        kGroupBytes / (std::max<std::int64_t>(kernel, 1) * static_cast<std::int64_t>(sizeof(T)));
    const std::int64_t group = std::clamp<std::int64_t>(fitting, 1, s_.images);
    kernel_ = allocate(group * kernel);
    mass_ = allocate(group * padded_);
    row_max_ = allocate(group * padded_);
    weight_ = allocate(relaxed_ ? group * padded_ : 0);
    sums_.resize(static_cast<std::size_t>(group * chunks_ * (s_.targets + 1)));
    column_max_.resize(sums_.size());
    for (std::int64_t first = 0; first < s_.images; first += group) {
      problems_.resize(static_cast<std::size_t>(std::min(group, s_.images - first)));
      for (std::size_t slot = 0; slot < problems_.size(); ++slot) {
        const std::int64_t image = first + static_cast<std::int64_t>(slot);
        problems_[slot].start(s_, image, masses[static_cast<std::size_t>(image)]);
        load_mass(static_cast<std::int64_t>(slot), masses[static_cast<std::size_t>(image)].demand);
      }
      for (std::int64_t i = 0; i < s_.max_iterations && any_running(); ++i) iterate();
      for (const Problem<T>& p : problems_) p.publish(s_);
    }
  }

 private:
  using Flag = bool Problem<T>::*;

  // From the start of a cache line, which no vector of a tile then straddles.
  struct Free {
    void operator()(T* values) const { ::operator delete(values, kCacheLine); }
  };
  using Buffer = std::unique_ptr<T[], Free>;
  static constexpr std::align_val_t kCacheLine{64};

  static Buffer allocate(std::int64_t count) {
    const auto bytes = static_cast<std::size_t>(count) * sizeof(T);
    return Buffer(static_cast<T*>(::operator new(bytes, kCacheLine)));
  }

  bool any_running() const {
    return std::any_of(problems_.begin(), problems_.end(),
                       [](const Problem<T>& p) { return p.running; });
  }

  // body(problem, slot, chunk, scratch) for all chunks of the problems whose flag is set, scratch
  // of `size` values.
  template <typename Body>
  void for_chunks(Flag flag, std::int64_t size, Body body) {
    chosen_.clear();
    for (std::size_t slot = 0; slot < problems_.size(); ++slot)
      if (problems_[slot].*flag) chosen_.push_back(static_cast<std::int64_t>(slot));
    const auto count = static_cast<std::int64_t>(chosen_.size()) * chunks_;
    executor_.for_range(count, 1, [&](std::int64_t begin, std::int64_t end) {
      const Buffer scratch = allocate(size);
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t slot = chosen_[static_cast<std::size_t>(i / chunks_)];
        body(problems_[static_cast<std::size_t>(slot)], slot, i % chunks_, scratch.get());
      }
    });
  }

  std::int64_t pixels(std::int64_t chunk) const {
    return std::min(kChunk, s_.pixels - chunk * kChunk);
  }
  std::int64_t tiles(std::int64_t chunk) const { return (pixels(chunk) + kTile - 1) / kTile; }
  T* kernel(const Problem<T>& p, std::int64_t slot, std::int64_t chunk) const {
    return kernel_.get() + slot * padded_ * s_.targets + chunk * kChunk * p.columns();
  }
  std::int64_t row(std::int64_t slot, std::int64_t chunk) const {
    return slot * padded_ + chunk * kChunk;
  }
  std::int64_t part(std::int64_t slot, std::int64_t chunk) const {
    return (slot * chunks_ + chunk) * (s_.targets + 1);
  }
  Columns<Stored> cost(const Problem<T>& p, std::int64_t chunk) const {
    return {.data = s_.cost + p.image * s_.targets * s_.pixels + chunk * kChunk,
            .stride = s_.pixels,
            .index = p.targets.data(),
            .count = p.columns()};
  }

  // Masses in a unit that makes their mean about 1: a power of two, so nothing is rounded.
  void load_mass(std::int64_t slot, double total) {
    Problem<T>& p = problems_[static_cast<std::size_t>(slot)];
    if (!p.running) return;
    const int exponent = -std::ilogb(total / static_cast<double>(s_.pixels));
    p.log_unit = exponent * std::numbers::ln2;
    const T* demand = s_.demand + p.image * s_.pixels;
    T* mass = mass_.get() + row(slot, 0);
    const double unit = std::ldexp(1.0, exponent);
    constexpr T kSmallest = std::numeric_limits<T>::min();
    for (std::int64_t i = 0; i < s_.pixels; ++i)
      mass[i] = demand[i] > 0 ? std::max(static_cast<T>(demand[i] * unit), kSmallest) : 0;
    std::fill(mass + s_.pixels, mass + padded_, T(0));
  }

  void iterate() {
    for (Problem<T>& p : problems_)
      if (p.absorb) p.set_reference(s_.epsilon);
    if (std::any_of(problems_.begin(), problems_.end(), [](auto& p) { return p.absorb; })) absorb();
    scale();
    if (std::any_of(problems_.begin(), problems_.end(), [](auto& p) { return p.underflow; }))
      log_step();
    for (Problem<T>& p : problems_)
      if (p.running) p.update(s_, columns_.lambda);
  }

  void absorb() {
    for_chunks(&Problem<T>::absorb, 0, [&](auto& p, auto slot, auto chunk, T* /*scratch*/) {
      Absorption<T, Stored> a{.cost = cost(p, chunk),
                              .pixels = pixels(chunk),
                              .reference = p.reference.data(),
                              .scale = scale_,
                              .kernel = kernel(p, slot, chunk),
                              .row_max = row_max_.get() + row(slot, chunk),
                              .mass = mass_.get() + row(slot, chunk),
                              .largest = 0};
      absorb_chunk(a);
      sums_[static_cast<std::size_t>(part(slot, chunk))] = static_cast<double>(a.largest);
    });
    if (relaxed_) {
      for (std::size_t slot = 0; slot < problems_.size(); ++slot) {
        Problem<T>& p = problems_[slot];
        if (!p.absorb) continue;
        p.shift = -kInfinity<T>;
        for (std::int64_t chunk = 0; chunk < chunks_; ++chunk)
          p.shift = std::max(
              p.shift,
              static_cast<T>(
                  sums_[static_cast<std::size_t>(part(static_cast<std::int64_t>(slot), chunk))]));
      }
      for_chunks(&Problem<T>::absorb, 0, [&](auto& p, auto slot, auto chunk, T* /*scratch*/) {
        weigh_rows(RowWeights<T>{.mass = mass_.get() + row(slot, chunk),
                                 .row_max = row_max_.get() + row(slot, chunk),
                                 .count = tiles(chunk) * kTile,
                                 .shift = p.shift,
                                 .scale = row_scale_,
                                 .weight = weight_.get() + row(slot, chunk)});
      });
    }
  }

  void scale() {
    for_chunks(
        &Problem<T>::running, (s_.targets + 1) * kLanes,
        [&](auto& p, auto slot, auto chunk, T* scratch) {
          scale_chunk(Scaling<T>{.kernel = kernel(p, slot, chunk),
                                 .tiles = tiles(chunk),
                                 .columns = p.columns(),
                                 .scaling = p.scaling.data(),
                                 .weight = (relaxed_ ? weight_ : mass_).get() + row(slot, chunk),
                                 .relaxed = relaxed_,
                                 .lambda = static_cast<T>(rows_.lambda),
                                 .lane_sums = scratch});
          double* sums = sums_.data() + part(slot, chunk);
          for (std::int64_t k = 0; k <= p.columns(); ++k) sums[k] = sum_lanes(scratch + k * kLanes);
        });
    for (std::size_t slot = 0; slot < problems_.size(); ++slot)
      if (problems_[slot].running) collect(static_cast<std::int64_t>(slot));
  }

  // Column masses from the chunks' sums, always in the same order.
  void collect(std::int64_t slot) {
    Problem<T>& p = problems_[static_cast<std::size_t>(slot)];
    const std::int64_t columns = p.columns();
    std::vector<double> total(static_cast<std::size_t>(columns + 1));
    for (std::int64_t chunk = 0; chunk < chunks_; ++chunk)
      for (std::int64_t k = 0; k <= columns; ++k)
        total[static_cast<std::size_t>(k)] +=
            sums_[static_cast<std::size_t>(part(slot, chunk) + k)];
    const double rows = total.back() + static_cast<double>(s_.pixels);
    const double log_weight =
        relaxed_ ? static_cast<double>(p.shift) * rows_.complement / s_.epsilon : 0;
    for (std::size_t k = 0; k < p.targets.size(); ++k) {
      p.underflow = p.underflow || !(total[k] > kUnderflow<T> * rows);
      p.log_mass[k] = std::log(total[k]) + p.log_scaling(k, s_.epsilon) + log_weight - p.log_unit;
    }
    if (p.underflow) p.set_reference(s_.epsilon);
  }

  void log_step() {
    // Lane sums and a tile of all columns, and two numbers for every pixel of the chunk.
    const std::int64_t size = s_.targets * (kLanes + kTile) + 2 * kChunk;
    for_chunks(&Problem<T>::underflow, size, [&](auto& p, auto slot, auto chunk, T* scratch) {
      T* tile = scratch + p.columns() * kLanes;
      T* log_rows = tile + p.columns() * kTile;
      log_step_chunk(LogStep<T, Stored>{.cost = cost(p, chunk),
                                        .pixels = pixels(chunk),
                                        .reference = p.reference.data(),
                                        .scaling = p.scaling.data(),
                                        .mass = mass_.get() + row(slot, chunk),
                                        .scale = scale_,
                                        .row_scale = row_scale_,
                                        .lambda = static_cast<T>(rows_.lambda),
                                        .tile = tile,
                                        .log_rows = log_rows,
                                        .row_max = log_rows + kChunk,
                                        .column_max = column_max_.data() + part(slot, chunk),
                                        .lanes = scratch});
      double* sums = sums_.data() + part(slot, chunk);
      for (std::int64_t k = 0; k < p.columns(); ++k) sums[k] = sum_lanes(scratch + k * kLanes);
    });
    for (std::size_t slot = 0; slot < problems_.size(); ++slot)
      if (problems_[slot].underflow) collect_logs(static_cast<std::int64_t>(slot));
  }

  void collect_logs(std::int64_t slot) {
    Problem<T>& p = problems_[static_cast<std::size_t>(slot)];
    for (std::int64_t k = 0; k < p.columns(); ++k) {
      const auto column = static_cast<std::size_t>(k);
      const auto at = [&](std::int64_t c) { return static_cast<std::size_t>(part(slot, c) + k); };
      T largest = std::numeric_limits<T>::lowest();
      for (std::int64_t c = 0; c < chunks_; ++c) largest = std::max(largest, column_max_[at(c)]);
      double sum = 0;
      for (std::int64_t c = 0; c < chunks_; ++c)
        sum += sums_[at(c)] *
               std::exp2(static_cast<double>(column_max_[at(c)]) - static_cast<double>(largest));
      p.log_mass[column] = std::numbers::ln2 * (static_cast<double>(largest) + std::log2(sum)) +
                           p.log_scaling(column, s_.epsilon) - p.log_unit;
    }
  }

  const Sinkhorn<T, Stored>& s_;
  const Executor& executor_;
  const Damping rows_, columns_; // lambda1, lambda2
  const bool relaxed_;           // the demand
  const T scale_, row_scale_;    // log2(e) / epsilon, log2(e) / (rho1 + epsilon)
  const std::int64_t chunks_, padded_;
  // By slot, an image's place in its group.
  std::vector<Problem<T>> problems_;
  Buffer kernel_;                  // [group, padded * columns]
  Buffer mass_, row_max_, weight_; // [group, padded]
  std::vector<double> sums_;       // [group, chunks, columns + 1]
  std::vector<T> column_max_;      // [group, chunks, columns + 1] log2
  std::vector<std::int64_t> chosen_;
};

} // namespace
} // namespace transport

template <typename T, typename Stored>
void run(const Sinkhorn<T, Stored>& s, const Executor& executor) {
  const std::vector<transport::ImageMass> masses = transport::inspect_batch(s, executor);
  if (s.images > 0) transport::Solver<T, Stored>(s, executor).run(masses);
}

#define POINT2MASK_INSTANTIATE(T, Stored) \
  template void run(const Sinkhorn<T, Stored>&, const Executor&);
POINT2MASK_FOR_COSTS(POINT2MASK_INSTANTIATE)
#undef POINT2MASK_INSTANTIATE

} // namespace point2mask
