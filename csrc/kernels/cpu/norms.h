// Batch norms in training: where their statistics stand, how they are gathered, and what a tile needs of them.
#pragma once

#include <cstring>

#include "pack.h"

namespace abawkit::ABAWKIT_ISA {

// Offsets of the norms' means in statistics; the variances follow at `Sizes::norms`.
struct NormOffsets {
  std::int64_t row, column, squeeze, pool;
  explicit NormOffsets(const Sizes& s)
      : row(0),
        column(s.heads * s.channels),
        squeeze(2 * s.heads * s.channels),
        pool(2 * s.heads * s.channels + s.heads * s.squeezed) {}
};

// Values at a time that are summed in the compute type before their sum is added in double.
inline constexpr std::int64_t run = 16;

// Sums over vectors, and over their squares, as differences from an origin that is one of the values: a constant
// channel has variance zero, whatever its mean.
template <class A>
struct Moments {
  A* origin;
  double *total, *squares;
  Moments(std::int64_t count, Arena& arena)
      : origin(arena.take<A>(count)), total(arena.take<double>(count)), squares(arena.take<double>(count)) {}
  void clear(std::int64_t count) {
    std::memset(total, 0, count * sizeof(double));
    std::memset(squares, 0, count * sizeof(double));
  }
  // `count` vectors at a distance; `first`: whether they are the first ones.
  void add(std::int64_t at, const A* values, std::int64_t count, std::int64_t distance, bool first) {
    if (first) store(origin + at, load(values));
    const Vector<A> from = load(origin + at);
    for (std::int64_t begin = 0; begin < count; begin += run) {
      Vector<A> sum = {}, square = {};
      for (std::int64_t i = begin; i < (begin + run < count ? begin + run : count); ++i) {
        const Vector<A> value = load(values + i * distance) - from;
        sum += value;
        square += value * value;
      }
      add_to(total + at, sum);
      add_to(squares + at, square);
    }
  }
  // Writes means and variances, of `entries` numbers, of `count` values each.
  void write(std::int64_t at, std::int64_t entries, double count, A* means, A* variances) const {
    for (std::int64_t i = 0; i < entries; ++i) {
      const double shift = total[at + i] / count, found = squares[at + i] / count - shift * shift;
      means[i] = static_cast<A>(double(origin[at + i]) + shift);
      variances[i] = static_cast<A>(found > 0 ? found : found == found ? 0 : found);
    }
  }
};

template <class A>
inline A reciprocal_deviation(A variance, double eps) {
  return static_cast<A>(1 / __builtin_sqrt(double(variance) + eps));
}

// The row norms and the column norms of some tiles: (tiles, K, 2, 16) each.
template <class A>
struct TileNorms {
  A *mean, *reciprocal, *scale, *shift;
  std::int64_t size;  // of a tile
  template <class S>
  static TileNorms take(const S& s, std::int64_t tiles, Arena& a) {
    const std::int64_t size = s.heads * 2 * tile_width, all = tiles * size;
    return {a.take<A>(all), a.take<A>(all), a.take<A>(all), a.take<A>(all), size};
  }
  TileNorms operator[](std::int64_t i) const {
    const std::int64_t by = i * size;
    return {mean + by, reciprocal + by, scale + by, shift + by, size};
  }

  // Channels that there are not: mean 0, variance 0, scale and shift 0.
  void read(const Sizes& s, const void* const* parameters, const A* statistics, double eps, std::int64_t tile) const {
    const NormOffsets offsets(s);
    const std::size_t bytes = channels_in_tile(s.channels, tile) * sizeof(A);
    for (A* all : {mean, reciprocal, scale, shift}) std::memset(all, 0, s.heads * 2 * tile_width * sizeof(A));
    for (std::int64_t k = 0; k < s.heads; ++k)
      for (int side = 0; side < 2; ++side) {
        const std::int64_t to = (k * 2 + side) * tile_width, channel = k * s.channels + tile * tile_width;
        const A* at = statistics + (side == 0 ? offsets.row : offsets.column) + channel;
        std::memcpy(mean + to, at, bytes);
        std::memcpy(reciprocal + to, at + s.norms(), bytes);
        std::memcpy(scale + to, static_cast<const A*>(parameters[side == 0 ? row_scale : column_scale]) + channel,
                    bytes);
        std::memcpy(shift + to, static_cast<const A*>(parameters[side == 0 ? row_shift : column_shift]) + channel,
                    bytes);
      }
    for (std::int64_t i = 0; i < s.heads * 2 * tile_width; ++i)
      reciprocal[i] = reciprocal_deviation(reciprocal[i], eps);
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

// The squeeze's norm: (K, Mp) each, where what fills M up has a scale and a shift of zero.
template <class A>
struct SqueezeNorm {
  A *mean, *reciprocal, *scale, *shift;
  template <class S>
  SqueezeNorm(const S& s, Arena& arena)
      : mean(arena.take<A>(s.heads * s.padded)),
        reciprocal(arena.take<A>(s.heads * s.padded)),
        scale(arena.take<A>(s.heads * s.padded)),
        shift(arena.take<A>(s.heads * s.padded)) {}
  void read(const Sizes& s, const void* const* parameters, const A* statistics, double eps) {
    const A* at = statistics + NormOffsets(s).squeeze;
    for (std::int64_t k = 0; k < s.heads; ++k)
      for (std::int64_t m = 0; m < padded(s); ++m) {
        const std::int64_t to = k * padded(s) + m, from = k * s.squeezed + m;
        const bool real = m < s.squeezed;
        mean[to] = real ? at[from] : 0;
        reciprocal[to] = real ? reciprocal_deviation(at[s.norms() + from], eps) : 0;
        scale[to] = real ? static_cast<const A*>(parameters[squeeze_scale])[from] : 0;
        shift[to] = real ? static_cast<const A*>(parameters[squeeze_shift])[from] : 0;
      }
  }
  // Turns what comes before the norm of one image, (K, H + W, Mp), into hidden values.
  template <class S>
  void hidden(const S& s, A* values) const {
    for (std::int64_t k = 0; k < s.heads; ++k)
      for (std::int64_t m = 0; m < s.padded; m += lanes<A>) {
        const std::int64_t at = k * s.padded + m;
        const Vector<A> from = load(mean + at), by = load(reciprocal + at), times = load(scale + at);
        const Vector<A> plus = load(shift + at);
        A* value = values + k * s.positions * s.padded + m;
        for (std::int64_t i = 0; i < s.positions; ++i, value += s.padded)
          store(value, hardswish((load(value) - from) * by * times + plus));
      }
  }
};

// Rows of M numbers become rows of Mp, filled up with zeros, and the inverse.
template <class S, class A>
inline void fill_up(const S& s, std::int64_t rows, const A* from, A* to) {
  if (s.squeezed == s.padded) {
    std::memcpy(to, from, rows * s.padded * sizeof(A));
    return;
  }
  std::memset(to, 0, rows * s.padded * sizeof(A));
  for (std::int64_t i = 0; i < rows; ++i) std::memcpy(to + i * s.padded, from + i * s.squeezed, s.squeezed * sizeof(A));
}
template <class S, class A>
inline void cut_off(const S& s, std::int64_t rows, const A* from, A* to) {
  for (std::int64_t i = 0; i < rows; ++i) std::memcpy(to + i * s.squeezed, from + i * s.padded, s.squeezed * sizeof(A));
}

}  // namespace abawkit::ABAWKIT_ISA
