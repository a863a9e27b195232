// The depthwise convolution of 16 channels, and its sums over rows and columns for coordinate attention.
//
// The input lies in a plane (H, W + 2 margin, 16) whose margins at both sides hold zeros: a tile at the border is then
// like any other. Rows above and below the image are left out instead. A tile is a few neighbouring outputs of one row;
// for each weight of the kernel all of them are multiplied and added, with operands straight from the cache.
#pragma once

#include "mixed_block.h"
#include "product_tile.h"
#include "vector.h"

namespace abawkit::ABAWKIT_ISA {

// Outputs of a tile: sums and weights fill the registers of AVX2, sums alone half of those of AVX-512.
inline constexpr int depthwise_outputs = vector_bytes == 64 ? 14 : vector_bytes == 32 ? 7 : 2;

struct Plane {
  const float* data;  // (H, W + 2 margin, 16)
  std::int64_t height, width, margin;
  std::int64_t row_stride() const { return (width + 2 * margin) * block_channels; }
};

struct DepthwiseOutput {
  float* out;          // (H', W', 16)
  float* row_sums;     // (H', 16)
  float* column_sums;  // (W', 16)
  std::int64_t height, width;
};

// Sums of T outputs: `in` is the first value that the first row of `weight` (rows, kernel, 16) meets, and S how many
// values of the input lie between those of two outputs.
template <int T, int S>
inline __attribute__((always_inline)) void depthwise_sums(const float* in, std::int64_t row_stride, const float* weight,
                                                          std::int64_t rows, std::int64_t kernel,
                                                          Vector<float> (&sum)[T][block_vectors]) {
  constexpr int V = block_vectors, L = lanes<float>;
  for (std::int64_t y = 0; y < rows; ++y, in += row_stride) {
    const float* at = in;
    for (std::int64_t k = 0; k < kernel; ++k, at += block_channels, weight += block_channels) {
      Vector<float> w[V];
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) w[j] = load(weight + j * L);
#pragma GCC unroll 16
      for (int i = 0; i < T; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < V; ++j) sum[i][j] += load(at + i * S * block_channels + j * L) * w[j];
    }
  }
}

// T outputs, and their shares of the sums over rows and columns.
template <int T, int S>
__attribute__((noinline)) void depthwise_tile(const float* in, std::int64_t row_stride, const float* weight,
                                              std::int64_t rows, std::int64_t kernel, float* out, float* row_sum,
                                              float* column_sums) {
  constexpr int V = block_vectors, L = lanes<float>;
  Vector<float> sum[T][V] = {};
  depthwise_sums<T, S>(in, row_stride, weight, rows, kernel, sum);
#pragma GCC unroll 4
  for (int j = 0; j < V; ++j) {
    Vector<float> total = load(row_sum + j * L);
#pragma GCC unroll 16
    for (int i = 0; i < T; ++i) {
      const std::int64_t to = i * block_channels + j * L;
      store(out + to, sum[i][j]);
      total += sum[i][j];
      store(column_sums + to, load(column_sums + to) + sum[i][j]);
    }
    store(row_sum + j * L, total);
  }
}

template <int T, int S, class... Arguments>
inline void depthwise_some(std::int64_t outputs, Arguments... arguments) {
  if (outputs == T)
    depthwise_tile<T, S>(arguments...);
  else if constexpr (T > 1)
    depthwise_some<T - 1, S>(outputs, arguments...);
}

// All outputs of a plane with a stride of S; `weight` is (kernel, kernel, 16).
template <int S>
void depthwise(const Plane& in, const float* weight, std::int64_t kernel, const DepthwiseOutput& to) {
  std::memset(to.row_sums, 0, to.height * block_channels * sizeof(float));
  std::memset(to.column_sums, 0, to.width * block_channels * sizeof(float));
  const std::int64_t half = kernel / 2, tiles = (to.width + depthwise_outputs - 1) / depthwise_outputs;
  for (std::int64_t y = 0; y < to.height; ++y) {
    const std::int64_t top = y * S - half, skip = top < 0 ? -top : 0;
    const std::int64_t end = top + kernel > in.height ? in.height - top : kernel;
    const float* row = in.data + (top + skip) * in.row_stride() + (in.margin - half) * block_channels;
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::int64_t x = to.width * tile / tiles, next = to.width * (tile + 1) / tiles;
      depthwise_some<depthwise_outputs, S>(next - x, row + x * S * block_channels, in.row_stride(),
                                           weight + skip * kernel * block_channels, end - skip, kernel,
                                           to.out + (y * to.width + x) * block_channels,
                                           to.row_sums + y * block_channels, to.column_sums + x * block_channels);
    }
  }
}

}  // namespace abawkit::ABAWKIT_ISA
