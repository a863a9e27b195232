// Gradients through the product of features and strongest map, and through the pooling, of one tile.
#pragma once

#include <type_traits>

#include "tile.h"

namespace abawkit::ABAWKIT_ISA {

// Sums of one row's gradients, a head each: in registers where the number of heads is known when compiling.
template <class S, class A>
struct RowSums {
  A* at;
  std::int64_t stride;
  void add(std::int64_t k, Vector<A> value) { store(at + k * stride, load(at + k * stride) + value); }
  void finish(const S&) {}
  RowSums(const S&, A* to, std::int64_t distance) : at(to), stride(distance) {}
};
template <int H, int W, int K, int M, class A>
struct RowSums<Fixed<H, W, K, M>, A> {
  A* at;
  std::int64_t stride;
  Vector<A> sum[K] = {};
  void add(std::int64_t k, Vector<A> value) { sum[k] += value; }
  void finish(const Fixed<H, W, K, M>&) {
    for (int k = 0; k < K; ++k) store(at + k * stride, load(at + k * stride) + sum[k]);
  }
  RowSums(const Fixed<H, W, K, M>&, A* to, std::int64_t distance) : at(to), stride(distance) {}
};

// Shares the gradient of a maximum among heads as torch.maximum does, one head after another: equal maps halve it.
template <class S, class A, class F>
inline void share(const S& s, const A* rows, const A* columns, Vector<A> gradient, F give) {
  for (std::int64_t k = s.heads - 1; k > 0; --k) {
    const Vector<A> own = load(rows + k * s.positions * tile_width) * load(columns + k * s.positions * tile_width);
    Vector<A> before = load(rows) * load(columns);
    for (std::int64_t i = 1; i < k; ++i) {
      const Vector<A> other = load(rows + i * s.positions * tile_width) * load(columns + i * s.positions * tile_width);
      before = before > other ? before : other;
    }
    const Vector<A> half = gradient * A(0.5), none = {};
    const Vector<A> part = own > before ? gradient : own == before ? half : none;
    give(k, part);
    gradient -= part;
  }
  give(0, gradient);
}

// Adds to `pool_gradient` (H, W, 16) and sets `gradients` (K, H + W, 16), of the gates, from `dz` (16), the gradient of
// the pooled value.
template <class S, class A>
inline void attend_backward(const S& s, const A* x, const A* gates, const A* pool_weight, const A* dz, A* pool_gradient,
                            A* gradients) {
  for (std::int64_t i = 0; i < s.gates * tile_width; ++i) gradients[i] = 0;
  for (int j = 0; j < tile_width; j += lanes<A>) {
    const Vector<A> pooled = load(dz + j);
    for (std::int64_t h = 0; h < s.height; ++h) {
      const A* rows = gates + h * tile_width + j;
      RowSums<S, A> sums(s, gradients + h * tile_width + j, s.positions * tile_width);
#pragma GCC unroll 8
      for (std::int64_t w = 0; w < s.width; ++w) {
        const std::int64_t at = (h * s.width + w) * tile_width + j;
        const A* columns = gates + (s.height + w) * tile_width + j;
        const Vector<A> product = pooled * load(x + at);
        store(pool_gradient + at, load(pool_gradient + at) + product * strongest(s, gates, h, w, j));
        share(s, rows, columns, product * load(pool_weight + at), [&](std::int64_t k, Vector<A> part) {
          const std::int64_t head = k * s.positions * tile_width;
          A* column = gradients + head + (s.height + w) * tile_width + j;
          sums.add(k, part * load(columns + head));
          store(column, load(column) + part * load(rows + head));
        });
      }
      sums.finish(s);
    }
  }
}

// From gradients of the gates to those of what the sigmoid was taken of.
template <class S, class A>
inline void sigmoid_backward(const S& s, const A* gates, A* gradients) {
  for (std::int64_t i = 0; i < s.gates * tile_width; i += lanes<A>) {
    const Vector<A> gate = load(gates + i);
    store(gradients + i, load(gradients + i) * gate * (1 - gate));
  }
}

// Gradients of the features of one tile, and of the weights of its directional sums, from those of the sums.
template <class S, class A>
inline void sums_backward(const S& s, const A* x, const A* sums, const A* row_weight, const A* column_weight,
                          const A* gates, const A* pool_weight, const A* dz, A* row_gradient, A* column_gradient,
                          A* out) {
  for (int j = 0; j < tile_width; j += lanes<A>) {
    const Vector<A> pooled = load(dz + j);
    for (std::int64_t h = 0; h < s.height; ++h)
#pragma GCC unroll 8
      for (std::int64_t w = 0; w < s.width; ++w) {
        const std::int64_t at = (h * s.width + w) * tile_width + j;
        Vector<A> gradient = pooled * load(pool_weight + at) * strongest(s, gates, h, w, j);
        for (std::int64_t k = 0; k < s.heads; ++k) {
          const A* sum = sums + k * s.positions * tile_width + j;
          gradient += load(sum + h * tile_width) * load(row_weight + (k * s.width + w) * tile_width + j);
          gradient +=
              load(sum + (s.height + w) * tile_width) * load(column_weight + (k * s.height + h) * tile_width + j);
        }
        store(out + at, gradient);
      }
    for (std::int64_t k = 0; k < s.heads; ++k) {
      const A* rows = sums + k * s.positions * tile_width + j;
      const A* columns = rows + s.height * tile_width;
      A* row = row_gradient + k * s.width * tile_width + j;
      A* column = column_gradient + k * s.height * tile_width + j;
      for (std::int64_t w = 0; w < s.width; ++w) {
        Vector<A> sum = load(row + w * tile_width);
#pragma GCC unroll 8
        for (std::int64_t h = 0; h < s.height; ++h)
          sum += load(rows + h * tile_width) * load(x + (h * s.width + w) * tile_width + j);
        store(row + w * tile_width, sum);
      }
      for (std::int64_t h = 0; h < s.height; ++h) {
        Vector<A> sum = load(column + h * tile_width);
#pragma GCC unroll 8
        for (std::int64_t w = 0; w < s.width; ++w)
          sum += load(columns + w * tile_width) * load(x + (h * s.width + w) * tile_width + j);
        store(column + h * tile_width, sum);
      }
    }
  }
}

}  // namespace abawkit::ABAWKIT_ISA
