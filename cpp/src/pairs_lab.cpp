#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "pairs_lab_rows.hpp"
#include "pairs_window.hpp"
#include "point2mask/pairs.hpp"

namespace point2mask {
namespace {

constexpr const char* kOp = "lab_affinity_loss";

template <typename T>
std::vector<T> zeros(std::int64_t size) {
  return std::vector<T>(static_cast<std::size_t>(size));
}

// What both directions know of their input.
template <typename T>
struct Problem {
  const T* logits;
  const T* lab;
  const bool* valid;
  std::int64_t channels, height, width, plane;
  T limit; // largest squared colour distance of a near pair
  HalfWindow window;

  template <typename Arguments>
  explicit Problem(const Arguments& p)
      : logits(p.logits),
        lab(p.lab),
        valid(p.valid),
        channels(p.channels),
        height(p.height),
        width(p.width),
        plane(p.height * p.width),
        window(p.kernel_size, p.dilation, p.height, p.width) {
    const double radius = -p.theta * std::log(p.threshold);
    // Finite, so that colours in the padding, which are infinite, are never near.
    limit = static_cast<T>(
        std::min(radius * radius, static_cast<double>(std::numeric_limits<T>::max())));
  }
};

// A ring of the last rows of one image: padded class probabilities and colours.
template <typename T>
class PreparedRows {
 public:
  PreparedRows(const Problem<T>& problem, std::int64_t capacity)
      : p_(problem),
        capacity_(std::min(capacity, problem.height)),
        stride_(problem.width + 2 * problem.window.reach_x),
        probability_(zeros<T>(capacity_ * p_.channels * stride_)),
        lab_(static_cast<std::size_t>(capacity_ * 3 * stride_), kFar),
        scratch_(zeros<T>(3 * p_.width)) {}

  std::int64_t stride() const { return stride_; }
  const T* probability(std::int64_t y) const {
    return probability_.data() + y % capacity_ * p_.channels * stride_ + p_.window.reach_x;
  }
  const T* lab(std::int64_t y) const {
    return lab_.data() + y % capacity_ * 3 * stride_ + p_.window.reach_x;
  }

  void start(std::int64_t image, std::int64_t y) {
    image_ = image;
    next_ = y;
  }
  // Makes the rows up to `last` (or the image's last) available. Throws for values not finite.
  void prepare_to(std::int64_t last) {
    for (; next_ <= std::min(last, p_.height - 1); ++next_) prepare(next_);
  }

 private:
  // The colour of padding and of invalid pixels: never near any other, itself included.
  static constexpr T kFar = std::numeric_limits<T>::infinity();

  void prepare(std::int64_t y) {
    const std::int64_t slot = y % capacity_, reach = p_.window.reach_x;
    const bool* valid = p_.valid == nullptr ? nullptr : p_.valid + image_ * p_.plane + y * p_.width;
    bool finite = softmax_row(
        SoftmaxRow<T>{p_.logits + image_ * p_.channels * p_.plane + y * p_.width, p_.channels,
                      p_.plane, p_.width, stride_, valid,
                      probability_.data() + slot * p_.channels * stride_ + reach, scratch_.data()});
    if (!finite) reject("logits");
    for (std::int64_t c = 0; c < 3; ++c) {
      const T* from = p_.lab + (image_ * 3 + c) * p_.plane + y * p_.width;
      T* to = lab_.data() + (slot * 3 + c) * stride_ + reach;
      for (std::int64_t x = 0; x < p_.width; ++x) {
        const bool used = valid == nullptr || valid[x];
        finite = finite && (!used || std::abs(from[x]) < kFar);
        to[x] = used ? from[x] : kFar;
      }
    }
    if (!finite) reject("lab");
  }

  [[noreturn]] void reject(const char* argument) const {
    throw std::invalid_argument(std::string(kOp) + ": " + argument +
                                " must be finite, got NaN or infinity in image " +
                                std::to_string(image_));
  }

  const Problem<T>& p_;
  std::int64_t capacity_, stride_, image_ = 0, next_ = 0;
  std::vector<T> probability_; // [capacity, C, stride]
  std::vector<T> lab_;         // [capacity, 3, stride]
  std::vector<T> scratch_;
};

template <typename T>
double log_sum_exp(const T* a, std::int64_t channels, std::int64_t plane) {
  double high = static_cast<double>(a[0]), sum = 0;
  for (std::int64_t c = 1; c < channels; ++c)
    high = std::max(high, static_cast<double>(a[c * plane]));
  for (std::int64_t c = 0; c < channels; ++c)
    sum += std::exp(static_cast<double>(a[c * plane]) - high);
  return high + std::log(sum);
}

// log sum_c exp(a_c + b_c) in double: the way of the pairs whose dot product underflows.
template <typename T>
double log_sum_exp(const T* a, const T* b, std::int64_t channels, std::int64_t plane) {
  std::vector<double> sum(static_cast<std::size_t>(channels));
  for (std::int64_t c = 0; c < channels; ++c)
    sum[static_cast<std::size_t>(c)] =
        static_cast<double>(a[c * plane]) + static_cast<double>(b[c * plane]);
  return log_sum_exp(sum.data(), channels, 1);
}

// --- forward ---------------------------------------------------------------------------------

struct Partial {
  double total = 0;
  std::int64_t pairs = 0;
};

template <typename T>
class Scorer {
 public:
  explicit Scorer(const Problem<T>& problem)
      : p_(problem),
        rows_(problem, problem.window.reach_y + 1),
        dot_(zeros<T>(problem.width)),
        near_(zeros<T>(problem.width)),
        total_(zeros<double>(problem.width)),
        count_(zeros<std::int32_t>(problem.width)) {}

  Partial operator()(std::int64_t image, std::int64_t begin, std::int64_t end) {
    std::fill(total_.begin(), total_.end(), 0.0);
    Partial sum;
    rows_.start(image, begin);
    for (std::int64_t y = begin; y < end; ++y) {
      rows_.prepare_to(y + p_.window.reach_y);
      std::fill(count_.begin(), count_.end(), 0);
      for (const PairOffset& o : p_.window.offsets)
        if (y + o.dy < p_.height) add(image, y, o);
      for (const std::int32_t count : count_) sum.pairs += count;
    }
    for (const double total : total_) sum.total += total;
    return sum;
  }

 private:
  void add(std::int64_t image, std::int64_t y, const PairOffset& o) {
    const std::int64_t there = y + o.dy;
    if (!near_row(rows_.lab(y), rows_.lab(there) + o.dx, rows_.stride(), p_.width, p_.limit,
                  near_.data()))
      return;
    dot_row(rows_.probability(y), rows_.probability(there) + o.dx, p_.channels, rows_.stride(),
            p_.width, dot_.data());
    if (!score_row(dot_.data(), near_.data(), p_.width, total_.data(), count_.data())) return;
    const T* logits = p_.logits + image * p_.channels * p_.plane + y * p_.width;
    for (std::int64_t x = 0; x < p_.width; ++x) {
      const auto i = static_cast<std::size_t>(x);
      if (near_[i] == 0 || dot_[i] >= kTinyDot<T>) continue;
      const T* a = logits + x;
      const T* b = a + o.dy * p_.width + o.dx;
      total_[i] += log_sum_exp(a, p_.channels, p_.plane) + log_sum_exp(b, p_.channels, p_.plane) -
                   log_sum_exp(a, b, p_.channels, p_.plane);
    }
  }

  const Problem<T>& p_;
  PreparedRows<T> rows_;
  std::vector<T> dot_, near_;
  std::vector<double> total_; // [W] summed over the rows of the band: a fixed order of addition
  std::vector<std::int32_t> count_;
};

// --- backward --------------------------------------------------------------------------------

// Gathers: every row's gradient is the sum over its neighbours above, beside and below, so bands
// share no output. A pair's weight is found once a band, when its upper row is reached.
template <typename T>
class Differentiator {
 public:
  Differentiator(const Problem<T>& problem, T* grad_logits)
      : p_(problem),
        grad_logits_(grad_logits),
        rows_(problem, 2 * problem.window.reach_y + 1),
        capacity_(problem.window.reach_y + 1),
        offsets_(static_cast<std::int64_t>(problem.window.offsets.size())),
        weight_(zeros<T>(capacity_ * offsets_ * rows_.stride())),
        near_(zeros<T>(capacity_ * offsets_ * rows_.stride())),
        tiny_(zeros<char>(capacity_ * offsets_)),
        dot_(zeros<T>(2 * problem.width)) {}

  void operator()(std::int64_t image, std::int64_t begin, std::int64_t end, T scale) {
    const std::int64_t first = std::max<std::int64_t>(0, begin - p_.window.reach_y);
    rows_.start(image, first);
    for (std::int64_t y = first; y < end; ++y) {
      rows_.prepare_to(y + p_.window.reach_y);
      for (std::int64_t k = 0; k < offsets_; ++k) {
        const std::int64_t there = y + offset(k).dy;
        if (there < p_.height && there >= begin) weigh(y, k);
      }
      if (y >= begin) gather(image, y, scale);
    }
  }

 private:
  const PairOffset& offset(std::int64_t k) const {
    return p_.window.offsets[static_cast<std::size_t>(k)];
  }
  std::int64_t slot(std::int64_t y, std::int64_t k) const { return y % capacity_ * offsets_ + k; }
  // Where the row of pairs that leave row y by offset k begins.
  std::int64_t start(std::int64_t y, std::int64_t k) const {
    return slot(y, k) * rows_.stride() + p_.window.reach_x;
  }

  void weigh(std::int64_t y, std::int64_t k) {
    const PairOffset o = offset(k);
    T* weight = weight_.data() + start(y, k);
    T* near = near_.data() + start(y, k);
    char& tiny = tiny_[static_cast<std::size_t>(slot(y, k))];
    tiny = 0;
    if (near_row(rows_.lab(y), rows_.lab(y + o.dy) + o.dx, rows_.stride(), p_.width, p_.limit,
                 near)) {
      dot_row(rows_.probability(y), rows_.probability(y + o.dy) + o.dx, p_.channels, rows_.stride(),
              p_.width, dot_.data());
      tiny = weigh_row(dot_.data(), near, p_.width, weight) ? 1 : 0;
    } else {
      std::fill_n(weight, p_.width, T(0));
    }
  }

  void gather(std::int64_t image, std::int64_t y, T scale) {
    neighbors_.clear();
    for (std::int64_t k = 0; k < offsets_; ++k) {
      const auto [dy, dx] = offset(k);
      if (y + dy < p_.height) add_neighbor(y, k, 0, dy, dx, y + dy);
      if (y - dy >= 0) add_neighbor(y - dy, k, -dx, -dy, -dx, y - dy);
    }
    T* grad = grad_logits_ + image * p_.channels * p_.plane + y * p_.width;
    gather_row(GatherRow<T>{neighbors_.data(), static_cast<std::int64_t>(neighbors_.size()),
                            p_.channels, p_.plane, p_.width, rows_.stride(), rows_.probability(y),
                            scale, dot_.data(), grad});
    for (const Neighbor<T>& n : neighbors_)
      if (n.tiny) gather_tiny(n, p_.logits + (grad - grad_logits_), scale, grad);
  }

  // The neighbours of row y in row `there` by pairs that leave row `from`, read at x + shift.
  void add_neighbor(std::int64_t from, std::int64_t k, std::int64_t shift, std::int64_t dy,
                    std::int64_t dx, std::int64_t there) {
    neighbors_.push_back({weight_.data() + start(from, k) + shift,
                          near_.data() + start(from, k) + shift, rows_.probability(there) + dx, dy,
                          dx, tiny_[static_cast<std::size_t>(slot(from, k))] != 0});
  }

  void gather_tiny(const Neighbor<T>& n, const T* logits, T scale, T* grad) const {
    for (std::int64_t x = 0; x < p_.width; ++x) {
      if (n.near[x] == 0 || n.weight[x] != 0) continue;
      const T* a = logits + x;
      const T* b = a + n.dy * p_.width + n.dx;
      const double whole = log_sum_exp(a, b, p_.channels, p_.plane);
      for (std::int64_t c = 0; c < p_.channels; ++c) {
        const std::int64_t i = c * p_.plane;
        const double joint = static_cast<double>(a[i]) + static_cast<double>(b[i]);
        grad[i + x] -= scale * static_cast<T>(std::exp(joint - whole));
      }
    }
  }

  const Problem<T>& p_;
  T* grad_logits_;
  PreparedRows<T> rows_;
  std::int64_t capacity_, offsets_;
  std::vector<T> weight_, near_; // [capacity, offsets, stride], zero in the padding
  std::vector<char> tiny_;       // [capacity, offsets]
  std::vector<T> dot_;
  std::vector<Neighbor<T>> neighbors_;
};

} // namespace

template <typename T>
void run(const LabAffinityLoss<T>& p, const Executor& executor) {
  check(p);
  const Problem<T> problem(p);
  const Bands bands(p.images, p.width == 0 ? 0 : p.height, problem.window.reach_y);
  std::vector<Partial> partial(static_cast<std::size_t>(p.images * bands.count));
  bands.run(
      executor, [&] { return Scorer<T>(problem); },
      [&](Scorer<T>& score, std::int64_t image, std::int64_t begin, std::int64_t end,
          std::int64_t band) {
        partial[static_cast<std::size_t>(band)] = score(image, begin, end);
      });
  for (std::int64_t image = 0; image < p.images; ++image) {
    Partial sum;
    for (std::int64_t b = 0; b < bands.count; ++b) {
      const Partial& one = partial[static_cast<std::size_t>(image * bands.count + b)];
      sum.total += one.total;
      sum.pairs += one.pairs;
    }
    p.pairs[image] = sum.pairs;
    p.loss[image] =
        sum.pairs == 0 ? T(0) : static_cast<T>(sum.total / static_cast<double>(sum.pairs));
  }
}

template <typename T>
void run(const LabAffinityLossBackward<T>& p, const Executor& executor) {
  check(p);
  const Problem<T> problem(p);
  const Bands bands(p.images, p.width == 0 ? 0 : p.height, problem.window.reach_y);
  bands.run(
      executor, [&] { return Differentiator<T>(problem, p.grad_logits); },
      [&](Differentiator<T>& differentiate, std::int64_t image, std::int64_t begin,
          std::int64_t end, std::int64_t /*band*/) {
        const std::int64_t pairs = p.pairs[image];
        const T scale = pairs == 0 ? T(0) : p.grad_loss[image] / static_cast<T>(pairs);
        differentiate(image, begin, end, scale);
      });
}

template void run(const LabAffinityLoss<float>&, const Executor&);
template void run(const LabAffinityLoss<double>&, const Executor&);
template void run(const LabAffinityLossBackward<float>&, const Executor&);
template void run(const LabAffinityLossBackward<double>&, const Executor&);

} // namespace point2mask
