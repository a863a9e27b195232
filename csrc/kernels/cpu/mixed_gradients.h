// Gradients of the depthwise convolution of 16 channels: of its weights and of its input.
#pragma once

#include "mixed_depthwise.h"

namespace abawkit::ABAWKIT_ISA {

// T neighbouring weights of one row of the kernel, over some rows of the output: `in` is the first value of the input
// that the first of them meets, `gradient` that of the output.
template <int T, int S>
__attribute__((noinline)) void depthwise_weight_tile(const float* in, std::int64_t row_stride, const float* gradient,
                                                     std::int64_t gradient_stride, std::int64_t rows,
                                                     std::int64_t columns, float* weight) {
  constexpr int V = block_vectors, L = lanes<float>;
  Vector<float> sum[T][V] = {};
  for (std::int64_t y = 0; y < rows; ++y, in += S * row_stride, gradient += gradient_stride) {
    const float *at = in, *from = gradient;
    for (std::int64_t x = 0; x < columns; ++x, at += S * block_channels, from += block_channels) {
      Vector<float> g[V];
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) g[j] = load(from + j * L);
#pragma GCC unroll 16
      for (int i = 0; i < T; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < V; ++j) sum[i][j] += load(at + i * block_channels + j * L) * g[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < T; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) {
      float* to = weight + i * block_channels + j * L;
      store(to, load(to) + sum[i][j]);
    }
}

template <int T, int S, class... Arguments>
inline void depthwise_weight_some(std::int64_t weights, Arguments... arguments) {
  if (weights == T)
    depthwise_weight_tile<T, S>(arguments...);
  else if constexpr (T > 1)
    depthwise_weight_some<T - 1, S>(weights, arguments...);
}

// Adds to `weight` (kernel, kernel, 16) its gradient from one image: `gradient` is that of the output (H', W', 16).
template <int S>
void depthwise_weights(const Plane& in, const Plane& gradient, std::int64_t kernel, float* weight) {
  constexpr std::int64_t run = 256;  // outputs that are summed before their sum is added to the others
  const std::int64_t half = kernel / 2, tiles = (kernel + depthwise_outputs - 1) / depthwise_outputs;
  const std::int64_t several = run / gradient.width > 1 ? run / gradient.width : 1;
  for (std::int64_t k = 0; k < kernel; ++k) {
    // Rows of the output whose row of the input, y S + k - half, there is.
    const std::int64_t first = k < half ? (half - k + S - 1) / S : 0, last = in.height - 1 + half - k;
    const std::int64_t end = last < 0 ? 0 : last / S + 1 < gradient.height ? last / S + 1 : gradient.height;
    for (std::int64_t y = first; y < end; y += several) {
      const std::int64_t rows = end - y < several ? end - y : several;
      const float* row = in.data + (y * S + k - half) * in.row_stride() + (in.margin - half) * block_channels;
      const float* from = gradient.data + y * gradient.row_stride() + gradient.margin * block_channels;
      for (std::int64_t tile = 0; tile < tiles; ++tile) {
        const std::int64_t x = kernel * tile / tiles, next = kernel * (tile + 1) / tiles;
        depthwise_weight_some<depthwise_outputs, S>(next - x, row + x * block_channels, in.row_stride(), from,
                                                    gradient.row_stride(), rows, gradient.width,
                                                    weight + (k * kernel + x) * block_channels);
      }
    }
  }
}

// The rows, or the columns, of the kernel that the inputs of one parity meet: `first`, first + S, ... `count` of them.
// The first input of that parity meets with the last of them the output `offset`.
struct KernelRun {
  std::int64_t first, count, offset;
  KernelRun(std::int64_t kernel, std::int64_t stride, std::int64_t parity)
      : first((parity + kernel / 2) % stride),
        count((kernel - first + stride - 1) / stride),
        offset((parity + kernel / 2 - first) / stride - (count - 1)) {}
};

// Rearranges a kernel (kernel, kernel, 16) for `depthwise_inputs`: for each parity of rows and of columns, what inputs
// meet, reversed.
template <int S>
void turn_kernel(const float* weight, std::int64_t kernel, float* turned) {
  for (std::int64_t py = 0; py < S; ++py)
    for (std::int64_t px = 0; px < S; ++px) {
      const KernelRun rows(kernel, S, py), columns(kernel, S, px);
      for (std::int64_t y = rows.count - 1; y >= 0; --y)
        for (std::int64_t x = columns.count - 1; x >= 0; --x, turned += block_channels)
          std::memcpy(turned, weight + ((rows.first + S * y) * kernel + columns.first + S * x) * block_channels,
                      block_channels * sizeof(float));
    }
}

template <int T, int S>
__attribute__((noinline)) void depthwise_input_tile(const float* gradient, std::int64_t row_stride, const float* weight,
                                                    std::int64_t rows, std::int64_t kernel, float* out) {
  constexpr int V = block_vectors, L = lanes<float>;
  Vector<float> sum[T][V] = {};
  depthwise_sums<T, 1>(gradient, row_stride, weight, rows, kernel, sum);
#pragma GCC unroll 16
  for (int i = 0; i < T; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) store(out + i * S * block_channels + j * L, sum[i][j]);
}

template <int T, int S, class... Arguments>
inline void depthwise_input_some(std::int64_t inputs, Arguments... arguments) {
  if (inputs == T)
    depthwise_input_tile<T, S>(arguments...);
  else if constexpr (T > 1)
    depthwise_input_some<T - 1, S>(inputs, arguments...);
}

// The gradient (H, W, 16) of the input from that of the output, whose margins hold zeros; `turned` by `turn_kernel`.
template <int S>
void depthwise_inputs(const Plane& gradient, const float* turned, std::int64_t kernel, std::int64_t height,
                      std::int64_t width, float* out) {
  for (std::int64_t py = 0; py < S; ++py)
    for (std::int64_t px = 0; px < S; ++px) {
      const KernelRun rows(kernel, S, py), columns(kernel, S, px);
      const std::int64_t inputs = (width - px + S - 1) / S,
                         tiles = (inputs + depthwise_outputs - 1) / depthwise_outputs;
      for (std::int64_t y = py, i = 0; y < height; y += S, ++i) {
        std::int64_t top = i + rows.offset, skip = top < 0 ? -top : 0, count = rows.count - skip;
        if (top + rows.count > gradient.height) count = gradient.height - top - skip;
        if (count < 0) skip = count = 0, top = 0;  // there is no such row: its gradient is zero
        const float* row =
            gradient.data + (top + skip) * gradient.row_stride() + (gradient.margin + columns.offset) * block_channels;
        for (std::int64_t tile = 0; tile < tiles; ++tile) {
          const std::int64_t x = inputs * tile / tiles, next = inputs * (tile + 1) / tiles;
          depthwise_input_some<depthwise_outputs, S>(next - x, row + x * block_channels, gradient.row_stride(),
                                                     turned + skip * columns.count * block_channels, count,
                                                     columns.count, out + (y * width + px + x * S) * block_channels);
        }
      }
      turned += rows.count * columns.count * block_channels;
    }
}

}  // namespace abawkit::ABAWKIT_ISA
