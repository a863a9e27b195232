// Evaluation: two sweeps over the tiles of a few images, which stay in the second-level cache between them.
#pragma once

#include "tile.h"

namespace abawkit::ABAWKIT_ISA {

inline constexpr std::int64_t image_block = 2;

// Scratch memory of one thread.
template <class A>
struct InferenceScratch {
  A *tile, *rows, *sums, *squeezed, *gates;
  template <class S>
  InferenceScratch(const S& s, Arena& arena)
      : tile(arena.take<A>(s.area * tile_width)),
        rows(arena.take<A>(s.area * tile_width)),
        sums(arena.take<A>(s.gates * tile_width)),
        squeezed(arena.take<A>(image_block * s.gates * s.padded)),
        gates(arena.take<A>(s.gates * tile_width)) {}
};

inline std::int64_t inference_pieces(const Sizes& s, int threads) {
  const std::int64_t blocks = (s.images + image_block - 1) / image_block;
  return blocks < threads ? blocks : threads;
}

template <class A, class X, class S>
struct InferenceBody {
  const Inference& call;
  const S s;
  std::int64_t pieces;
  InferenceScratch<A>* scratch;

  void images(std::int64_t from, std::int64_t to, InferenceScratch<A>& t) const {
    const Sizes& sizes = call.sizes;
    const Images<const X> x(call.features.data, sizes, s, call.features.channels_last);
    const A* folded = static_cast<const A*>(call.folded);
    const std::int64_t first = first_block(sizes), second = second_block(sizes), count = tiles(sizes);
    const std::int64_t per_image = s.gates * s.padded;
    const A* squeeze_shift = folded + count * (first + second);
    for (std::int64_t n = from; n < to; ++n)
      for (std::int64_t k = 0; k < s.heads; ++k)
        for (std::int64_t i = 0; i < s.positions; ++i)
          for (std::int64_t m = 0; m < s.padded; ++m)
            t.squeezed[(n - from) * per_image + (k * s.positions + i) * s.padded + m] = squeeze_shift[k * s.padded + m];
    tile_by_tile(s, x, 0, count, from, to, [&](std::int64_t n, std::int64_t tile, Ahead& ahead) {
      squeeze(x, n, tile, ahead, folded + tile * first, t, t.squeezed + (n - from) * per_image);
    });
    for (std::int64_t i = 0; i < (to - from) * per_image; ++i) t.squeezed[i] = hardswish(t.squeezed[i]);
    tile_by_tile(s, x, 0, count, from, to, [&](std::int64_t n, std::int64_t tile, Ahead& ahead) {
      finish(x, n, tile, ahead, folded + count * first + tile * second, t, t.squeezed + (n - from) * per_image);
    });
  }

  void squeeze(const Images<const X>& x, std::int64_t n, std::int64_t tile, Ahead& ahead, const A* weights,
               InferenceScratch<A>& t, A* out) const {
    const A* column_weight = weights + s.heads * s.width * tile_width;
    const A* row_shift = column_weight + s.heads * s.height * tile_width;
    const A* column_shift = row_shift + s.heads * tile_width;
    const A* squeeze_weight = column_shift + s.heads * tile_width;
    load_tile(s, x, n, tile, t.tile, t.rows);
    ahead();
    directional_sums(s, t.tile, weights, column_weight, t.sums);
    ahead();
    for (std::int64_t k = 0; k < s.heads; ++k)
      for (int j = 0; j < tile_width; j += lanes<A>) {
        const Vector<A> row = load(row_shift + k * tile_width + j), column = load(column_shift + k * tile_width + j);
        A* at = t.sums + k * s.positions * tile_width + j;
        for (std::int64_t i = 0; i < s.positions; ++i)
          store(at + i * tile_width, load(at + i * tile_width) + (i < s.height ? row : column));
      }
    for (std::int64_t k = 0; k < s.heads; ++k) {
      ahead();
      ahead();
      for (std::int64_t m = 0; m < s.padded; m += 16)
        multiply(s.positions, out + k * s.positions * s.padded + m, s.padded,
                 {t.sums + k * s.positions * tile_width, tile_width, 1, squeeze_weight + k * tile_width * s.padded + m,
                  s.padded, tile_width});
    }
  }

  void finish(const Images<const X>& x, std::int64_t n, std::int64_t tile, Ahead& ahead, const A* weights,
              InferenceScratch<A>& t, const A* hidden) const {
    GateWeights<A> gate;
    gate.row = weights;
    gate.row_bias = gate.row + s.heads * s.padded * tile_width;
    gate.column = gate.row_bias + s.heads * tile_width;
    gate.column_bias = gate.column + s.heads * s.padded * tile_width;
    const A* pool_weight = gate.column_bias + s.heads * tile_width;
    const A* pool_shift = pool_weight + s.area * tile_width;
    load_tile(s, x, n, tile, t.tile, t.rows);
    make_gates(s, hidden, gate, t.gates, ahead);
    A out[tile_width];
    for (int c = 0; c < tile_width; ++c) out[c] = pool_shift[c];
    ahead();
    pool(s, t.tile, t.gates, pool_weight, out);
    ahead();
    ahead();
    const std::int64_t channels = call.sizes.channels;
    X* embedding = static_cast<X*>(call.embedding) + n * channels + tile * tile_width;
    for (int c = 0; c < channels_in_tile(channels, tile); ++c) embedding[c] = narrow<X>(out[c]);
    if (call.rows != nullptr)
      store_gates(s, channels, n, tile, t.gates, static_cast<X*>(call.rows), static_cast<X*>(call.columns));
  }

  void piece(std::int64_t i) const {
    const std::int64_t blocks = (call.sizes.images + image_block - 1) / image_block;
    for (std::int64_t b = blocks * i / pieces; b < blocks * (i + 1) / pieces; ++b) {
      const std::int64_t from = b * image_block, end = from + image_block;
      images(from, end < call.sizes.images ? end : call.sizes.images, scratch[i]);
    }
  }
};

template <class A, class X, class S>
void run_inference(const Inference& call, const Pool& pool) {
  const S s(call.sizes);
  const std::int64_t pieces = inference_pieces(call.sizes, pool.threads);
  if (pieces == 0) return;
  Arena arena(call.workspace);
  auto* scratch = arena.take<InferenceScratch<A>>(pieces);
  for (std::int64_t i = 0; i < pieces; ++i) scratch[i] = InferenceScratch<A>(s, arena);
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
  for (std::int64_t i = 0; i < pieces; ++i) InferenceScratch<A>(s, arena);
  return arena.bytes();
}

}  // namespace abawkit::ABAWKIT_ISA
