#include "point2mask/cuda.hpp"
#include "point2mask/scratch.hpp"
#include "point2mask/tree_grid.cuh"

namespace point2mask::cuda {
namespace {

using namespace tree; // NOLINT(google-build-using-namespace)

constexpr Word kNoKey = ~Word{0};

// Boruvka's algorithm: in every round each component takes its lightest edge to another one. A
// component is named by one of its pixels, its root. A root that joins another component lends the
// edge it joined by its number.
template <typename T>
struct Boruvka {
  const T* edge_weight;
  TreeEdges tree;
  std::int32_t rounds;
  std::int32_t* component; // [B, N] each pixel's root at the start of the round
  std::int32_t* joined;    // [B, N] the same at its end
  Word* key;               // [B, N] of a root: its lightest edge. float: weight and edge id;
  unsigned* id;            // [B, N] double: the key is the weight alone, the id lies here
  std::int32_t* left;      // [B, rounds + 1] components at the start of each round
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
__device__ __forceinline__ Candidate lightest_edge(const Boruvka<T>& b, std::int64_t image,
                                                   std::int32_t pixel) {
  const Grid& grid = b.tree.grid;
  const std::int64_t base = image * grid.pixels;
  const T* const weight = b.edge_weight + base * (grid.slots / 2);
  const std::int32_t own = b.component[base + pixel];
  Candidate best{kNoKey};
  for (int slot = 0; slot < grid.slots; ++slot) {
    if (!grid.has_neighbor(pixel, slot)) continue;
    if (b.component[base + grid.neighbor(pixel, slot)] == own) continue;
    const std::int32_t edge = grid.edge_id(pixel, slot);
    const Word bits = ordered_bits(__ldg(weight + edge));
    if (best.edge >= 0 && bits >= best.weight) continue;
    best.weight = bits;
    best.edge = edge;
  }
  return best;
}

template <typename T>
__device__ __forceinline__ bool done(const Boruvka<T>& b, std::int64_t image, int round) {
  return b.left[image * (b.rounds + 1) + round] <= 1;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) start_kernel(Boruvka<T> b) {
  const std::int32_t pixels = b.tree.grid.pixels;
  for_each(b.tree.images, pixels, [&](std::int64_t image, std::int64_t i) {
    const std::int64_t at = image * pixels + i;
    b.component[at] = static_cast<std::int32_t>(i);
    b.key[at] = kNoKey;
    if (!kOneStep<T>) b.id[at] = ~0U;
    b.tree.slots[at] = 0;
    b.tree.edge[at] = -1;
    if (i <= b.rounds) b.left[image * (b.rounds + 1) + i] = i == 0 ? pixels : 0;
  });
}

// Each pixel offers its lightest edge to its component. Most offers are too heavy: look first.
template <typename T>
__global__ void __launch_bounds__(kThreads) offer_kernel(Boruvka<T> b, int round) {
  const std::int32_t pixels = b.tree.grid.pixels;
  for_each(b.tree.images, pixels, [&](std::int64_t image, std::int64_t i) {
    if (done(b, image, round)) return;
    const Candidate best = lightest_edge(b, image, static_cast<std::int32_t>(i));
    if (best.edge < 0) return;
    const Word key = kOneStep<T> ? best.weight << 32 | static_cast<Word>(best.edge) : best.weight;
    Word* const lightest = b.key + image * pixels + b.component[image * pixels + i];
    if (key < load_relaxed(lightest)) atomicMin(lightest, key);
  });
}

// The second step: of the edges that are as light as the lightest one, that of smallest id.
template <typename T>
__global__ void __launch_bounds__(kThreads) offer_id_kernel(Boruvka<T> b, int round) {
  const std::int32_t pixels = b.tree.grid.pixels;
  for_each(b.tree.images, pixels, [&](std::int64_t image, std::int64_t i) {
    if (done(b, image, round)) return;
    const Candidate best = lightest_edge(b, image, static_cast<std::int32_t>(i));
    const std::int64_t root = image * pixels + b.component[image * pixels + i];
    if (best.edge < 0 || best.weight != b.key[root]) return;
    atomicMin(b.id + root, static_cast<unsigned>(best.edge));
  });
}

// The id of a root's lightest edge. Every component has one until a single one is left.
template <typename T>
__device__ __forceinline__ std::int32_t chosen_edge(const Boruvka<T>& b, std::int64_t root) {
  return static_cast<std::int32_t>(kOneStep<T> ? static_cast<unsigned>(b.key[root]) : b.id[root]);
}

// Joins a root to the component behind its lightest edge, unless both chose the same edge and the
// root is the smaller one. Returns the pixel's link: a root's new root, another pixel's old one.
template <typename T>
__device__ __forceinline__ std::int32_t join(const Boruvka<T>& b, std::int64_t image,
                                             std::int32_t pixel) {
  const TreeEdges& tree = b.tree;
  const std::int64_t base = image * tree.grid.pixels;
  const std::int32_t root = b.component[base + pixel];
  if (root != pixel) return root;
  const std::int32_t edge = chosen_edge(b, base + root);
  const Ends ends = ends_of(tree.grid, edge);
  const std::int32_t first = b.component[base + ends.first];
  const std::int32_t other = first == root ? b.component[base + ends.second] : first;
  if (root < other && chosen_edge(b, base + other) == edge) return root;
  tree.edge[base + root] = edge;
  tree.number[base * (tree.grid.slots / 2) + edge] = root;
  atomicOr(tree.slots + base + ends.first, 1U << ends.slot);
  atomicOr(tree.slots + base + ends.second, 1U << (ends.slot ^ 1));
  return other;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) join_kernel(Boruvka<T> b, int round) {
  const std::int32_t pixels = b.tree.grid.pixels;
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t image = blockIdx.y; image < b.tree.images; image += gridDim.y) {
    if (done(b, image, round)) continue;
    // All threads of the block go round together, for the barrier that counts.
    for (std::int64_t begin = std::int64_t{blockIdx.x} * blockDim.x; begin < pixels;
         begin += step) {
      const std::int64_t i = begin + threadIdx.x;
      bool stays = false;
      if (i < pixels) {
        const std::int32_t link = join(b, image, static_cast<std::int32_t>(i));
        b.joined[image * pixels + i] = link;
        stays = link == i;
      }
      const int count = __syncthreads_count(stays);
      if (threadIdx.x == 0 && count > 0)
        atomicAdd(b.left + image * (b.rounds + 1) + round + 1, count);
    }
  }
}

// Follows the links to the roots that are left; see follow_hops_kernel.
template <typename T>
__global__ void __launch_bounds__(kThreads) follow_links_kernel(Boruvka<T> b, int round) {
  const std::int32_t pixels = b.tree.grid.pixels;
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t image = blockIdx.y; image < b.tree.images; image += gridDim.y) {
    if (done(b, image, round)) continue;
    std::int32_t* const link = b.joined + image * pixels;
    for (bool moved = true, first = true; moved; first = false) {
      moved = false;
      for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < pixels;
           i += step) {
        if (first) b.key[image * pixels + i] = kNoKey;
        if (first && !kOneStep<T>) b.id[image * pixels + i] = ~0U;
        const std::int32_t here = load_relaxed(link + i);
        const std::int32_t there = load_relaxed(link + here);
        if (there == here) continue;
        store_relaxed(link + i, there);
        moved = true;
      }
    }
  }
}

// Rounds that reduce any number of pixels to one component: each at least halves them.
std::int32_t rounds_for(std::int64_t pixels) {
  std::int32_t rounds = 0;
  while (std::int64_t{1} << rounds < pixels) ++rounds;
  return rounds;
}

template <typename T>
struct Arrays {
  Boruvka<T> boruvka;
  RootedOrder order;
};

template <typename T>
Arrays<T> arrays_in(Scratch& memory, const SpanningTree<T>& p) {
  const std::int64_t pixels = p.height * p.width, entries = p.images * pixels;
  Arrays<T> a;
  Boruvka<T>& b = a.boruvka;
  b.edge_weight = p.edge_weight;
  b.tree.images = p.images;
  b.tree.grid = {static_cast<std::int32_t>(p.height), static_cast<std::int32_t>(p.width),
                 static_cast<std::int32_t>(pixels), static_cast<int>(2 * p.directions)};
  b.tree.slots = memory.take<unsigned>(entries);
  b.tree.edge = memory.take<std::int32_t>(entries);
  b.tree.number = memory.take<std::int32_t>(entries * p.directions);
  b.rounds = rounds_for(pixels);
  b.component = memory.take<std::int32_t>(entries);
  b.joined = memory.take<std::int32_t>(entries);
  b.key = memory.take<Word>(entries);
  b.id = memory.take<unsigned>(kOneStep<T> ? 0 : entries);
  b.left = memory.take<std::int32_t>(p.images * (b.rounds + 1));
  // Once the tree is known, its components are not: their arrays serve again.
  a.order.tree = b.tree;
  a.order.path = b.key;
  a.order.size = b.component;
  a.order.up = b.joined;
  a.order.tour = memory.take<Word>(2 * entries);
  return a;
}

template <typename T>
cudaError_t run_round(const Boruvka<T>& b, int round, dim3 grid, cudaStream_t stream) {
  const dim3 block(kThreads);
  cudaError_t status = launch(offer_kernel<T>, grid, block, 0, stream, b, round);
  if (status == cudaSuccess && !kOneStep<T>)
    status = launch(offer_id_kernel<T>, grid, block, 0, stream, b, round);
  if (status == cudaSuccess) status = launch(join_kernel<T>, grid, block, 0, stream, b, round);
  if (status == cudaSuccess)
    status =
        launch_chase(follow_links_kernel<T>, b.tree.grid.pixels, b.tree.images, stream, b, round);
  return status;
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
  const Arrays<T> arrays = arrays_in(memory, p);
  Boruvka<T> b = arrays.boruvka;
  const dim3 grid = image_grid(b.tree.grid.pixels, p.images);
  cudaError_t status = launch(start_kernel<T>, grid, dim3(kThreads), 0, stream, b);
  for (int round = 0; round < b.rounds && status == cudaSuccess; ++round) {
    status = run_round(b, round, grid, stream);
    std::int32_t* const links = b.joined;
    b.joined = b.component;
    b.component = links;
  }
  if (status == cudaSuccess)
    status = write_order(arrays.order, p.edge_weight, p.order, p.parent, p.edge, p.weight, stream);
  return status;
}

template std::int64_t scratch_bytes(const SpanningTree<float>&);
template std::int64_t scratch_bytes(const SpanningTree<double>&);
template cudaError_t run(const SpanningTree<float>&, void*, cudaStream_t);
template cudaError_t run(const SpanningTree<double>&, void*, cudaStream_t);

} // namespace point2mask::cuda
