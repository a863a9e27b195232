// Products of training: weights packed in panels, pixels times a panel, and sums of outer products over pixels.
#pragma once

#include <algorithm>
#include <cstring>

#include "pairs.h"
#include "sizes.h"

namespace abawkit::ABAWKIT_ISA {

// Weights in blocks of 16 outputs, each (rows, 16), and a bias (16). In bfloat16, a row holds pairs of two inputs.
struct Panels {
  float* data;
  std::int64_t blocks, inputs, rows;
  bool bfloat16;
  Panels(std::int64_t outputs, std::int64_t columns, Arena& arena, bool pairs = false)
      : blocks(count_blocks(outputs)), inputs(columns), rows(pairs ? (columns + 1) / 2 : columns), bfloat16(pairs) {
    data = arena.take<float>(blocks * stride());
  }
  std::int64_t stride() const { return (rows + 1) * block_channels; }
  float* block(std::int64_t b) const { return data + b * stride(); }

  void put(float* block, std::int64_t input, std::int64_t output, float weight) const {
    if (bfloat16)
      reinterpret_cast<ABAWKIT_ISA::bfloat16*>(block)[2 * (input / 2 * block_channels + output) + input % 2] =
          narrow<ABAWKIT_ISA::bfloat16>(weight);
    else
      block[input * block_channels + output] = weight;
  }

  // From weights (outputs, columns); rows beyond the columns become zero, and so do outputs that there are not.
  void pack(std::int64_t b, const float* weight, std::int64_t outputs, std::int64_t columns, const float* bias) const {
    float* to = block(b);
    const std::int64_t first = b * block_channels, count = std::min(block_channels, outputs - first);
    std::memset(to, 0, stride() * sizeof(float));
    for (std::int64_t c = 0; c < count; ++c) {
      const float* from = weight + (first + c) * columns;
      for (std::int64_t k = 0; k < columns; ++k) put(to, k, c, from[k]);
      if (bias != nullptr) to[rows * block_channels + c] = bias[first + c];
    }
  }
  // From weights (inputs, outputs).
  void pack_transposed(std::int64_t b, const float* weight, std::int64_t outputs) const {
    float* to = block(b);
    const std::int64_t first = b * block_channels, count = std::min(block_channels, outputs - first);
    std::memset(to, 0, stride() * sizeof(float));
    for (std::int64_t k = 0; k < inputs; ++k) {
      const float* from = weight + k * outputs + first;
      if (bfloat16)
        for (std::int64_t c = 0; c < count; ++c) put(to, k, c, from[c]);
      else
        std::memcpy(to + k * block_channels, from, count * sizeof(float));
    }
  }
};

// Where products go: 16 outputs of a pixel lie together.
struct PixelPlaces {
  float* at;
  std::int64_t pixel_stride, block_stride;
  void operator()(std::int64_t p, int j, Vector<float> sum) const {
    store(at + p * pixel_stride + j / block_vectors * block_stride + j % block_vectors * lanes<float>, sum);
  }
};

// The blocks first..end of outputs of `pixels` pixels.
template <class Values>
inline void multiply(const Values& values, std::int64_t pixels, const Panels& panels, std::int64_t first,
                     std::int64_t end, PixelPlaces to) {
  to.at += first * to.block_stride;
  while (first < end) {
    const float* weight = panels.block(first);
    const PanelWeights weights{weight, weight + panels.rows * block_channels, panels.stride()};
    const bool all = product_blocks > 1 && first + product_blocks <= end;
    all ? product<product_blocks>(values, 0, pixels, weights, to) : product<1>(values, 0, pixels, weights, to);
    first += all ? product_blocks : 1;
    to.at += (all ? product_blocks : 1) * to.block_stride;
  }
}

// A thread's memory for factors in bfloat16: of some pixels' channels, and of pixels for both sides of an outer
// product.
struct PairScratch {
  bool bfloat16;  // whether there is any
  Pair *channels, *left, *right;
  PairScratch(std::int64_t pixels, std::int64_t most, std::int64_t most_left, std::int64_t most_right, Arena& arena)
      : bfloat16(pixels > 0),
        channels(arena.take<Pair>(pixels * (most / 2 + block_channels))),
        left(arena.take<Pair>((pixels + 1) / 2 * most_left)),
        right(arena.take<Pair>((pixels + 1) / 2 * most_right)) {}
};

// All outputs of `pixels` pixels; in bfloat16 where the panels are.
inline void multiply(const PixelValues& values, std::int64_t pixels, const Panels& panels, const PixelPlaces& to,
                     const PairScratch& scratch) {
  if (!panels.bfloat16) return multiply(values, pixels, panels, 0, panels.blocks, to);
  // Pixels at a distance of a power of two would share few places of the first-level cache.
  const std::int64_t stride = panels.rows + block_channels;
  pair_channels(values, pixels, scratch.channels, stride);
  multiply(PixelPairs{scratch.channels, stride, panels.rows}, pixels, panels, 0, panels.blocks, to);
}

// Adds to `sums` (P rows at a stride) the products of P values and B blocks of 16, summed over the pixels, or over
// pairs of pixels.
template <int P, int B, class X>
__attribute__((noinline)) void outer_tile(const X* rows, std::int64_t row_stride, const X* columns,
                                          std::int64_t column_stride, std::int64_t pixels, float* sums,
                                          std::int64_t stride) {
  constexpr int V = B * block_vectors, L = lanes<float>;
  Vector<float> sum[P][V] = {};
  for (std::int64_t i = 0; i < pixels; ++i, rows += row_stride, columns += column_stride) {
    Vector<float> right[V];
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) right[j] = load(reinterpret_cast<const float*>(columns) + j * L);
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) {
      const X left = rows[p];
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) add_product(sum[p][j], right[j], left);
    }
  }
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) {
      float* to = sums + p * stride + j * L;
      store(to, load(to) + sum[p][j]);
    }
}

template <int P, int B, class... Arguments>
inline void outer_some(std::int64_t count, Arguments... arguments) {
  if (count == P)
    outer_tile<P, B>(arguments...);
  else if constexpr (P > 1)
    outer_some<P - 1, B>(count, arguments...);
}

// Adds to `sums` (rows, 16 blocks) the products of the pixels' values in `left`, `rows` of them, and in `right`, whole
// blocks of 16; or over pairs of pixels.
template <class Values>
inline void add_outer_products(const Values& left, const Values& right, std::int64_t pixels, float* sums) {
  const std::int64_t rows = left.channels, tiles = (rows + product_pixels - 1) / product_pixels;
  for (std::int64_t c = 0; c < right.channels;) {
    const bool all = product_blocks > 1 && c + product_blocks * block_channels <= right.channels;
    for (std::int64_t i = 0; i < tiles; ++i) {
      const std::int64_t first = rows * i / tiles, count = rows * (i + 1) / tiles - first;
      if (all)
        outer_some<product_pixels, product_blocks>(count, left.at + first, left.pixel_stride, right.at + c,
                                                   right.pixel_stride, pixels, sums + first * right.channels + c,
                                                   right.channels);
      else
        outer_some<product_pixels, 1>(count, left.at + first, left.pixel_stride, right.at + c, right.pixel_stride,
                                      pixels, sums + first * right.channels + c, right.channels);
    }
    c += (all ? product_blocks : 1) * block_channels;
  }
}

// In bfloat16 where there is memory for it.
inline void add_outer_products(const PixelValues& left, const PixelValues& right, std::int64_t pixels, float* sums,
                               const PairScratch& scratch) {
  if (!scratch.bfloat16) return add_outer_products(left, right, pixels, sums);
  pair_pixels(left, pixels, scratch.left);
  pair_pixels(right, pixels, scratch.right);
  add_outer_products(PixelPairs{scratch.left, left.channels, left.channels},
                     PixelPairs{scratch.right, right.channels, right.channels}, (pixels + 1) / 2, sums);
}

}  // namespace abawkit::ABAWKIT_ISA
