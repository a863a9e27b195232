// Evaluation: two sweeps over the tiles of a few images. The first reads the features, once, and sums up the squeeze;
// the second takes the tiles that it left in the second-level cache. Folded weights are read once for the few images.
#pragma once

#include "images.h"
#include "pool.h"
#include "tile.h"

namespace abawkit::ABAWKIT_ISA {

// The images in blocks, as many in one as leave the cache room for the folded weights, but one for each thread.
struct Blocks {
  static constexpr std::int64_t most_images = 2, cached_bytes = 512 * 1024;
  std::int64_t images, pieces, size, count;
  std::uint8_t* taken;  // by a thread
  Blocks(const Sizes& s, int threads, std::int64_t image_bytes, Arena& arena)
      : images(s.images), pieces(images < threads ? images : threads), size(1) {
    while (size < most_images && size * pieces < images && (size + 1) * image_bytes <= cached_bytes) ++size;
    count = (images + size - 1) / size;
    taken = arena.take<std::uint8_t>(count);
  }
  std::int64_t from(std::int64_t block) const { return block * size; }
  std::int64_t to(std::int64_t block) const { return (block + 1) * size < images ? (block + 1) * size : images; }
  bool take(std::int64_t block) const { return __atomic_exchange_n(taken + block, 1, __ATOMIC_RELAXED) == 0; }
};

// Scratch memory of one thread: (block, tiles, H W, 16) and so on.
template <class A>
struct InferenceScratch {
  A *tiles, *rows, *sums, *squeezed, *gates;
  template <class S>
  InferenceScratch(const Sizes& z, const S& s, std::int64_t block, Arena& arena)
      : tiles(arena.take<A>(block * abawkit::tiles(z) * s.area * tile_width)),
        rows(arena.take<A>(s.area * tile_width)),
        sums(arena.take<A>(s.gates * tile_width)),
        squeezed(arena.take<A>(block * s.gates * s.padded)),
        gates(arena.take<A>(s.gates * tile_width)) {}
};

template <class A>
struct InferenceWorkspace {
  Blocks blocks;
  InferenceScratch<A>* scratch;
  template <class S>
  InferenceWorkspace(const Sizes& z, const S& s, int threads, Arena& arena)
      : blocks(z, threads, abawkit::tiles(z) * s.area * tile_width * static_cast<std::int64_t>(sizeof(A)), arena),
        scratch(arena.make<InferenceScratch<A>>(blocks.pieces, z, s, blocks.size)) {}
};

template <class A, class X, class S>
struct InferenceBody {
  const Inference& call;
  const S s;
  const InferenceWorkspace<A>& workspace;

  // One block; `next` most likely comes after it, unless it is out of range.
  void block(std::int64_t index, std::int64_t next, InferenceScratch<A>& t) const {
    const Blocks& blocks = workspace.blocks;
    const std::int64_t from = blocks.from(index), to = blocks.to(index);
    const Sizes& sizes = call.sizes;
    const Images<const X> x(call.features.data, sizes, s, call.features.channels_last);
    const A* folded = static_cast<const A*>(call.folded);
    const std::int64_t first = first_block(sizes), second = second_block(sizes), count = abawkit::tiles(sizes);
    const std::int64_t per_image = s.gates * s.padded, per_tile = s.area * tile_width;
    const A* squeeze_shift = folded + count * (first + second);
    for (std::int64_t n = from; n < to; ++n) {
      for (std::int64_t k = 0; k < s.heads; ++k)
        for (std::int64_t i = 0; i < s.positions; ++i)
          std::memcpy(t.squeezed + (n - from) * per_image + (k * s.positions + i) * s.padded,
                      squeeze_shift + k * s.padded, s.padded * sizeof(A));
      if (x.channels_last) load_image(s, x, n, t.tiles + (n - from) * count * per_tile);
    }
    Ahead ahead;
    if (next >= 0 && next < blocks.count) {
      const std::int64_t bytes = s.area * sizes.channels * static_cast<std::int64_t>(sizeof(X));
      const std::int64_t images = blocks.to(next) - blocks.from(next);
      ahead = Ahead(x.image(blocks.from(next)), 1, images * bytes, 0, 2 * count * (to - from));
    }
    for (std::int64_t tile = 0; tile < count; ++tile)
      for (std::int64_t n = from; n < to; ++n) {
        A* at = t.tiles + ((n - from) * count + tile) * per_tile;
        if (!x.channels_last) load_tile(s, x, n, tile, at, t.rows);
        ahead();
        squeeze(at, folded + tile * first, t, t.squeezed + (n - from) * per_image);
      }
    for (std::int64_t i = 0; i < (to - from) * per_image; i += lanes<A>)
      store(t.squeezed + i, hardswish(load(t.squeezed + i)));
    for (std::int64_t tile = 0; tile < count; ++tile)
      for (std::int64_t n = from; n < to; ++n) {
        ahead();
        finish(n, tile, t.tiles + ((n - from) * count + tile) * per_tile, folded + count * first + tile * second, t,
               t.squeezed + (n - from) * per_image);
      }
  }

  void squeeze(const A* x, const A* weights, InferenceScratch<A>& t, A* out) const {
    const A* column_weight = weights + s.heads * s.width * tile_width;
    const A* row_shift = column_weight + s.heads * s.height * tile_width;
    const A* column_shift = row_shift + s.heads * tile_width;
    const A* squeeze_weight = column_shift + s.heads * tile_width;
    directional_sums(s, x, weights, column_weight, t.sums, {row_shift, column_shift});
    for (std::int64_t k = 0; k < s.heads; ++k)
      for (std::int64_t m = 0; m < s.padded; m += 16)
        multiply(s.positions, out + k * s.positions * s.padded + m, s.padded,
                 {t.sums + k * s.positions * tile_width, tile_width, 1, squeeze_weight + k * tile_width * s.padded + m,
                  s.padded, tile_width});
  }

  void finish(std::int64_t n, std::int64_t tile, const A* x, const A* weights, InferenceScratch<A>& t,
              const A* hidden) const {
    GateWeights<A> gate;
    gate.row = weights;
    gate.row_bias = gate.row + s.heads * s.padded * tile_width;
    gate.column = gate.row_bias + s.heads * tile_width;
    gate.column_bias = gate.column + s.heads * s.padded * tile_width;
    const A* pool_weight = gate.column_bias + s.heads * tile_width;
    const A* pool_shift = pool_weight + s.area * tile_width;
    const std::int64_t channels = call.sizes.channels;
    X *rows = static_cast<X*>(call.rows), *columns = static_cast<X*>(call.columns);
    ask_for_gates<true>(s, channels, n, tile, rows, columns);
    make_gates(s, hidden, gate, t.gates);
    A out[tile_width];
    std::memcpy(out, pool_shift, sizeof out);
    pool(s, x, t.gates, pool_weight, out);
    X* embedding = static_cast<X*>(call.embedding) + n * channels + tile * tile_width;
    for (int c = 0; c < channels_in_tile(channels, tile); ++c) embedding[c] = narrow<X>(out[c]);
    if (rows != nullptr) store_gates(s, channels, n, tile, t.gates, rows, columns);
  }

  // A thread's share of the blocks, then, from the end on, what other threads haven't come to: processors of one
  // machine may differ in speed.
  void piece(std::int64_t i) const {
    const Blocks& blocks = workspace.blocks;
    const std::int64_t end = blocks.count * (i + 1) / blocks.pieces;
    for (std::int64_t b = blocks.count * i / blocks.pieces; b < end; ++b)
      if (blocks.take(b)) block(b, b + 1 < end ? b + 1 : blocks.count, workspace.scratch[i]);
    for (std::int64_t b = blocks.count - 1; b >= 0; --b)
      if (blocks.take(b)) block(b, b - 1, workspace.scratch[i]);
  }
};

template <class A, class X, class S>
void run_inference(const Inference& call, const Pool& pool) {
  if (call.sizes.images == 0) return;
  const S s(call.sizes);
  Arena arena(call.workspace);
  const InferenceWorkspace<A> workspace(call.sizes, s, pool.threads, arena);
  std::memset(workspace.blocks.taken, 0, workspace.blocks.count);
  const InferenceBody<A, X, S> body{call, s, workspace};
  parallel(pool, workspace.blocks.pieces, [&](std::int64_t i) { body.piece(i); });
}

template <class A>
std::size_t count_inference(const Sizes& sizes, int threads) {
  if (sizes.images == 0) return 0;
  Arena arena(nullptr);
  InferenceWorkspace<A>(sizes, Any(sizes), threads, arena);
  return arena.bytes();
}

}  // namespace abawkit::ABAWKIT_ISA
