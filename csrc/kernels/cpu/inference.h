// Evaluation: two sweeps over the tiles of a few images. The first reads the features, once, and sums up the squeeze;
// the second takes the tiles that it left in the second-level cache. Folded weights are read once for the few images.
#pragma once

#include "images.h"
#include "tile.h"

namespace abawkit::ABAWKIT_ISA {

// Images of a block: as many as leave the cache room for the folded weights.
inline constexpr std::int64_t most_images = 2, cached_bytes = 512 * 1024;

// Scratch memory of one thread.
template <class A>
struct InferenceScratch {
  std::int64_t block;                         // images
  A *tiles, *rows, *sums, *squeezed, *gates;  // (block, tiles, H W, 16), ..., (block, K, H + W, Mp), ...
  template <class S>
  InferenceScratch(const Sizes& z, const S& s, Arena& arena) {
    const std::int64_t image = abawkit::tiles(z) * s.area * tile_width, fitting = cached_bytes / (image * sizeof(A));
    block = fitting < 1 ? 1 : fitting < most_images ? fitting : most_images;
    tiles = arena.take<A>(block * image);
    rows = arena.take<A>(s.area * tile_width);
    sums = arena.take<A>(s.gates * tile_width);
    squeezed = arena.take<A>(block * s.gates * s.padded);
    gates = arena.take<A>(s.gates * tile_width);
  }
};

inline std::int64_t inference_pieces(const Sizes& s, int threads) { return s.images < threads ? s.images : threads; }

template <class A, class X, class S>
struct InferenceBody {
  const Inference& call;
  const S s;
  std::int64_t pieces;
  InferenceScratch<A>* scratch;

  // Images from..to; those up to `next` come after them.
  void images(std::int64_t from, std::int64_t to, std::int64_t next, InferenceScratch<A>& t) const {
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
    const std::int64_t image_bytes = s.area * sizes.channels * static_cast<std::int64_t>(sizeof(X));
    Ahead ahead(x.image(to), 1, (next - to) * image_bytes, 0, 2 * count * (to - from));
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

  void piece(std::int64_t i) const {
    const std::int64_t last = call.sizes.images * (i + 1) / pieces, block = scratch[i].block;
    const auto end = [=](std::int64_t n) { return n + block < last ? n + block : last; };
    for (std::int64_t n = call.sizes.images * i / pieces; n < last; n += block)
      images(n, end(n), end(end(n)), scratch[i]);
  }
};

template <class A, class X, class S>
void run_inference(const Inference& call, const Pool& pool) {
  const S s(call.sizes);
  const std::int64_t pieces = inference_pieces(call.sizes, pool.threads);
  if (pieces == 0) return;
  Arena arena(call.workspace);
  auto* scratch = arena.take<InferenceScratch<A>>(pieces);
  for (std::int64_t i = 0; i < pieces; ++i) scratch[i] = InferenceScratch<A>(call.sizes, s, arena);
  InferenceBody<A, X, S> body{call, s, pieces, scratch};
  pool.run(
      pieces,
      [](std::int64_t begin, std::int64_t end, void* context) {
        for (std::int64_t i = begin; i < end; ++i) static_cast<const InferenceBody<A, X, S>*>(context)->piece(i);
      },
      &body);
}

template <class A>
std::size_t count_inference(const Sizes& sizes, int threads) {
  Arena arena(nullptr);
  const Any s(sizes);
  const std::int64_t pieces = inference_pieces(sizes, threads);
  arena.take<InferenceScratch<A>>(pieces);
  for (std::int64_t i = 0; i < pieces; ++i) InferenceScratch<A>(sizes, s, arena);
  return arena.bytes();
}

}  // namespace abawkit::ABAWKIT_ISA
