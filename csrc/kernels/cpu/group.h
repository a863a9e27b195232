// Training works on groups of tiles: their channels' statistics and gradients need no other channels, so a group is a
// piece of work for a thread, from the first image to the last. What needs all channels of an image, the squeeze and
// its gradient, is summed group by group and then over the groups, in their order.
#pragma once

#include "norms.h"
#include "pool.h"
#include "tile.h"

namespace abawkit::ABAWKIT_ISA {

inline constexpr std::int64_t group_tiles = 4;

inline std::int64_t groups(const Sizes& s) { return (tiles(s) + group_tiles - 1) / group_tiles; }

// A group's tiles: from..to.
struct TileRange {
  std::int64_t from, to;
  TileRange(const Sizes& s, std::int64_t group)
      : from(group * group_tiles), to(from + group_tiles < tiles(s) ? from + group_tiles : tiles(s)) {}
};

// Calls f(n, tile, ahead) for every image and the tiles from..to, image after image; what comes next is asked for.
template <class S, class X, class F>
inline void for_each_tile(const S& s, const Images<const X>& x, std::int64_t from, std::int64_t to, std::int64_t images,
                          F f) {
  constexpr int shares = 4;  // how often f calls `ahead`
  for (std::int64_t n = 0; n < images; ++n) {
    Ahead ahead;
    if (n + 1 < images) ahead = ahead_of(s, x, n + 1, from, to, shares * (to - from));
    for (std::int64_t tile = from; tile < to; ++tile) f(n, tile, ahead);
  }
}

// Images are handed out in pieces that are worth a thread's while.
inline constexpr std::int64_t images_a_piece = 16;
template <class F>
inline void parallel_images(const Pool& pool, std::int64_t images, const F& f) {
  parallel(pool, (images + images_a_piece - 1) / images_a_piece, [&](std::int64_t piece) {
    const std::int64_t end = (piece + 1) * images_a_piece;
    for (std::int64_t n = piece * images_a_piece; n < (end < images ? end : images); ++n) f(n);
  });
}

// Groups are handed out in as many pieces as there are threads, each with scratch memory of its own. Where processes
// share a batch, a group waits for the sums of all of them, and its memory is its own.
inline std::int64_t group_pieces(const Sizes& s, const Processes& processes, int threads) {
  return processes.several() || groups(s) < threads ? groups(s) : threads;
}
template <class Call, class Scratch, class F>
inline void parallel_groups(const Pool& pool, const Call& call, Scratch* scratch, const F& f) {
  const Sizes& s = call.sizes;
  const std::int64_t pieces = group_pieces(s, call.processes, pool.threads), count = groups(s);
  parallel(pool, pieces, [&](std::int64_t i) {
    for (std::int64_t g = count * i / pieces; g < count * (i + 1) / pieces; ++g) f(g, scratch[i]);
  });
}

// The groups' shares (groups, N, K, H + W, Mp) of one number of an image, summed in their order.
template <class A>
inline Vector<A> sum_of_groups(const Sizes& s, const A* partial, std::int64_t distance) {
  Vector<A> sum = load(partial);
  for (std::int64_t g = 1; g < groups(s); ++g) sum += load(partial + g * distance);
  return sum;
}

}  // namespace abawkit::ABAWKIT_ISA
