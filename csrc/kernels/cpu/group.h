// Training works on groups of tiles: their channels' statistics and gradients need no other channels, so a group is a
// piece of work for a thread, from the first image to the last. What needs all channels of an image, the squeeze and
// its gradient, is summed group by group and then over the groups, in their order.
#pragma once

#include "tile.h"

namespace abawkit::ABAWKIT_ISA {

// Asks for the next tile while this one is worked on, a few lines at a time: a tile's rows are too short for the
// processor to see where they lead, and more lines at once than it can wait for would hold it up.
class TileAhead {
 public:
  TileAhead() = default;
  template <class S, class X>
  TileAhead(const S& s, const Images<const X>& x, std::int64_t n, std::int64_t tile) {
    constexpr std::int64_t line = 64;
    const X* image = x.image(n);
    if (x.channels_last) {
      at_ = reinterpret_cast<const char*>(image + tile * tile_width);
      distance_ = x.channels * static_cast<std::int64_t>(sizeof(X));
      left_ = s.area;
    } else {
      at_ = reinterpret_cast<const char*>(image + tile * tile_width * s.area);
      distance_ = line;
      left_ = channels_in_tile(x.channels, tile) * s.area * static_cast<std::int64_t>(sizeof(X)) / line;
    }
    share_ = left_ / 6 + 1;
  }
  void operator()() {
    for (std::int64_t i = 0; i < share_ && left_ > 0; ++i, --left_, at_ += distance_) __builtin_prefetch(at_);
  }

 private:
  const char* at_ = nullptr;
  std::int64_t distance_ = 0, left_ = 0, share_ = 0;
};

// Calls f(n, tile, ahead) for every image and tile, one tile after another, or one image after another.
template <class S, class X, class F>
inline void tile_by_tile(const S& s, const Images<const X>& x, std::int64_t tile_from, std::int64_t tile_to,
                         std::int64_t image_from, std::int64_t image_to, F f) {
  for (std::int64_t tile = tile_from; tile < tile_to; ++tile)
    for (std::int64_t n = image_from; n < image_to; ++n) {
      TileAhead ahead;
      if (n + 1 < image_to)
        ahead = TileAhead(s, x, n + 1, tile);
      else if (tile + 1 < tile_to)
        ahead = TileAhead(s, x, image_from, tile + 1);
      f(n, tile, ahead);
    }
}
template <class S, class X, class F>
inline void image_by_image(const S& s, const Images<const X>& x, std::int64_t tile_from, std::int64_t tile_to,
                           std::int64_t image_from, std::int64_t image_to, F f) {
  for (std::int64_t n = image_from; n < image_to; ++n)
    for (std::int64_t tile = tile_from; tile < tile_to; ++tile) {
      TileAhead ahead;
      if (tile + 1 < tile_to)
        ahead = TileAhead(s, x, n, tile + 1);
      else if (n + 1 < image_to)
        ahead = TileAhead(s, x, n + 1, tile_from);
      f(n, tile, ahead);
    }
}

inline constexpr std::int64_t group_tiles = 4;

inline std::int64_t groups(const Sizes& s) { return (tiles(s) + group_tiles - 1) / group_tiles; }

// A group's tiles: from..to.
struct TileRange {
  std::int64_t from, to;
  TileRange(const Sizes& s, std::int64_t group)
      : from(group * group_tiles), to(from + group_tiles < tiles(s) ? from + group_tiles : tiles(s)) {}
};

// Offsets of the norms' means in statistics; the variances follow at `Sizes::norms`.
struct NormOffsets {
  std::int64_t row, column, squeeze, pool;
  explicit NormOffsets(const Sizes& s)
      : row(0),
        column(s.heads * s.channels),
        squeeze(2 * s.heads * s.channels),
        pool(2 * s.heads * s.channels + s.heads * s.squeezed) {}
};

// (K, C, inner) -> (K, to_inner, 16) of one tile; channels that there are not become zero.
template <class A>
inline void pack(const Sizes& s, std::int64_t heads, std::int64_t inner, const void* source, std::int64_t tile, A* to,
                 std::int64_t to_inner) {
  const int count = channels_in_tile(s.channels, tile);
  for (std::int64_t k = 0; k < heads; ++k) {
    const A* from = static_cast<const A*>(source) + (k * s.channels + tile * tile_width) * inner;
    A* at = to + k * to_inner * tile_width;
    for (std::int64_t i = 0; i < to_inner; ++i)
      for (int c = 0; c < tile_width; ++c) at[i * tile_width + c] = i < inner && c < count ? from[c * inner + i] : 0;
  }
}

// The inverse.
template <class A>
inline void unpack(const Sizes& s, std::int64_t heads, std::int64_t inner, const A* from, std::int64_t from_inner,
                   std::int64_t tile, void* target) {
  const int count = channels_in_tile(s.channels, tile);
  for (std::int64_t k = 0; k < heads; ++k) {
    A* to = static_cast<A*>(target) + (k * s.channels + tile * tile_width) * inner;
    const A* at = from + k * from_inner * tile_width;
    for (int c = 0; c < count; ++c)
      for (std::int64_t i = 0; i < inner; ++i) to[c * inner + i] = at[i * tile_width + c];
  }
}

// squeeze_weight (K, M, C) -> (K, 16 channels, Mp) where `transposed`, else (K, Mp, 16 channels), of one tile.
template <class A>
inline void pack_squeeze(const Sizes& s, const void* source, std::int64_t tile, A* to, bool transposed) {
  const std::int64_t width = padded(s);
  const int count = channels_in_tile(s.channels, tile);
  for (std::int64_t k = 0; k < s.heads; ++k)
    for (std::int64_t m = 0; m < width; ++m) {
      const A* from = static_cast<const A*>(source) + (k * s.squeezed + m) * s.channels + tile * tile_width;
      A* at = to + k * width * tile_width;
      for (int c = 0; c < tile_width; ++c)
        at[transposed ? c * width + m : m * tile_width + c] = m < s.squeezed && c < count ? from[c] : 0;
    }
}

// A gate's weights (K, C, M) -> (K, 16 channels, Mp), of one tile.
template <class A>
inline void pack_transposed(const Sizes& s, const void* source, std::int64_t tile, A* to) {
  const std::int64_t width = padded(s);
  const int count = channels_in_tile(s.channels, tile);
  for (std::int64_t k = 0; k < s.heads; ++k)
    for (int c = 0; c < tile_width; ++c) {
      const A* from = static_cast<const A*>(source) + (k * s.channels + tile * tile_width + c) * s.squeezed;
      for (std::int64_t m = 0; m < width; ++m)
        to[(k * tile_width + c) * width + m] = m < s.squeezed && c < count ? from[m] : 0;
    }
}

// The row norms and the column norms of one tile: (K, 2, 16) each.
template <class A>
struct TileNorms {
  A *mean, *reciprocal, *scale, *shift;
  template <class S>
  TileNorms(const S& s, Arena& arena)
      : mean(arena.take<A>(s.heads * 2 * tile_width)),
        reciprocal(arena.take<A>(s.heads * 2 * tile_width)),
        scale(arena.take<A>(s.heads * 2 * tile_width)),
        shift(arena.take<A>(s.heads * 2 * tile_width)) {}

  // Channels that there are not: mean 0, variance 1, scale and shift 0.
  void read(const Sizes& s, const void* const* parameters, const A* statistics, double eps, std::int64_t tile) {
    const NormOffsets offsets(s);
    const int count = channels_in_tile(s.channels, tile);
    for (std::int64_t k = 0; k < s.heads; ++k)
      for (int side = 0; side < 2; ++side)
        for (int c = 0; c < tile_width; ++c) {
          const std::int64_t to = (k * 2 + side) * tile_width + c, channel = k * s.channels + tile * tile_width + c;
          const A* at = statistics + (side == 0 ? offsets.row : offsets.column) + channel;
          const bool real = c < count;
          mean[to] = real ? at[0] : 0;
          reciprocal[to] = real ? static_cast<A>(1 / __builtin_sqrt(double(at[s.norms()]) + eps)) : 0;
          scale[to] = real ? static_cast<const A*>(parameters[side == 0 ? row_scale : column_scale])[channel] : 0;
          shift[to] = real ? static_cast<const A*>(parameters[side == 0 ? row_shift : column_shift])[channel] : 0;
        }
  }
};

// Applies f(sums, k * 2 + side, j) to the sums (K, H + W, 16) of a tile, vector by vector.
template <class S, class A, class F>
inline void for_each_sum(const S& s, A* sums, F f) {
  for (std::int64_t k = 0; k < s.heads; ++k)
    for (int side = 0; side < 2; ++side) {
      A* at = sums + (k * s.positions + (side == 0 ? 0 : s.height)) * tile_width;
      const std::int64_t count = side == 0 ? s.height : s.width;
      for (int j = 0; j < tile_width; j += lanes<A>) f(at + j, count, k * 2 + side, j);
    }
}

// Hidden values (K, H + W, Mp) of one image, from what comes before the squeeze's norm (K, H + W, M).
template <class A>
struct SqueezeNorm {
  A *mean, *reciprocal, *scale, *shift;  // (K, M)
  SqueezeNorm(const Sizes& s, Arena& arena)
      : mean(arena.take<A>(s.heads * s.squeezed)),
        reciprocal(arena.take<A>(s.heads * s.squeezed)),
        scale(arena.take<A>(s.heads * s.squeezed)),
        shift(arena.take<A>(s.heads * s.squeezed)) {}
  void read(const Sizes& s, const void* const* parameters, const A* statistics, double eps) {
    const A* at = statistics + NormOffsets(s).squeeze;
    for (std::int64_t i = 0; i < s.heads * s.squeezed; ++i) {
      mean[i] = at[i];
      reciprocal[i] = static_cast<A>(1 / __builtin_sqrt(double(at[s.norms() + i]) + eps));
      scale[i] = static_cast<const A*>(parameters[squeeze_scale])[i];
      shift[i] = static_cast<const A*>(parameters[squeeze_shift])[i];
    }
  }
  template <class S>
  void hidden(const S& s, const A* squeezed, A* to) const {
    for (std::int64_t k = 0; k < s.heads; ++k)
      for (std::int64_t i = 0; i < s.positions; ++i) {
        const A* from = squeezed + (k * s.positions + i) * s.squeezed;
        A* at = to + (k * s.positions + i) * s.padded;
        for (std::int64_t m = 0; m < s.squeezed; ++m) {
          const std::int64_t km = k * s.squeezed + m;
          at[m] = hardswish((from[m] - mean[km]) * reciprocal[km] * scale[km] + shift[km]);
        }
        for (std::int64_t m = s.squeezed; m < s.padded; ++m) at[m] = 0;
      }
  }
};

// Runs f(i) for 0..pieces on the pool.
template <class F>
inline void parallel(const Pool& pool, std::int64_t pieces, const F& f) {
  if (pieces == 0) return;
  pool.run(
      pieces,
      [](std::int64_t begin, std::int64_t end, void* context) {
        for (std::int64_t i = begin; i < end; ++i) (*static_cast<const F*>(context))(i);
      },
      const_cast<F*>(&f));
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

}  // namespace abawkit::ABAWKIT_ISA
