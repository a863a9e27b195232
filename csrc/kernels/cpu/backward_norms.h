// Gradients through the norm of the pooled values and through the squeeze's, in training's backward pass.
#pragma once

#include "backward_workspace.h"

namespace abawkit::ABAWKIT_ISA {

// The sums that the last norm's gradient needs, of one tile; `to` (N, 16), at a distance of a group's width, are the
// normalised pooled values.
template <class A, class X>
inline void sum_pooled(const Backward& call, std::int64_t tile, double* numbers, A* to) {
  const Sizes& z = call.sizes;
  constexpr std::int64_t distance = group_tiles * tile_width;
  const int count = channels_in_tile(z.channels, tile);
  const std::int64_t first = tile * tile_width;
  const A* at = static_cast<const A*>(call.statistics) + NormOffsets(z).pool + first;
  A reciprocal[tile_width] = {};
  for (int c = 0; c < count; ++c) reciprocal[c] = reciprocal_deviation(at[z.norms() + c], call.eps);
  double *totals = numbers + first, *products = numbers + z.channels + first;
  std::memset(totals, 0, count * sizeof(double));
  std::memset(products, 0, count * sizeof(double));
  const X* gradients = static_cast<const X*>(call.grad_embedding) + first;
  for (std::int64_t n = 0; n < z.images; ++n) {
    A* normal = to + n * distance;
    const A* pooled = static_cast<const A*>(call.pooled) + n * z.channels + first;
    for (int c = 0; c < count; ++c) {
      normal[c] = (pooled[c] - at[c]) * reciprocal[c];
      const A value = widen(gradients[n * z.channels + c]);
      totals[c] += value;
      products[c] += double(value) * double(normal[c]);
    }
  }
  for (int c = 0; c < count; ++c) {
    static_cast<A*>(call.gradients[pool_scale])[first + c] = static_cast<A>(products[c]);
    static_cast<A*>(call.gradients[pool_shift])[first + c] = static_cast<A>(totals[c]);
  }
}

// The gradient of the pooled values of one tile, in place of the normalised ones, from that of the embedding.
template <class A, class X>
inline void differentiate_pooled(const Backward& call, std::int64_t tile, const double* numbers, double images, A* to) {
  const Sizes& z = call.sizes;
  constexpr std::int64_t distance = group_tiles * tile_width;
  const int count = channels_in_tile(z.channels, tile);
  const std::int64_t first = tile * tile_width;
  const A* variances = static_cast<const A*>(call.statistics) + NormOffsets(z).pool + z.norms() + first;
  const A* scale = static_cast<const A*>(call.parameters[pool_scale]) + first;
  const X* gradients = static_cast<const X*>(call.grad_embedding) + first;
  A a[tile_width] = {}, b[tile_width] = {}, factor[tile_width] = {};
  for (int c = 0; c < count; ++c) {
    factor[c] = scale[c] * reciprocal_deviation(variances[c], call.eps);
    if (!call.batch_statistics) continue;
    a[c] = static_cast<A>(numbers[first + c] / images);
    b[c] = static_cast<A>(numbers[z.channels + first + c] / images);
  }
  for (std::int64_t n = 0; n < z.images; ++n) {
    A* normal = to + n * distance;
    for (int c = 0; c < count; ++c)
      normal[c] = factor[c] * (widen(gradients[n * z.channels + c]) - a[c] - normal[c] * b[c]);
    for (int c = count; c < tile_width; ++c) normal[c] = 0;
  }
}

// Calls f(from, at, side, count) for the rows (side 0) and columns of every image and head, vector by vector: `count`
// of them, Mp apart, the first one at `from`; `at` is its place in (K, Mp).
template <class A, class S, class F>
inline void for_each_hidden(const S& s, std::int64_t images, const F& f) {
  for (std::int64_t n = 0; n < images; ++n)
    for (std::int64_t k = 0; k < s.heads; ++k)
      for (int side = 0; side < 2; ++side)
        for (std::int64_t m = 0; m < s.padded; m += lanes<A>) {
          const std::int64_t first = (n * s.heads + k) * s.positions + (side == 0 ? 0 : s.height);
          f(first * s.padded + m, k * s.padded + m, side, side == 0 ? s.height : s.width);
        }
}

// Through the squeeze's norm; leaves the gradient of its input in `hidden`, whose values are no longer needed.
template <class A, class S>
inline void differentiate_squeeze(const Backward& call, const S& s, const BackwardWorkspace<A>& w) {
  const Sizes& z = call.sizes;
  const std::int64_t size = s.heads * s.padded;
  std::memset(w.totals, 0, size * sizeof(double));
  std::memset(w.products, 0, size * sizeof(double));
  std::memset(w.sums, 0, 2 * size * sizeof(double));
  for_each_hidden<A>(s, z.images, [&](std::int64_t from, std::int64_t at, std::int64_t, std::int64_t count) {
    Vector<A> total = {}, product = {};
    for (std::int64_t i = from; i < from + count * s.padded; i += s.padded) {
      total += load(w.partial + i);
      product += load(w.partial + i) * load(w.squeezed + i);
    }
    add_to(w.totals + at, total);
    add_to(w.products + at, product);
  });
  std::memcpy(w.numbers, w.totals, size * sizeof(double));
  std::memcpy(w.numbers + size, w.products, size * sizeof(double));
  const double images = call.processes.add(w.numbers, 2 * size, z.images);
  const double values = call.batch_statistics ? images * double(s.positions) : 0;  // of each channel
  for_each_hidden<A>(s, z.images, [&](std::int64_t from, std::int64_t at, std::int64_t side, std::int64_t count) {
    Vector<A> a = {}, b = {}, sum = {};
    for (int j = 0; values > 0 && j < lanes<A>; ++j) {
      a[j] = static_cast<A>(w.numbers[at + j] / values);
      b[j] = static_cast<A>(w.numbers[size + at + j] / values);
    }
    const Vector<A> factor = load(w.norm.reciprocal + at) * load(w.norm.scale + at);
    for (std::int64_t i = from; i < from + count * s.padded; i += s.padded) {
      const Vector<A> value = factor * (load(w.partial + i) - a - load(w.squeezed + i) * b);
      store(w.hidden + i, value);
      sum += value;
    }
    add_to(w.sums + at + (at / s.padded + side) * s.padded, sum);
  });
  for (std::int64_t k = 0; k < s.heads; ++k)
    for (std::int64_t m = 0; m < s.squeezed; ++m) {
      const std::int64_t km = k * s.squeezed + m, at = k * s.padded + m;
      const double* sums = w.sums + k * 2 * s.padded + m;
      static_cast<A*>(call.gradients[squeeze_scale])[km] = static_cast<A>(w.products[at]);
      static_cast<A*>(call.gradients[squeeze_shift])[km] = static_cast<A>(w.totals[at]);
      static_cast<A*>(call.gradients[squeeze_bias])[km] = static_cast<A>(sums[0] + sums[s.padded]);
    }
}

}  // namespace abawkit::ABAWKIT_ISA
