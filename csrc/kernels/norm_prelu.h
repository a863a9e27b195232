// Batch norm over the batch and PReLU, in training: what a caller hands to the kernels. No torch, no Python, no
// allocation here.
//
// For x of P pixels (of all images) and C channels, channel by channel:
//   pre = scale (x - mean) / sqrt(variance + eps) + shift, with mean and biased variance over the pixels
//   out = pre where pre > 0, else slope pre
// Sources: batch norm, Ioffe and Szegedy, https://arxiv.org/abs/1502.03167; PReLU, He et al.,
// https://arxiv.org/abs/1502.01852.
#pragma once

#include "mixed_block.h"
#include "processes.h"

namespace abawkit {

struct NormPrelu {
  std::int64_t pixels;    // P, 2 at least
  std::int64_t channels;  // C
  double eps;
  const float* scale;  // (C)
  const float* shift;  // (C)
  const float* slope;  // (C)
  const float* x;      // (P, C)
  void* workspace;
  Processes processes;  // that share the pixels of a batch; gradients of parameters are of the own ones
};

struct NormPreluForward : NormPrelu {
  float* out;         // (P, C)
  float* statistics;  // mean and biased variance (2, 16 Cb), filled up with zeros
};

struct NormPreluBackward : NormPrelu {
  const float* statistics;
  const float* grad_out;  // (P, C)
  float* grad_x;          // (P, C)
  float* grad_scale;      // (C)
  float* grad_shift;      // (C)
  float* grad_slope;      // (C)
};

namespace cpu {
// Bytes of workspace that either call needs, with 64 bytes to align it.
std::size_t norm_prelu_workspace(const NormPrelu&);
void norm_prelu_forward(const NormPreluForward&, const Pool&);
void norm_prelu_backward(const NormPreluBackward&, const Pool&);
}  // namespace cpu

}  // namespace abawkit
