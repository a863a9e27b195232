// The beginning of the network in evaluation: what a caller hands to the kernels. No torch, no Python, no allocation
// here.
//
// For an input x (N, I, H, W), C channels and batch norms folded into the convolutions before them:
//   z = prelu(convolution of x), with an odd kernel size k, padding k / 2 and a stride of 1 or 2     (N, C, H', W')
//   out = prelu(depthwise convolution of z), with an odd kernel size K and padding K / 2             (N, C, H', W')
// Source: Zhang et al., Electronics 12(17) 3595 (2023), and its published code.
//
// Packed weights: channels go in blocks of 16, the last one filled up with zeros. For each block, in order:
//   weight [k][k][I][16], bias [16], slope [16], depthwise weight [K][K][16], bias [16], slope [16]
#pragma once

#include "mixed_block.h"

namespace abawkit {

struct Stem {
  std::int64_t images;     // N
  std::int64_t inputs;     // I
  std::int64_t height;     // H
  std::int64_t width;      // W
  std::int64_t channels;   // C
  std::int64_t kernel;     // k
  std::int64_t stride;     // 1 or 2
  std::int64_t depthwise;  // K
  const float* x;          // (N, H, W, I)
  const float* weights;    // packed
  float* out;              // (N, H', W', C)
  void* workspace;

  std::int64_t out_height() const { return (height + stride - 1) / stride; }
  std::int64_t out_width() const { return (width + stride - 1) / stride; }
  // Entries of a block's packed weights.
  std::int64_t block_size() const { return (kernel * kernel * inputs + depthwise * depthwise + 4) * block_channels; }
};

namespace cpu {
// Bytes of workspace that a call needs, with 64 bytes to align it.
std::size_t stem_workspace(const Stem&, int threads);
void stem(const Stem&, const Pool&);
}  // namespace cpu

}  // namespace abawkit
