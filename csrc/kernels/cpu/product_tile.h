// Products of a 1x1 convolution: a few pixels times one or two blocks of 16 outputs, summed in registers.
//
// Channels stand in the lanes of the sums; the pixels' values are broadcast one by one. With R registers of L lanes, P
// pixels times V vectors of outputs need P V sums, V weights and one broadcast value, and load P + V values for P V
// multiply-adds, of which a core starts two a cycle and has eight under way: AVX2 takes 6 x 2 of its 16 registers,
// AVX-512 14 x 2 of its 32. Each sum is taken in the order of the input channels, whatever the tile, so that the same
// numbers come of any cut.
#pragma once

#include "mixed_block.h"
#include "vector.h"

namespace abawkit::ABAWKIT_ISA {

inline constexpr int block_vectors = static_cast<int>(block_channels) / lanes<float>;
// The tile of this instruction set: pixels, and blocks of 16 outputs.
inline constexpr int product_pixels = vector_bytes == 64 ? 14 : vector_bytes == 32 ? 6 : 2;
inline constexpr int product_blocks = vector_bytes == 64 ? 2 : 1;

// Values (pixels, channels), a pixel at a stride.
struct PixelValues {
  const float* at;
  std::int64_t pixel_stride, channels;
};

// The same in pairs of two neighbouring channels in bfloat16.
struct PixelPairs {
  const Pair* at;
  std::int64_t pixel_stride, channels;  // in pairs
};

// Weights (blocks, channels, 16) and biases (blocks, 16), a block of outputs at a stride. For pairs of channels, the
// bits of a weight are those of a pair.
struct PanelWeights {
  const float* weight;
  const float* bias;
  std::int64_t block_stride;
};

// Channels that are summed up before they are added to the others: rounding errors grow with the length of a sum.
inline constexpr std::int64_t product_channels = 128;

inline void add_product(Vector<float>& sum, Vector<float> weights, float value) { sum += value * weights; }
inline void add_product(Vector<float>& sum, Vector<float> weights, Pair values) {
  sum = add_pair_products(sum, weights, values);
}

template <int P, int B>
struct ProductTile {
  static constexpr int V = B * block_vectors;
  Vector<float> sum[P][V];

  // Sums of P pixels from `first` on; `Cut` says whether there are more than `product_channels`.
  template <bool Cut, class Values>
  inline __attribute__((always_inline)) void multiply(const Values& values, std::int64_t first,
                                                      const PanelWeights& weights) {
    for_each([&](int p, int j) { sum[p][j] = load(weights.bias + place(j, weights)); });
    const auto* a = values.at + first * values.pixel_stride;
    const float* weight = weights.weight;
    if constexpr (!Cut) return add_products(a, values.pixel_stride, values.channels, weight, weights);
    alignas(64) float total[P * V * lanes<float>];
    asm volatile("" : : "r"(total) : "memory");  // in memory: the registers are taken
    add_products(a, values.pixel_stride, product_channels, weight, weights);
    for_each([&](int p, int j) { store(total + (p * V + j) * lanes<float>, sum[p][j]); });
    for (std::int64_t k = product_channels; k < values.channels; k += product_channels) {
      for_each([&](int p, int j) { sum[p][j] = Vector<float>{}; });
      const std::int64_t left = values.channels - k;
      add_products(a + k, values.pixel_stride, left < product_channels ? left : product_channels,
                   weight + k * block_channels, weights);
      for_each([&](int p, int j) {
        float* to = total + (p * V + j) * lanes<float>;
        sum[p][j] += load(to);
        store(to, sum[p][j]);
      });
    }
  }

  template <class X>
  inline __attribute__((always_inline)) void add_products(const X* a, std::int64_t stride, std::int64_t channels,
                                                          const float* weight, const PanelWeights& weights) {
    for (std::int64_t k = 0; k < channels; ++k, weight += block_channels) {
      Vector<float> right[V];
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) right[j] = load(weight + place(j, weights));
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const X left = a[p * stride + k];
#pragma GCC unroll 4
        for (int j = 0; j < V; ++j) add_product(sum[p][j], right[j], left);
      }
    }
  }

  // Calls f(p, j) for each vector of the tile.
  template <class F>
  static inline __attribute__((always_inline)) void for_each(const F& f) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) f(p, j);
  }

 private:
  static std::int64_t place(int j, const PanelWeights& weights) {
    return j / block_vectors * weights.block_stride + j % block_vectors * lanes<float>;
  }
};

// One tile of P pixels: finish(p, j, sum) takes the sums of vector j of pixel first + p.
template <int P, int B, bool Cut, class Values, class F>
__attribute__((noinline)) void product_tile(const Values& values, std::int64_t first, const PanelWeights& weights,
                                            const F& given) {
  const F finish = given;  // stores could otherwise change what it holds
  ProductTile<P, B> tile;
  tile.template multiply<Cut>(values, first, weights);
  tile.for_each([&](int p, int j) { finish(first + p, j, tile.sum[p][j]); });
}

template <int P, int B, bool Cut, class Values, class F>
inline void product_some(std::int64_t pixels, const Values& values, std::int64_t first, const PanelWeights& weights,
                         const F& finish) {
  if (pixels == P)
    product_tile<P, B, Cut>(values, first, weights, finish);
  else if constexpr (P > 1)
    product_some<P - 1, B, Cut>(pixels, values, first, weights, finish);
}

// Calls f(first, count) for tiles of nearly equal size of the pixels from..to: 7 are 4 and 3, not 6 and 1.
template <class F>
inline void for_each_tile(std::int64_t from, std::int64_t to, const F& f) {
  const std::int64_t pixels = to - from, tiles = (pixels + product_pixels - 1) / product_pixels;
  for (std::int64_t i = 0; i < tiles; ++i) {
    const std::int64_t first = pixels * i / tiles;
    f(from + first, pixels * (i + 1) / tiles - first);
  }
}

template <int B, class F>
inline void product(const PixelValues& values, std::int64_t from, std::int64_t to, const PanelWeights& weights,
                    const F& finish) {
  for_each_tile(from, to, [&](std::int64_t first, std::int64_t count) {
    if (values.channels > product_channels)
      product_some<product_pixels, B, true>(count, values, first, weights, finish);
    else
      product_some<product_pixels, B, false>(count, values, first, weights, finish);
  });
}

// The same of pairs, in one sum: their own rounding is coarser than that of any sum.
template <int B, class F>
inline void product(const PixelPairs& values, std::int64_t from, std::int64_t to, const PanelWeights& weights,
                    const F& finish) {
  for_each_tile(from, to, [&](std::int64_t first, std::int64_t count) {
    product_some<product_pixels, B, false>(count, values, first, weights, finish);
  });
}

}  // namespace abawkit::ABAWKIT_ISA
