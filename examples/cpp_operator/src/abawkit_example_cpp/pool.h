// The part of the operator that PyTorch has no kernel for, as one loop that a thread of a CPU or of a GPU runs.
#pragma once
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#ifndef __CUDACC__
#define __host__
#define __device__
#endif
using torch::stable::Tensor;

struct Pooling {
  const float *x, *rows, *columns, *weight, *bias;  // (N, C, H, W), (N, K, C, H), (N, K, C, W), (C, H, W), (C)
  float* embedding;                                 // (N, C)
  int64_t c, h, w, k;
  static Pooling of(const Tensor& x, const Tensor& rows, const Tensor& columns, const Tensor& weight,
                    const Tensor& bias, const Tensor& out) {
    return {read(x),   read(rows), read(columns), read(weight), read(bias), static_cast<float*>(out.data_ptr()),
            x.size(1), x.size(2),  x.size(3),     rows.size(1)};
  }
  static const float* read(const Tensor& tensor) {
    STD_TORCH_CHECK(tensor.is_contiguous() && tensor.scalar_type() == torch::headeronly::ScalarType::Float);
    return static_cast<const float*>(tensor.data_ptr());
  }
  // The features times the strongest head's map, summed with the weights: number `index` of the embedding.
  __host__ __device__ void operator()(int64_t index) const {
    const int64_t image = index / c, channel = index % c;
    float sum = bias[channel];
    for (int64_t at = 0; at < h * w; ++at) {
      float strongest = 0;
      for (int64_t head = 0; head < k; ++head) {
        const int64_t map = (image * k + head) * c + channel;
        const float gate = rows[map * h + at / w] * columns[map * w + at % w];
        strongest = gate > strongest ? gate : strongest;
      }
      sum += x[index * h * w + at] * strongest * weight[channel * h * w + at];
    }
    embedding[index] = sum;
  }
};
