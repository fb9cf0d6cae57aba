#include "point2mask/regions.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <queue>
#include <stdexcept>
#include <string>
#include <vector>

#include "point2mask/multiarch.hpp"

namespace point2mask {
namespace {

constexpr std::int64_t kLanes = 8;
// Regions are as many as pixels at most, but in small images they may be numbered with gaps.
constexpr std::int64_t kFewRegions = 65536;

// Sum of (p - q)^2 / (p + q) over normalised histograms; `bins` is a multiple of kLanes. Fixed
// lanes, so that every instruction set adds in the same order.
POINT2MASK_MULTIARCH double chi_square(const float* p, const float* q, double p_scale,
                                       double q_scale, std::int64_t bins) {
  constexpr double kTiny = 1e-300; // makes 0 / 0 a zero and changes nothing else
  std::array<double, kLanes> sums{};
  for (std::int64_t begin = 0; begin < bins; begin += kLanes)
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double a = static_cast<double>(p[begin + lane]) * p_scale;
      const double b = static_cast<double>(q[begin + lane]) * q_scale;
      sums[static_cast<std::size_t>(lane)] += (a - b) * (a - b) / (a + b + kTiny);
    }
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

struct Border {
  std::int32_t region; // on the other side
  double strength;     // sum over the common border
  double length;       // pixel pairs
};

struct Candidate {
  double cost;
  std::int32_t a, b; // a < b
  std::uint32_t a_version, b_version;
  bool operator<(const Candidate& other) const { // std::priority_queue pops the largest
    if (cost != other.cost) return cost > other.cost;
    return a != other.a ? a > other.a : b > other.b;
  }
};

std::string number(double value) { return std::to_string(value); }

[[noreturn]] void reject(const std::string& what) {
  throw std::invalid_argument("merge_regions: " + what);
}

void check_range(const char* name, const std::int32_t* values, std::int64_t count,
                 std::int64_t first, std::int64_t end) {
  for (std::int64_t i = 0; i < count; ++i)
    if (values[i] < first || values[i] >= end)
      reject(std::string(name) + " must lie in [" + std::to_string(first) + ", " +
             std::to_string(end) + "), got " + std::to_string(values[i]));
}

void check(const RegionMerge& m) {
  const std::int64_t pixels = m.height * m.width;
  check_range("regions", m.regions, pixels, 0,
              std::min(m.region_count, std::max(pixels, kFewRegions)));
  check_range("seeds", m.seeds, m.targets * m.points, -1, pixels);
  for (std::int64_t f = 0; f < m.features; ++f) {
    if (m.bin_counts[f] < 1 || m.bin_counts[f] > kMostBins)
      reject("bin_counts must lie in [1, " + std::to_string(kMostBins) + "], got " +
             std::to_string(m.bin_counts[f]));
    check_range("bins", m.bins + f * pixels, pixels, 0, m.bin_counts[f]);
    if (!(m.weights[f] >= 0) || std::isinf(m.weights[f]))
      reject("weights must be finite and not negative, got " + number(m.weights[f]));
  }
  for (std::int64_t i = 0; i < pixels; ++i)
    if (!(m.edge[i] >= 0) || std::isinf(m.edge[i]))
      reject("edge must be finite and not negative, got " + number(m.edge[i]));
  for (std::int64_t k = 0; k < m.targets; ++k)
    if (!(m.reach[k] > 0)) reject("reach must be positive, got " + number(m.reach[k]));
  if (!std::isfinite(m.size_exponent))
    reject("size_exponent must be finite, got " + number(m.size_exponent));
}

// Those above the largest number that occurs have no pixels.
std::size_t used_regions(const RegionMerge& m) {
  const std::int32_t* end = m.regions + m.height * m.width;
  return m.regions == end ? 0 : static_cast<std::size_t>(*std::max_element(m.regions, end)) + 1;
}

class Merger {
 public:
  explicit Merger(const RegionMerge& m)
      : m_(m),
        parent_(used_regions(m)),
        target_(parent_.size(), -1),
        version_(parent_.size(), 0),
        area_(parent_.size(), 0),
        y_(parent_.size(), 0),
        x_(parent_.size(), 0),
        borders_(parent_.size()) {
    std::iota(parent_.begin(), parent_.end(), 0);
    plant_seeds();
    gather_statistics();
    gather_borders();
  }

  void run() {
    for (std::int32_t a = 0; a < static_cast<std::int32_t>(parent_.size()); ++a)
      for (const Border& border : borders_[index(a)])
        if (a < border.region) offer(a, border);
    while (!queue_.empty()) {
      const Candidate c = queue_.top();
      queue_.pop();
      if (version_[index(c.a)] == c.a_version && version_[index(c.b)] == c.b_version)
        merge(c.a, c.b);
    }
  }

  void write_labels() const {
    for (std::int64_t i = 0; i < m_.height * m_.width; ++i)
      m_.labels[i] = target_[index(root(m_.regions[i]))];
  }

 private:
  static std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

  std::int32_t root(std::int32_t region) const {
    while (parent_[index(region)] != region) region = parent_[index(region)];
    return region;
  }

  // All regions that a target's seeds lie in become one from the start.
  void plant_seeds() {
    for (std::int64_t k = 0; k < m_.targets; ++k) {
      std::int32_t first = -1;
      for (std::int64_t p = 0; p < m_.points; ++p) {
        const std::int32_t pixel = m_.seeds[k * m_.points + p];
        if (pixel < 0) continue;
        const std::int32_t region = root(m_.regions[pixel]);
        const std::int32_t owner = target_[index(region)];
        if (owner >= 0 && owner != k)
          reject("seeds of targets " + std::to_string(owner) + " and " + std::to_string(k) +
                 " lie in the same region " + std::to_string(m_.regions[pixel]));
        if (first < 0) first = region;
        const std::int32_t lower = std::min(first, region);
        parent_[index(first)] = parent_[index(region)] = lower;
        first = lower;
        target_[index(first)] = static_cast<std::int32_t>(k);
      }
    }
  }

  void gather_statistics() {
    for (std::int64_t f = 0; f < m_.features; ++f) {
      feature_begin_.push_back(stride_);
      stride_ += (m_.bin_counts[f] + kLanes - 1) / kLanes * kLanes;
    }
    feature_begin_.push_back(stride_);
    histograms_.assign(parent_.size() * index(stride_), 0.0F);
    const std::int64_t pixels = m_.height * m_.width;
    for (std::int64_t i = 0; i < pixels; ++i) {
      const std::size_t r = index(root(m_.regions[i]));
      const std::int64_t y = i / m_.width, x = i % m_.width;
      area_[r] += 1;
      y_[r] += static_cast<double>(y);
      x_[r] += static_cast<double>(x);
      for (std::int64_t f = 0; f < m_.features; ++f)
        histograms_[r * index(stride_) +
                    index(feature_begin_[index(f)] + m_.bins[f * pixels + i])] += 1;
    }
  }

  void gather_borders() {
    for (std::int64_t y = 0; y < m_.height; ++y)
      for (std::int64_t x = 0; x < m_.width; ++x) {
        const std::int64_t i = y * m_.width + x;
        if (x + 1 < m_.width) add_pixel_pair(i, i + 1);
        if (y + 1 < m_.height) add_pixel_pair(i, i + m_.width);
      }
    for (std::vector<Border>& list : borders_) { // one entry a neighbour, in order of its number
      std::stable_sort(list.begin(), list.end(),
                       [](const Border& a, const Border& b) { return a.region < b.region; });
      join_equal(list);
    }
  }

  void add_pixel_pair(std::int64_t i, std::int64_t j) {
    const std::int32_t a = root(m_.regions[i]), b = root(m_.regions[j]);
    if (a == b) return;
    const double strength =
        0.5 * (static_cast<double>(m_.edge[i]) + static_cast<double>(m_.edge[j]));
    borders_[index(a)].push_back({b, strength, 1});
    borders_[index(b)].push_back({a, strength, 1});
  }

  static void join_equal(std::vector<Border>& list) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (kept > 0 && list[kept - 1].region == list[i].region) {
        list[kept - 1].strength += list[i].strength;
        list[kept - 1].length += list[i].length;
      } else {
        list[kept++] = list[i];
      }
    }
    list.resize(kept);
  }

  double square_distance_to_seeds(std::size_t region, std::int64_t k) const {
    const double y = y_[region] / area_[region], x = x_[region] / area_[region];
    double nearest = INFINITY;
    for (std::int64_t p = 0; p < m_.points; ++p) {
      const std::int32_t pixel = m_.seeds[k * m_.points + p];
      if (pixel < 0) continue;
      const std::int64_t row = pixel / m_.width, column = pixel % m_.width;
      const double dy = y - static_cast<double>(row);
      const double dx = x - static_cast<double>(column);
      nearest = std::min(nearest, dy * dy + dx * dx);
    }
    return nearest;
  }

  double cost(std::size_t a, const Border& border) const {
    const std::size_t b = index(border.region);
    const float* p = histograms_.data() + a * index(stride_);
    const float* q = histograms_.data() + b * index(stride_);
    double cost = border.strength / border.length;
    for (std::size_t f = 0; f + 1 < feature_begin_.size(); ++f) {
      const std::int64_t begin = feature_begin_[f];
      cost += m_.weights[f] * 0.5 *
              chi_square(p + begin, q + begin, 1 / area_[a], 1 / area_[b],
                         feature_begin_[f + 1] - begin);
    }
    const double harmonic = area_[a] * area_[b] / (area_[a] + area_[b]);
    cost *= std::pow(harmonic / static_cast<double>(m_.height * m_.width), m_.size_exponent);
    const std::int32_t target = std::max(target_[a], target_[b]);
    if (target >= 0 && std::isfinite(m_.reach[target]))
      cost *= 1 + square_distance_to_seeds(target_[a] < 0 ? a : b, target) /
                      (m_.reach[target] * m_.reach[target]);
    return cost;
  }

  void offer(std::int32_t region, const Border& border) {
    if (target_[index(region)] >= 0 && target_[index(border.region)] >= 0) return;
    const auto [a, b] = std::minmax(region, border.region);
    queue_.push({cost(index(region), border), a, b, version_[index(a)], version_[index(b)]});
  }

  // b joins a (a < b): statistics add up, and every border of the union is weighed anew.
  void merge(std::int32_t a, std::int32_t b) {
    const std::size_t i = index(a), j = index(b);
    parent_[j] = a;
    target_[i] = std::max(target_[i], target_[j]);
    ++version_[i];
    ++version_[j]; // makes every queued candidate of b stale
    area_[i] += area_[j];
    y_[i] += y_[j];
    x_[i] += x_[j];
    for (std::int64_t k = 0; k < stride_; ++k)
      histograms_[i * index(stride_) + index(k)] += histograms_[j * index(stride_) + index(k)];
    join_borders(a, b);
    for (const Border& border : borders_[i]) offer(a, border);
  }

  void join_borders(std::int32_t a, std::int32_t b) {
    std::vector<Border>&mine = borders_[index(a)], &theirs = borders_[index(b)];
    const auto drop = [](std::vector<Border>& list, std::int32_t region) {
      list.erase(find(list, region));
    };
    drop(mine, b);
    drop(theirs, a);
    joined_.clear();
    std::merge(mine.begin(), mine.end(), theirs.begin(), theirs.end(), std::back_inserter(joined_),
               [](const Border& p, const Border& q) { return p.region < q.region; });
    join_equal(joined_);
    for (const Border& border : theirs) { // the neighbours of b now touch a
      std::vector<Border>& list = borders_[index(border.region)];
      drop(list, b);
      const auto at = find(list, a);
      if (at == list.end() || at->region != a) list.insert(at, {a, 0, 0});
    }
    for (const Border& border : joined_) {
      Border& entry = *find(borders_[index(border.region)], a);
      entry.strength = border.strength;
      entry.length = border.length;
    }
    mine.assign(joined_.begin(), joined_.end());
    theirs = {};
  }

  static std::vector<Border>::iterator find(std::vector<Border>& list, std::int32_t region) {
    return std::lower_bound(list.begin(), list.end(), region,
                            [](const Border& border, std::int32_t r) { return border.region < r; });
  }

  const RegionMerge& m_;
  std::vector<std::int32_t> parent_, target_;
  std::vector<std::uint32_t> version_;
  std::vector<double> area_, y_, x_;         // pixels, and sums of their coordinates
  std::int64_t stride_ = 0;                  // floats a region in histograms_
  std::vector<std::int64_t> feature_begin_;  // [F + 1] offsets in a region's histograms
  std::vector<float> histograms_;            // [R, stride] pixels a bin
  std::vector<std::vector<Border>> borders_; // [R] sorted by region
  std::vector<Border> joined_;
  std::priority_queue<Candidate> queue_;
};

} // namespace

void merge_regions(const RegionMerge& m) {
  check(m);
  Merger merger(m);
  merger.run();
  merger.write_labels();
}

} // namespace point2mask
