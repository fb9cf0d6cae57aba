#include <algorithm>

#include "point2mask/cuda.hpp"
#include "point2mask/scratch.hpp"
#include "tree_order.cuh"

namespace point2mask::cuda {
namespace {

using namespace tree; // NOLINT(google-build-using-namespace)

constexpr Word kNoKey = ~Word{0};
constexpr int kTeamThreads = 256;

// Boruvka's algorithm on one image: in every round each component takes its lightest edge to
// another one. A component is named by one of its pixels, its root. A root that joins another
// component lends the edge it joined by its number.
template <typename T>
struct Boruvka {
  const T* edge_weight;
  TreeEdges tree;
  std::int32_t* component; // [N] each pixel's root at the start of the round
  std::int32_t* joined;    // [N] the same at its end
  Word* key;               // [N] of a root: its lightest edge. float: weight and edge id;
  unsigned* id;            // [N] double: the key is the weight alone, the id lies here
  std::int32_t* left;      // [rounds + 1] components at the start of each round
};

// As one number for float, in two steps for double, whose bits leave no room for the id.
template <typename T>
constexpr bool kOneStep = sizeof(T) == 4;

struct Candidate {
  Word weight; // ordered bits
  std::int32_t edge = -1;
};

// The lightest edge from a pixel to another component; slots come in increasing edge id.
template <typename T>
__device__ __forceinline__ Candidate lightest_edge(const Boruvka<T>& b, std::int32_t pixel) {
  const Grid& grid = b.tree.grid;
  const std::int32_t own = b.component[pixel];
  Candidate best{kNoKey};
  for (int slot = 0; slot < grid.slots; ++slot) {
    if (!grid.has_neighbor(pixel, slot)) continue;
    if (b.component[grid.neighbor(pixel, slot)] == own) continue;
    const std::int32_t edge = grid.edge_id(pixel, slot);
    const Word bits = ordered_bits(__ldg(b.edge_weight + edge));
    if (best.edge >= 0 && bits >= best.weight) continue;
    best.weight = bits;
    best.edge = edge;
  }
  return best;
}

// A pixel offers its lightest edge to its component. Most offers are too heavy: look first.
template <typename T>
__device__ __forceinline__ void offer(const Boruvka<T>& b, std::int32_t pixel) {
  const Candidate best = lightest_edge(b, pixel);
  if (best.edge < 0) return;
  const Word key = kOneStep<T> ? best.weight << 32 | static_cast<Word>(best.edge) : best.weight;
  Word* const lightest = b.key + b.component[pixel];
  if (key < load_relaxed(lightest)) atomicMin(lightest, key);
}

// The second step: of the edges that are as light as the lightest one, that of smallest id.
template <typename T>
__device__ __forceinline__ void offer_id(const Boruvka<T>& b, std::int32_t pixel) {
  const Candidate best = lightest_edge(b, pixel);
  const std::int32_t root = b.component[pixel];
  if (best.edge < 0 || best.weight != b.key[root]) return;
  atomicMin(b.id + root, static_cast<unsigned>(best.edge));
}

// The id of a root's lightest edge. Every component has one until a single one is left.
template <typename T>
__device__ __forceinline__ std::int32_t chosen_edge(const Boruvka<T>& b, std::int32_t root) {
  return static_cast<std::int32_t>(kOneStep<T> ? static_cast<unsigned>(b.key[root]) : b.id[root]);
}

// Joins a root to the component behind its lightest edge, unless both chose the same edge and the
// root is the smaller one. Returns the pixel's link: a root's new root, another pixel's old one.
template <typename T>
__device__ __forceinline__ std::int32_t join(const Boruvka<T>& b, std::int32_t pixel) {
  const TreeEdges& tree = b.tree;
  const std::int32_t root = b.component[pixel];
  if (root != pixel) return root;
  const std::int32_t edge = chosen_edge(b, root);
  const Ends ends = ends_of(tree.grid, edge);
  const std::int32_t first = b.component[ends.first];
  const std::int32_t other = first == root ? b.component[ends.second] : first;
  if (root < other && chosen_edge(b, other) == edge) return root;
  tree.edge[root] = edge;
  tree.number[edge] = root;
  atomicOr(tree.slots + ends.first, 1U << ends.slot);
  atomicOr(tree.slots + ends.second, 1U << (ends.slot ^ 1));
  return other;
}

// Joins all roots, and counts those that stay for the next round.
template <typename T>
__device__ __forceinline__ void join_all(const Boruvka<T>& b, const Team& team, int round) {
  // All threads of a block go round together, for the barrier that counts.
  for (std::int64_t begin = team.thread - threadIdx.x; begin < b.tree.grid.pixels;
       begin += team.threads) {
    const std::int64_t i = begin + threadIdx.x;
    bool stays = false;
    if (i < b.tree.grid.pixels) {
      const std::int32_t link = join(b, static_cast<std::int32_t>(i));
      b.joined[i] = link;
      stays = link == i;
    }
    const int count = __syncthreads_count(stays);
    if (threadIdx.x == 0 && count > 0) atomicAdd(b.left + round + 1, count);
  }
}

// Follows the links to the roots that are left; see follow().
__device__ __forceinline__ void follow_links(std::int32_t* link, std::int64_t pixels,
                                             const Team& team) {
  for (bool moved = true; moved;) {
    moved = false;
    for (std::int64_t i = team.thread; i < pixels; i += team.threads) {
      const std::int32_t here = load_relaxed(link + i);
      const std::int32_t there = load_relaxed(link + here);
      if (there == here) continue;
      store_relaxed(link + i, there);
      moved = true;
    }
  }
}

// Finds the tree. Its components are of no use afterwards: their arrays serve again.
template <typename T>
__device__ __forceinline__ void grow(Boruvka<T>& b, Team& team, int rounds) {
  const std::int32_t pixels = b.tree.grid.pixels;
  team.for_each(pixels, [&](std::int64_t i) {
    b.component[i] = static_cast<std::int32_t>(i);
    b.tree.slots[i] = 0;
    b.tree.edge[i] = -1;
    if (i <= rounds) b.left[i] = i == 0 ? pixels : 0;
  });
  for (int round = 0;; ++round) {
    team.for_each(pixels, [&](std::int64_t i) {
      b.key[i] = kNoKey;
      if (!kOneStep<T>) b.id[i] = ~0U;
    });
    team.barrier.wait();
    if (round == rounds || b.left[round] <= 1) return;
    team.for_each(pixels, [&](std::int64_t i) { offer(b, static_cast<std::int32_t>(i)); });
    team.barrier.wait();
    if constexpr (!kOneStep<T>) {
      team.for_each(pixels, [&](std::int64_t i) { offer_id(b, static_cast<std::int32_t>(i)); });
      team.barrier.wait();
    }
    join_all(b, team, round);
    team.barrier.wait();
    follow_links(b.joined, pixels, team);
    std::int32_t* const links = b.joined;
    b.joined = b.component;
    b.component = links;
  }
}

// Rounds that reduce any number of pixels to one component: each at least halves them.
std::int32_t rounds_for(std::int64_t pixels) {
  std::int32_t rounds = 0;
  while (std::int64_t{1} << rounds < pixels) ++rounds;
  return rounds;
}

// Scratch memory, and how a launch divides the work: a team of blocks an image, and each team every
// teams'th image.
template <typename T>
struct Arrays {
  unsigned* slots;                  // [B, N]; all others also as above, for every image
  std::int32_t *edge, *number;      // [B, N], [B, D, N]
  std::int32_t *component, *joined; // [B, N]
  Word *key, *tour;                 // [B, N], [B, 2 N]
  unsigned* id;                     // [B, N] or nullptr
  std::int32_t* left;               // [B, rounds + 1]
  unsigned long long* arrived;      // [B, kCounterStride]
  std::int32_t rounds;
  std::int64_t team_blocks = 1;
};

template <typename T>
Arrays<T> arrays_in(Scratch& memory, const SpanningTree<T>& p) {
  const std::int64_t pixels = p.height * p.width, entries = p.images * pixels;
  Arrays<T> a;
  a.slots = memory.take<unsigned>(entries);
  a.edge = memory.take<std::int32_t>(entries);
  a.number = memory.take<std::int32_t>(entries * p.directions);
  a.rounds = rounds_for(pixels);
  a.component = memory.take<std::int32_t>(entries);
  a.joined = memory.take<std::int32_t>(entries);
  a.key = memory.take<Word>(entries);
  a.id = memory.take<unsigned>(kOneStep<T> ? 0 : entries);
  a.left = memory.take<std::int32_t>(p.images * (a.rounds + 1));
  a.tour = memory.take<Word>(2 * entries);
  a.arrived = memory.take<unsigned long long>(p.images * kCounterStride);
  return a;
}

template <typename T>
__global__ void __launch_bounds__(kTeamThreads, 3)
    spanning_tree_kernel(SpanningTree<T> p, Arrays<T> a) {
  const std::int64_t own = blockIdx.x / a.team_blocks, teams = gridDim.x / a.team_blocks;
  Team team{blockIdx.x % a.team_blocks * blockDim.x + threadIdx.x,
            a.team_blocks * blockDim.x,
            {a.arrived + own * kCounterStride, a.team_blocks}};
  const auto pixels = static_cast<std::int32_t>(p.height * p.width);
  const Grid grid{static_cast<std::int32_t>(p.height), static_cast<std::int32_t>(p.width), pixels,
                  static_cast<int>(2 * p.directions)};
  for (std::int64_t image = own; image < p.images; image += teams) {
    const std::int64_t base = image * pixels;
    const T* const edge_weight = p.edge_weight + base * p.directions;
    Boruvka<T> b{edge_weight,
                 {grid, a.slots + base, a.edge + base, a.number + base * p.directions},
                 a.component + base,
                 a.joined + base,
                 a.key + base,
                 kOneStep<T> ? nullptr : a.id + base,
                 a.left + image * (a.rounds + 1)};
    grow(b, team, a.rounds);
    const RootedOrder order{b.tree, a.tour + 2 * base, b.key, b.component, b.joined};
    write_order(order, team, edge_weight, p.order + base, p.parent + base, p.edge + base,
                p.weight + base);
  }
}

} // namespace

template <typename T>
std::int64_t scratch_bytes(const SpanningTree<T>& p) {
  Scratch memory;
  arrays_in(memory, p);
  return memory.bytes();
}

template <typename T>
cudaError_t run(const SpanningTree<T>& p, void* scratch, cudaStream_t stream) {
  if (p.images == 0 || p.height == 0 || p.width == 0) return cudaSuccess;
  Scratch memory(scratch);
  Arrays<T> a = arrays_in(memory, p);
  std::int64_t resident = 0;
  cudaError_t status = resident_blocks(spanning_tree_kernel<T>, kTeamThreads, 0, &resident);
  if (status != cudaSuccess) return status;
  const std::int64_t useful = blocks_for(p.height * p.width, kTeamThreads);
  a.team_blocks = std::clamp<std::int64_t>(resident / p.images, 1, useful);
  const std::int64_t teams = std::min(resident / a.team_blocks, p.images);
  const auto counters = static_cast<std::size_t>(teams * kCounterStride);
  status = fill_with_zeros(a.arrived, counters * sizeof(unsigned long long), stream);
  if (status != cudaSuccess) return status;
  return launch_together(spanning_tree_kernel<T>,
                         dim3(static_cast<unsigned>(teams * a.team_blocks)), dim3(kTeamThreads), 0,
                         stream, p, a);
}

template std::int64_t scratch_bytes(const SpanningTree<float>&);
template std::int64_t scratch_bytes(const SpanningTree<double>&);
template cudaError_t run(const SpanningTree<float>&, void*, cudaStream_t);
template cudaError_t run(const SpanningTree<double>&, void*, cudaStream_t);

} // namespace point2mask::cuda
