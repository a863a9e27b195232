// Memory for the gradients of weights, which are sums over images: the images go in a few shares, whose number does not
// depend on the threads, and the shares' sums are added in their order.
#pragma once

#include "mixed_images.h"

namespace abawkit::ABAWKIT_ISA {

inline constexpr std::int64_t gradient_shares = 8;

// Where the sums lie in the memory of a share.
struct GradientSums {
  std::int64_t shares, size = 0;
  std::int64_t expand, row, column, squeeze, project;  // (I | M | M | M | O, 16 Eb)
  std::int64_t row_bias, column_bias, squeeze_bias;    // (16 Eb), (16 Eb), (16 Mb)
  std::int64_t depthwise;                              // as the kernels in blocks
  float* data;
  GradientSums(const MixedShape& s, const TrainingSizes& z, Arena& arena)
      : shares(std::min(s.images, gradient_shares)),
        expand(take(s.inputs * z.padded)),
        row(take(s.squeezed * z.padded)),
        column(take(s.squeezed * z.padded)),
        squeeze(take(s.squeezed * z.padded)),
        project(take(s.outputs * z.padded)),
        row_bias(take(z.padded)),
        column_bias(take(z.padded)),
        squeeze_bias(take(z.bottleneck)),
        depthwise(take(z.taps)),
        data(arena.take<float>(shares * size)) {}
  float* of(std::int64_t share) const { return data + share * size; }
  std::int64_t first(std::int64_t share, std::int64_t images) const { return images * share / shares; }

  // A vector of all shares.
  Vector<float> sum(std::int64_t at) const {
    Vector<float> total = load(data + at);
    for (std::int64_t i = 1; i < shares; ++i) total += load(data + i * size + at);
    return total;
  }
  // The channels of one block of E of a matrix (rows, 16 Eb), as (rows, E) or (E, rows).
  void write_rows(std::int64_t at, std::int64_t rows, const TrainingSizes& z, std::int64_t block, bool turned,
                  float* to) const {
    const std::int64_t first = block * block_channels, count = std::min(block_channels, z.channels - first);
    for (std::int64_t r = 0; r < rows; ++r) {
      float values[block_channels];
      for (int j = 0; j < block_channels; j += lanes<float>) store(values + j, sum(at + r * z.padded + first + j));
      for (std::int64_t c = 0; c < count; ++c)
        to[turned ? (first + c) * rows + r : r * z.channels + first + c] = values[c];
    }
  }

 private:
  std::int64_t take(std::int64_t count) {
    size += count;
    return size - count;
  }
};

}  // namespace abawkit::ABAWKIT_ISA
