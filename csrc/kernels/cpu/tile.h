// What is done to one tile: 16 channels of one image, channels in the lanes, positions one after another.
#pragma once

#include "sizes.h"
#include "vector.h"

namespace abawkit::ABAWKIT_ISA {

// Where features, or their gradients, lie.
template <class X>
struct Images {
  X* data;
  std::int64_t channels;
  std::int64_t area;
  bool channels_last;
  template <class S>
  Images(const void* at, const Sizes& sizes, const S& s, bool last)
      : data(static_cast<X*>(const_cast<void*>(at))), channels(sizes.channels), area(s.area), channels_last(last) {}
  X* image(std::int64_t n) const { return data + n * channels * area; }
};

inline int channels_in_tile(std::int64_t channels, std::int64_t tile) {
  const std::int64_t left = channels - tile * tile_width;
  return left < tile_width ? static_cast<int>(left) : tile_width;
}

// Asks for the next tile while this one is worked on, a few lines at a time: a tile's rows are too short for the
// processor to see where they lead, and more lines at once than it can wait for would hold it up.
class Ahead {
 public:
  Ahead() = default;
  template <class S, class X>
  Ahead(const S& s, const Images<const X>& x, std::int64_t n, std::int64_t tile) {
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
      Ahead ahead;
      if (n + 1 < image_to)
        ahead = Ahead(s, x, n + 1, tile);
      else if (tile + 1 < tile_to)
        ahead = Ahead(s, x, image_from, tile + 1);
      f(n, tile, ahead);
    }
}
template <class S, class X, class F>
inline void image_by_image(const S& s, const Images<const X>& x, std::int64_t tile_from, std::int64_t tile_to,
                           std::int64_t image_from, std::int64_t image_to, F f) {
  for (std::int64_t n = image_from; n < image_to; ++n)
    for (std::int64_t tile = tile_from; tile < tile_to; ++tile) {
      Ahead ahead;
      if (tile + 1 < tile_to)
        ahead = Ahead(s, x, n, tile + 1);
      else if (n + 1 < image_to)
        ahead = Ahead(s, x, n + 1, tile_from);
      f(n, tile, ahead);
    }
}

// (area, 16) of one image and tile; channels that there are not are zero. `rows` has room for 16 rows of an image.
template <class S, class A, class X>
inline void load_tile(const S& s, const Images<const X>& x, std::int64_t n, std::int64_t tile, A* to, A* rows) {
  const int count = channels_in_tile(x.channels, tile);
  const X* image = x.image(n);
  if (count < tile_width)
    for (std::int64_t i = 0; i < s.area * tile_width; ++i) to[i] = 0;
  if (x.channels_last) {
    const X* from = image + tile * tile_width;
    for (std::int64_t i = 0; i < s.area; ++i) {
      if (count == tile_width)
        for (int c = 0; c < tile_width; ++c) to[i * tile_width + c] = widen(from[i * x.channels + c]);
      else
        for (int c = 0; c < count; ++c) to[i * tile_width + c] = widen(from[i * x.channels + c]);
    }
    return;
  }
  const X* from = image + tile * tile_width * s.area;
  std::int64_t done = 0;
  if constexpr (sizeof(A) == sizeof(float)) {
    if (count == tile_width) {
      const float* source;
      if constexpr (sizeof(X) == sizeof(A)) {
        source = from;
      } else {
        for (std::int64_t i = 0; i < tile_width * s.area; ++i) rows[i] = widen(from[i]);
        source = rows;
      }
      for (; done + block <= s.area; done += block)
        for (int c = 0; c < tile_width; c += block)
          transpose(source + c * s.area + done, s.area, to + done * tile_width + c, tile_width);
    }
  }
  for (; done < s.area; ++done)
    for (int c = 0; c < count; ++c) to[done * tile_width + c] = widen(from[c * s.area + done]);
}

// The inverse of `load_tile`.
template <class S, class A, class X>
inline void store_tile(const S& s, const Images<X>& x, std::int64_t n, std::int64_t tile, const A* from, A* rows) {
  const int count = channels_in_tile(x.channels, tile);
  X* image = x.image(n);
  if (x.channels_last) {
    X* to = image + tile * tile_width;
    for (std::int64_t i = 0; i < s.area; ++i)
      for (int c = 0; c < count; ++c) to[i * x.channels + c] = narrow<X>(from[i * tile_width + c]);
    return;
  }
  X* to = image + tile * tile_width * s.area;
  std::int64_t done = 0;
  if constexpr (sizeof(A) == sizeof(float)) {
    if (count == tile_width) {
      float* target;
      if constexpr (sizeof(X) == sizeof(A))
        target = to;
      else
        target = rows;
      for (; done + block <= s.area; done += block)
        for (int c = 0; c < tile_width; c += block)
          transpose(from + done * tile_width + c, tile_width, target + c * s.area + done, s.area);
      if constexpr (sizeof(X) != sizeof(A))
        for (int c = 0; c < tile_width; ++c)
          for (std::int64_t i = 0; i < done; ++i) to[c * s.area + i] = narrow<X>(rows[c * s.area + i]);
    }
  }
  for (; done < s.area; ++done)
    for (int c = 0; c < count; ++c) to[c * s.area + done] = narrow<X>(from[done * tile_width + c]);
}

// A product a b with a (rows, depth) at any strides and b (depth, 16) at a stride.
template <class A>
struct Product {
  const A* a;
  std::int64_t row_stride, depth_stride;
  const A* b;
  std::int64_t b_stride, depth;
};

// `R` rows of c (rows, 16) = start + a b; a null start is c itself.
template <int R, class A>
inline void multiply_rows(A* c, std::int64_t ldc, const Product<A>& p, std::int64_t row, const A* start) {
  constexpr int V = vectors<A>;
  Vector<A> sum[R][V];
  const A* a = p.a + row * p.row_stride;
  c += row * ldc;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) sum[r][j] = load((start != nullptr ? start : c + r * ldc) + j * lanes<A>);
  for (std::int64_t d = 0; d < p.depth; ++d) {
    Vector<A> right[V];
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) right[j] = load(p.b + d * p.b_stride + j * lanes<A>);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const A left = a[r * p.row_stride + d * p.depth_stride];
#pragma GCC unroll 8
      for (int j = 0; j < V; ++j) sum[r][j] += left * right[j];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < V; ++j) store(c + r * ldc + j * lanes<A>, sum[r][j]);
}

// Rows whose sums fit into the registers.
template <class A>
inline constexpr int register_rows = vector_bytes == 64   ? 14 / vectors<A>
                                     : vector_bytes == 32 ? 10 / vectors<A>
                                                          : 2;

template <int R, class A>
inline void multiply_some(std::int64_t rows, A* c, std::int64_t ldc, const Product<A>& p, std::int64_t row,
                          const A* start) {
  if (rows == R)
    multiply_rows<R>(c, ldc, p, row, start);
  else if constexpr (R > 1)
    multiply_some<R - 1>(rows, c, ldc, p, row, start);
}

// c (rows, 16) = start + a b, or += without a start.
template <class A>
inline void multiply(std::int64_t rows, A* c, std::int64_t ldc, const Product<A>& p, const A* start = nullptr) {
  constexpr int R = register_rows<A> < 1 ? 1 : register_rows<A>;
  const std::int64_t parts = (rows + R - 1) / R;  // of nearly equal size: 7 rows are 4 and 3, not 5 and 2
  for (std::int64_t part = 0, row = 0; part < parts; ++part) {
    const std::int64_t next = rows * (part + 1) / parts;
    multiply_some<R>(next - row, c, ldc, p, row, start);
    row = next;
  }
}

// Directional sums of columns w..w + B: adds to `rows` (H, 16), sets `columns` (W, 16).
template <int B, class S, class A>
inline void sum_columns(const S& s, const A* x, const A* row_weight, const A* column_weight, A* rows, A* columns,
                        std::int64_t w, int j) {
  Vector<A> column[B] = {};
#pragma GCC unroll 8
  for (std::int64_t h = 0; h < s.height; ++h) {
    const Vector<A> weight = load(column_weight + h * tile_width + j);
    Vector<A> row = w == 0 ? Vector<A>{} : load(rows + h * tile_width + j);
#pragma GCC unroll 8
    for (int i = 0; i < B; ++i) {
      const Vector<A> value = load(x + (h * s.width + w + i) * tile_width + j);
      row += value * load(row_weight + (w + i) * tile_width + j);
      column[i] += value * weight;
    }
    store(rows + h * tile_width + j, row);
  }
#pragma GCC unroll 8
  for (int i = 0; i < B; ++i) store(columns + (w + i) * tile_width + j, column[i]);
}

// Sums of every head over a tile x (H, W, 16): `sums` (K, H + W, 16). Weights: (K, W, 16) and (K, H, 16).
template <class S, class A>
inline void directional_sums(const S& s, const A* x, const A* row_weight, const A* column_weight, A* sums) {
  for (std::int64_t k = 0; k < s.heads; ++k) {
    const A* row = row_weight + k * s.width * tile_width;
    const A* column = column_weight + k * s.height * tile_width;
    A* rows = sums + k * s.positions * tile_width;
    A* columns = rows + s.height * tile_width;
    for (int j = 0; j < tile_width; j += lanes<A>) {
      std::int64_t w = 0;
      for (; w + 7 <= s.width; w += 7) sum_columns<7>(s, x, row, column, rows, columns, w, j);
      for (; w < s.width; ++w) sum_columns<1>(s, x, row, column, rows, columns, w, j);
    }
  }
}

// What makes the gates of one tile.
template <class A>
struct GateWeights {
  const A* row;          // (K, Mp, 16)
  const A* row_bias;     // (K, 16)
  const A* column;       // (K, Mp, 16)
  const A* column_bias;  // (K, 16)
};

// Gates (K, H + W, 16) of one tile from the hidden values (K, H + W, Mp) of one image.
template <class S, class A>
inline void make_gates(const S& s, const A* hidden, const GateWeights<A>& weights, A* gates, Ahead& ahead) {
  for (std::int64_t k = 0; k < s.heads; ++k) {
    ahead();
    for (int side = 0; side < 2; ++side) {
      const std::int64_t count = side == 0 ? s.height : s.width;
      const std::int64_t first = k * s.positions + (side == 0 ? 0 : s.height);
      const A* bias = (side == 0 ? weights.row_bias : weights.column_bias) + k * tile_width;
      const A* weight = (side == 0 ? weights.row : weights.column) + k * s.padded * tile_width;
      A* out = gates + first * tile_width;
      multiply(count, out, tile_width, {hidden + first * s.padded, s.padded, 1, weight, tile_width, s.squeezed}, bias);
    }
  }
  ahead();
  sigmoid(gates, s.gates * tile_width);
}

// The maximum of the heads' maps at one position.
template <class S, class A>
inline Vector<A> strongest(const S& s, const A* gates, std::int64_t h, std::int64_t w, int j) {
  Vector<A> most = load(gates + h * tile_width + j) * load(gates + (s.height + w) * tile_width + j);
#pragma GCC unroll 2
  for (std::int64_t k = 1; k < s.heads; ++k) {
    const A* at = gates + k * s.positions * tile_width + j;
    const Vector<A> other = load(at + h * tile_width) * load(at + (s.height + w) * tile_width);
    most = most > other ? most : other;
  }
  return most;
}

// sum_hw weight x max_k(map): 16 values, added to `out`.
template <class S, class A>
inline void pool(const S& s, const A* x, const A* gates, const A* weight, A* out) {
  for (int j = 0; j < tile_width; j += lanes<A>) {
    Vector<A> sum = load(out + j);
#pragma GCC unroll 8
    for (std::int64_t h = 0; h < s.height; ++h)
#pragma GCC unroll 8
      for (std::int64_t w = 0; w < s.width; ++w) {
        const std::int64_t at = (h * s.width + w) * tile_width + j;
        sum += load(x + at) * strongest(s, gates, h, w, j) * load(weight + at);
      }
    store(out + j, sum);
  }
}

// Writes the gates of one image and tile as (N, K, C, H) and (N, K, C, W).
template <class S, class A, class X>
inline void store_gates(const S& s, std::int64_t channels, std::int64_t n, std::int64_t tile, const A* gates, X* rows,
                        X* columns) {
  const int count = channels_in_tile(channels, tile);
  for (std::int64_t k = 0; k < s.heads; ++k) {
    const std::int64_t channel = (n * s.heads + k) * channels + tile * tile_width;
    const A* from = gates + k * s.positions * tile_width;
    for (int c = 0; c < count; ++c) {
      for (std::int64_t h = 0; h < s.height; ++h)
        rows[(channel + c) * s.height + h] = narrow<X>(from[h * tile_width + c]);
      for (std::int64_t w = 0; w < s.width; ++w)
        columns[(channel + c) * s.width + w] = narrow<X>(from[(s.height + w) * tile_width + c]);
    }
  }
}

}  // namespace abawkit::ABAWKIT_ISA
