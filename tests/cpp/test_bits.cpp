// The operators that promise the same bits on every architecture, on inputs that are made without
// rounding: their digests are written here. What is left out takes exp or log from the machine's
// library, and differs in its last bits.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "point2mask/deformable.hpp"
#include "point2mask/geodesic.hpp"
#include "point2mask/masks.hpp"
#include "point2mask/pairs.hpp"
#include "point2mask/parallel.hpp"
#include "point2mask/tree.hpp"

namespace {

using namespace point2mask;

constexpr std::int64_t kHeight = 29, kWidth = 37, kPixels = kHeight * kWidth;
constexpr std::int64_t kTargets = 11, kChannels = 13;

using Indices = std::vector<std::int32_t>;

// Multiples of 2^-16 in [0, 1), exact in both types: an addition of them is often a tie.
template <typename T>
std::vector<T> uniform(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& v : values) v = static_cast<T>(random() >> 16U) * T(0x1p-16);
  return values;
}

Indices integers(std::int64_t count, std::int32_t below, unsigned seed) {
  std::mt19937 random(seed);
  Indices values(static_cast<std::size_t>(count));
  for (std::int32_t& v : values)
    v = static_cast<std::int32_t>(random() % static_cast<unsigned>(below));
  return values;
}

// FNV-1a of the bytes, least first: the architectures that we know are little-endian.
class Digest {
 public:
  template <typename T>
  Digest& add(const std::vector<T>& values) {
    for (const std::byte b : std::as_bytes(std::span(values)))
      hash_ = (hash_ ^ static_cast<std::uint64_t>(b)) * 0x100000001b3U;
    return *this;
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325U;
};

int failures = 0;

void expect(const std::string& name, const Digest& digest, std::uint64_t expected) {
  if (digest.value() == expected) return;
  ++failures;
  std::printf("FAILED %s: 0x%016llx\n", name.c_str(),
              static_cast<unsigned long long>(digest.value()));
}

template <typename Problem>
void solve(const Problem& p) {
  run(p, SerialExecutor());
}

template <typename T>
std::vector<T> zeros(std::int64_t count) {
  return std::vector<T>(static_cast<std::size_t>(count));
}

template <typename T>
Digest difference(Norm norm) {
  const auto feature = uniform<T>(kChannels * kPixels, 1), upstream = uniform<T>(8 * kPixels, 2);
  auto result = zeros<T>(8 * kPixels), grad = zeros<T>(kChannels * kPixels);
  solve(
      NeighborDifference<T>{feature.data(), 1, kChannels, kHeight, kWidth, 8, norm, result.data()});
  solve(NeighborDifferenceBackward<T>{upstream.data(), feature.data(), result.data(), 1, kChannels,
                                      kHeight, kWidth, 8, norm, grad.data()});
  return Digest().add(result).add(grad);
}

template <typename T>
Digest geodesics() {
  const auto cost = uniform<T>(8 * kPixels, 3), upstream = uniform<T>(kTargets * kPixels, 4);
  const Indices seeds = integers(kTargets, kPixels, 5);
  auto distance = zeros<T>(kTargets * kPixels), grad = zeros<T>(8 * kPixels);
  solve(GeodesicDistance<T>{cost.data(), seeds.data(), 1, kHeight, kWidth, kTargets, 1,
                            distance.data()});
  solve(GeodesicDistanceBackward<T>{upstream.data(), cost.data(), distance.data(), seeds.data(), 1,
                                    kHeight, kWidth, kTargets, 1, grad.data()});
  return Digest().add(distance).add(grad);
}

template <typename T>
Digest trees() {
  const auto edges = uniform<T>(4 * kPixels, 6), feature = uniform<T>(kChannels * kPixels, 7);
  const auto upstream = uniform<T>(kChannels * kPixels, 8), similarity = uniform<T>(kPixels, 9);
  Indices order(kPixels), parent(kPixels), edge(kPixels);
  auto weight = zeros<T>(kPixels), grad_similarity = weight;
  auto output = zeros<T>(kChannels * kPixels), grad_feature = output;
  solve(SpanningTree<T>{edges.data(), 1, 4, kHeight, kWidth, order.data(), parent.data(),
                        edge.data(), weight.data()});
  Digest digest;
  digest.add(order).add(parent).add(edge).add(weight);
  for (const bool normalize : {false, true}) {
    solve(TreeFilter<T>{feature.data(), order.data(), parent.data(), similarity.data(), 1,
                        kChannels, kPixels, normalize, output.data()});
    solve(TreeFilterBackward<T>{upstream.data(), feature.data(), output.data(), order.data(),
                                parent.data(), similarity.data(), 1, kChannels, kPixels, normalize,
                                grad_feature.data(), grad_similarity.data()});
    digest.add(output).add(grad_feature).add(grad_similarity);
  }
  return digest;
}

Digest statistics() {
  Indices labels = integers(kPixels, kTargets + 1, 10);
  for (std::int32_t& label : labels) --label;
  auto area = zeros<std::int64_t>(kTargets);
  auto centroid = zeros<float>(2 * kTargets);
  Indices box(4 * kTargets);
  solve(MaskStatistics{labels.data(), 1, kHeight, kWidth, kTargets, area.data(), centroid.data(),
                       box.data()});
  return Digest().add(area).add(centroid).add(box);
}

template <typename T>
Digest attention() {
  constexpr std::int64_t kShapes[] = {kHeight, kWidth, 5, 7}, kCells = kPixels + 35;
  constexpr std::int64_t kQueries = 41, kHeads = 3, kDepth = 9, kPoints = 2;
  constexpr std::int64_t kReads = kQueries * kHeads * 2 * kPoints;
  const auto value = uniform<T>(kCells * kHeads * kDepth, 11), where = uniform<T>(2 * kReads, 12);
  const auto weight = uniform<T>(kReads, 13), upstream = uniform<T>(kQueries * kHeads * kDepth, 14);
  auto output = zeros<T>(std::ssize(upstream)), grad_value = zeros<T>(std::ssize(value));
  auto grad_where = zeros<T>(std::ssize(where)), grad_weight = zeros<T>(std::ssize(weight));
  solve(DeformableAttention<T>{value.data(), where.data(), weight.data(), kShapes, 1, kCells,
                               kQueries, kHeads, kDepth, 2, kPoints, output.data()});
  solve(DeformableAttentionBackward<T>{upstream.data(), value.data(), where.data(), weight.data(),
                                       kShapes, 1, kCells, kQueries, kHeads, kDepth, 2, kPoints,
                                       grad_value.data(), grad_where.data(), grad_weight.data()});
  return Digest().add(output).add(grad_value).add(grad_where).add(grad_weight);
}

} // namespace

int main() {
  expect("neighbor_difference l1 float", difference<float>(Norm::kL1), 0x168e98587db333ecU);
  expect("neighbor_difference l1 double", difference<double>(Norm::kL1), 0x94e0c67e644ed278U);
  expect("neighbor_difference l2 float", difference<float>(Norm::kL2), 0xd97ee9dce289d55dU);
  expect("neighbor_difference l2 double", difference<double>(Norm::kL2), 0x566a4b34d377a9feU);
  expect("neighbor_difference squared_l2 float", difference<float>(Norm::kSquaredL2),
         0xff61f31f5d1c402aU);
  expect("neighbor_difference squared_l2 double", difference<double>(Norm::kSquaredL2),
         0x1a5afbbf3cf495e4U);
  expect("geodesic_distance float", geodesics<float>(), 0x49176af49bc80cb2U);
  expect("geodesic_distance double", geodesics<double>(), 0x5c285d2ae18b6614U);
  expect("spanning_tree, tree_filter float", trees<float>(), 0xfe6bbe179c72036fU);
  expect("spanning_tree, tree_filter double", trees<double>(), 0x0410a4a071f58f89U);
  expect("mask_statistics", statistics(), 0x414accad417b2393U);
  expect("deformable_attention float", attention<float>(), 0x8ae5d2fa80fcf808U);
  expect("deformable_attention double", attention<double>(), 0xa19c3da09d951ad0U);
  std::printf("%d failed\n", failures);
  return failures;
}
