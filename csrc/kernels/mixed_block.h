// The mixed block in evaluation: what a caller hands to the kernels. No torch, no Python, no allocation here.
//
// For an input x (N, I, H, W), E expanded channels, O outputs, a bottleneck of M channels and batch norms folded into
// the weights before them:
//   z = prelu(expand_weight x + expand_bias)                                                    (N, E, H, W)
//   t = depthwise convolution of z: each part of the channels with its own odd kernel size k, padding k / 2, and a
//       stride of 1 or 2                                                                       (N, E, H', W')
//   s = hardswish(squeeze_weight [means of t over rows | over columns] + squeeze_bias)          (N, M, H' + W')
//   r, c = sigmoid(gate_weight s + gate_bias), for rows and for columns                         (N, E, H'), (N, E, W')
//   out = project_weight (t r c) + project_bias, and + x where the block is residual            (N, O, H', W')
// Sources: mixed depthwise convolutions, Tan and Le, https://arxiv.org/abs/1907.09595; coordinate attention, Hou et
// al., https://arxiv.org/abs/2103.02907; the block, Zhang et al., Electronics 12(17) 3595 (2023), and its published
// code.
//
// Packed weights: channels go in blocks of 16, the last one filled up with zeros; Eb, Mb and Ob blocks. A block's
// kernel size K is the largest among its channels; smaller kernels lie in its centre, in zeros. In order:
//   for each block of E:  expand_weight [I][16], expand_bias [16], slope [16], depthwise [K][K][16]
//   for each block of M:  squeeze_weight [16 Eb][16], squeeze_bias [16]
//   for each block of E:  row_gate_weight [16 Mb][16], row_gate_bias [16], column_gate_weight [16 Mb][16],
//                         column_gate_bias [16]
//   for each block of O:  project_weight [16 Eb][16], project_bias [16]
// With products in bfloat16, expand_weight is [(I + 1) / 2][16] and project_weight [8 Eb][16]: each entry holds the
// bits of the weights of two neighbouring inputs, the first in the lower half. Inputs and t r c are rounded to bfloat16
// where these two products read them; sums, and everything else, are float32.
#pragma once

#include "dda.h"

namespace abawkit {

inline constexpr std::int64_t block_channels = 16;
inline std::int64_t count_blocks(std::int64_t channels) { return (channels + block_channels - 1) / block_channels; }

// The parts of the depthwise convolution: kernel sizes and numbers of channels, in the order of the channels.
struct Splits {
  const std::int64_t* kernels;
  const std::int64_t* channels;
  std::int64_t parts;

  std::int64_t expanded() const {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < parts; ++i) sum += channels[i];
    return sum;
  }
  // The largest kernel size among the channels from..to.
  std::int64_t largest(std::int64_t from, std::int64_t to) const {
    std::int64_t most = 1, first = 0;
    for (std::int64_t i = 0; i < parts; first += channels[i++])
      if (first < to && first + channels[i] > from && kernels[i] > most) most = kernels[i];
    return most;
  }
  std::int64_t kernel_of_block(std::int64_t block) const {
    return largest(block * block_channels, (block + 1) * block_channels);
  }
};

struct MixedShape {
  std::int64_t images;    // N
  std::int64_t inputs;    // I
  std::int64_t height;    // H
  std::int64_t width;     // W
  std::int64_t outputs;   // O
  std::int64_t squeezed;  // M
  std::int64_t stride;    // 1 or 2
  bool residual;          // stride is 1 then, and O = I
  Splits splits;

  std::int64_t out_height() const { return (height + stride - 1) / stride; }
  std::int64_t out_width() const { return (width + stride - 1) / stride; }
};

struct MixedBlock : MixedShape {
  const float* x;        // (N, H, W, I)
  const float* weights;  // packed
  float* out;            // (N, H', W', O)
  void* workspace;
  bool bfloat16;  // products of expansion and projection

  // Rows of the packed weights of a product.
  std::int64_t rows(std::int64_t channels) const { return bfloat16 ? (channels + 1) / 2 : channels; }
};

// Entries of the packed weights.
inline std::int64_t packed_size(const MixedBlock& b) {
  const std::int64_t expanded = count_blocks(b.splits.expanded()), squeezed = count_blocks(b.squeezed);
  std::int64_t rows = squeezed * (16 * expanded + 1) + count_blocks(b.outputs) * (b.rows(16 * expanded) + 1);
  for (std::int64_t i = 0; i < expanded; ++i) {
    const std::int64_t kernel = b.splits.kernel_of_block(i);
    rows += b.rows(b.inputs) + 2 + kernel * kernel + 2 * (16 * squeezed + 1);
  }
  return rows * block_channels;
}

namespace cpu {
// Bytes of workspace that a call needs, with 64 bytes to align it.
std::size_t mixed_block_workspace(const MixedBlock&, int threads);
void mixed_block(const MixedBlock&, const Pool&);
// Whether this processor has instructions for products in bfloat16; elsewhere they are emulated, and slower than
// float32.
bool has_bfloat16_products();
}  // namespace cpu

}  // namespace abawkit
