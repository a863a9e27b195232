// What is done to one tile: 16 channels of one image, channels in the lanes, positions one after another.
#pragma once

#include "sizes.h"
#include "vector.h"

namespace abawkit::ABAWKIT_ISA {

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

// Where directional sums start: (K, 16) each, or null for zeros.
template <class A>
struct Starts {
  const A *row = nullptr, *column = nullptr;
};

// Directional sums of columns w..w + B: adds to `rows` (H, 16), sets `columns` (W, 16).
template <int B, class S, class A>
inline void sum_columns(const S& s, const A* x, const A* row_weight, const A* column_weight, Starts<A> starts, A* rows,
                        A* columns, std::int64_t w, int j) {
  const Vector<A> row_start = starts.row != nullptr ? load(starts.row + j) : Vector<A>{};
  const Vector<A> column_start = starts.column != nullptr ? load(starts.column + j) : Vector<A>{};
  Vector<A> column[B];
#pragma GCC unroll 8
  for (int i = 0; i < B; ++i) column[i] = column_start;
#pragma GCC unroll 8
  for (std::int64_t h = 0; h < s.height; ++h) {
    const Vector<A> weight = load(column_weight + h * tile_width + j);
    Vector<A> row = w == 0 ? row_start : load(rows + h * tile_width + j);
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
inline void directional_sums(const S& s, const A* x, const A* row_weight, const A* column_weight, A* sums,
                             Starts<A> starts = {}) {
  for (std::int64_t k = 0; k < s.heads; ++k) {
    const A* row = row_weight + k * s.width * tile_width;
    const A* column = column_weight + k * s.height * tile_width;
    A* rows = sums + k * s.positions * tile_width;
    A* columns = rows + s.height * tile_width;
    const std::int64_t at = k * tile_width;
    const Starts<A> start = starts.row == nullptr ? starts : Starts<A>{starts.row + at, starts.column + at};
    for (int j = 0; j < tile_width; j += lanes<A>) {
      std::int64_t w = 0;
      for (; w + 7 <= s.width; w += 7) sum_columns<7>(s, x, row, column, start, rows, columns, w, j);
      for (; w < s.width; ++w) sum_columns<1>(s, x, row, column, start, rows, columns, w, j);
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
inline void make_gates(const S& s, const A* hidden, const GateWeights<A>& weights, A* gates) {
  for (std::int64_t k = 0; k < s.heads; ++k) {
    for (int side = 0; side < 2; ++side) {
      const std::int64_t count = side == 0 ? s.height : s.width;
      const std::int64_t first = k * s.positions + (side == 0 ? 0 : s.height);
      const A* bias = (side == 0 ? weights.row_bias : weights.column_bias) + k * tile_width;
      const A* weight = (side == 0 ? weights.row : weights.column) + k * s.padded * tile_width;
      A* out = gates + first * tile_width;
      multiply(count, out, tile_width, {hidden + first * s.padded, s.padded, 1, weight, tile_width, s.squeezed}, bias);
    }
  }
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
    // One sum would wait for itself at each position.
    Vector<A> even = load(out + j), odd = {};
#pragma GCC unroll 8
    for (std::int64_t h = 0; h < s.height; ++h)
#pragma GCC unroll 8
      for (std::int64_t w = 0; w < s.width; ++w) {
        const std::int64_t at = (h * s.width + w) * tile_width + j;
        ((h + w) % 2 == 0 ? even : odd) += load(x + at) * load(weight + at) * strongest(s, gates, h, w, j);
      }
    store(out + j, even + odd);
  }
}

}  // namespace abawkit::ABAWKIT_ISA
