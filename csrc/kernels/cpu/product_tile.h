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

// Values (parts, pixels, depth) at strides; the last is contiguous. The channels of a pixel are parts * depth.
struct PixelValues {
  const float* at;
  std::int64_t pixel_stride, depth, parts, part_stride;
};

// Weights (blocks, channels, 16) and biases (blocks, 16), a block of outputs at a stride.
struct PanelWeights {
  const float* weight;
  const float* bias;
  std::int64_t block_stride;
};

template <int P, int B>
struct ProductTile {
  static constexpr int V = B * block_vectors;
  Vector<float> sum[P][V];

  // Sums of P pixels from `first` on.
  inline __attribute__((always_inline)) void multiply(const PixelValues& values, std::int64_t first,
                                                      const PanelWeights& weights) {
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) {
      const Vector<float> bias =
          load(weights.bias + j / block_vectors * weights.block_stride + j % block_vectors * lanes<float>);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) sum[p][j] = bias;
    }
    const float* weight = weights.weight;
    for (std::int64_t part = 0; part < values.parts; ++part) {
      const float* a = values.at + part * values.part_stride + first * values.pixel_stride;
      for (std::int64_t k = 0; k < values.depth; ++k, weight += block_channels) {
        Vector<float> right[V];
#pragma GCC unroll 4
        for (int j = 0; j < V; ++j)
          right[j] = load(weight + j / block_vectors * weights.block_stride + j % block_vectors * lanes<float>);
#pragma GCC unroll 16
        for (int p = 0; p < P; ++p) {
          const float left = a[p * values.pixel_stride + k];
#pragma GCC unroll 4
          for (int j = 0; j < V; ++j) sum[p][j] += left * right[j];
        }
      }
    }
  }
};

// One tile of P pixels: finish(p, j, sum) takes the sums of vector j of pixel first + p.
template <int P, int B, class F>
__attribute__((noinline)) void product_tile(const PixelValues& values, std::int64_t first, const PanelWeights& weights,
                                            const F& finish) {
  ProductTile<P, B> tile;
  tile.multiply(values, first, weights);
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
    for (int j = 0; j < tile.V; ++j) finish(first + p, j, tile.sum[p][j]);
}

template <int P, int B, class F>
inline void product_some(std::int64_t pixels, const PixelValues& values, std::int64_t first,
                         const PanelWeights& weights, const F& finish) {
  if (pixels == P)
    product_tile<P, B>(values, first, weights, finish);
  else if constexpr (P > 1)
    product_some<P - 1, B>(pixels, values, first, weights, finish);
}

// The pixels from..to in tiles of nearly equal size: 7 are 4 and 3, not 6 and 1.
template <int B, class F>
inline void product(const PixelValues& values, std::int64_t from, std::int64_t to, const PanelWeights& weights,
                    const F& finish) {
  const std::int64_t pixels = to - from, tiles = (pixels + product_pixels - 1) / product_pixels;
  for (std::int64_t i = 0; i < tiles; ++i) {
    const std::int64_t first = pixels * i / tiles;
    product_some<product_pixels, B>(pixels * (i + 1) / tiles - first, values, from + first, weights, finish);
  }
}

}  // namespace abawkit::ABAWKIT_ISA
