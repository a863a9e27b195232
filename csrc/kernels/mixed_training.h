// The mixed block in training: what a caller hands to the kernels. No torch, no Python, no allocation here.
//
// As in evaluation (mixed_block.h), but with batch norms over the batch:
//   z = expand_weight x;  y = prelu(BN(z));  t = depthwise convolution of y
//   s = squeeze_weight [means of t over rows | over columns] + squeeze_bias;  h = hardswish(BN(s))
//   r, c = sigmoid(gate_weight h + gate_bias);  q = project_weight (t r c);  out = BN(q), and + x where it is residual
// What the forward pass keeps for the backward pass lies in blocks of 16 channels, as the weights do in evaluation; the
// last block is filled up with channels of zeros: Eb, Mb and Ob blocks. Everything else is computed anew. With products
// in bfloat16, factors are rounded where a product reads them; all that is kept, and all sums, are float32. Where
// several processes share a batch, BN takes the statistics of all their images, and gradients of parameters are those
// of the own images, to be added up.
#pragma once

#include "mixed_block.h"
#include "processes.h"

namespace abawkit {

// Weights, or their gradients, in torch's own layout.
template <class P>
struct MixedParameters {
  P* expand_weight;       // (E, I)
  P* expand_scale;        // (E)
  P* expand_shift;        // (E)
  P* slope;               // (E)
  P* squeeze_weight;      // (M, E)
  P* squeeze_bias;        // (M)
  P* squeeze_scale;       // (M)
  P* squeeze_shift;       // (M)
  P* row_gate_weight;     // (E, M)
  P* row_gate_bias;       // (E)
  P* column_gate_weight;  // (E, M)
  P* column_gate_bias;    // (E)
  P* project_weight;      // (O, E)
  P* project_scale;       // (O)
  P* project_shift;       // (O)
  P* const* depthwise;    // of each part (c, k, k)
};
inline constexpr int mixed_parameter_count = 15;  // and those of the depthwise convolution

template <class P>
struct MixedSaved {
  P* expanded;    // z: (N, Eb, H W, 16)
  P* values;      // t: (N, Eb, H' W', 16)
  P* means;       // (N, H' + W', 16 Eb)
  P* squeezed;    // s: (N, H' + W', 16 Mb)
  P* projected;   // q: (N, H' W', 16 Ob)
  P* statistics;  // mean and biased variance of z (2, 16 Eb), of s (2, 16 Mb) and of q (2, 16 Ob)
};

struct MixedForward : MixedShape {
  MixedParameters<const float> parameters;
  double eps;
  const float* x;  // (N, H, W, I)
  float* out;      // (N, H', W', O)
  MixedSaved<float> saved;
  void* workspace;
  bool bfloat16;  // products of expansion and projection
  Processes processes;
};

struct MixedBackward : MixedShape {
  MixedParameters<const float> parameters;
  double eps;
  const float* x;
  const float* grad_out;  // (N, H', W', O)
  MixedSaved<const float> saved;
  float* grad_x;  // (N, H, W, I), or null where it is not needed
  MixedParameters<float> gradients;
  void* workspace;
  bool bfloat16;  // products with the weights of expansion and projection, and their gradients
  Processes processes;
};

namespace cpu {
// Bytes of workspace that a call needs, with 64 bytes to align it.
std::size_t mixed_forward_workspace(const MixedForward&, int threads);
std::size_t mixed_backward_workspace(const MixedBackward&, int threads);
// For one image at least.
void mixed_forward(const MixedForward&, const Pool&);
void mixed_backward(const MixedBackward&, const Pool&);
}  // namespace cpu

}  // namespace abawkit
