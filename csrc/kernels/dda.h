// Dual-direction attention: what a caller hands to the kernels. No torch, no Python, no allocation here.
//
// For features x (N, C, H, W) and K heads with a bottleneck of M channels, per head k and channel c:
//   u[h] = BN(sum_w x[h, w] row_weight[w])         v[w] = BN(sum_h x[h, w] column_weight[h])
//   t    = hardswish(BN(squeeze_weight [u | v] + squeeze_bias))                      over H + W positions
//   g[h] = sigmoid(row_gate_weight t[h] + row_gate_bias)
//   q[w] = sigmoid(column_gate_weight t[H + w] + column_gate_bias)
//   embedding[c] = BN(sum_hw pool_weight[h, w] x[h, w] max_k(g[k, h] q[k, w]))
// Source: Zhang et al., Electronics 12(17) 3595 (2023), and its published code.
//
// "Compute type" below is double where the features are float64, and float otherwise; all sums are taken in it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "processes.h"

namespace abawkit {

enum class Type : int { float32, float64, bfloat16, float16 };

inline constexpr std::size_t size_of(Type type) { return type == Type::float64 ? 8 : type == Type::float32 ? 4 : 2; }

struct Sizes {
  std::int64_t images;    // N
  std::int64_t channels;  // C
  std::int64_t height;    // H
  std::int64_t width;     // W
  std::int64_t heads;     // K
  std::int64_t squeezed;  // M

  std::int64_t positions() const { return height + width; }
  std::int64_t area() const { return height * width; }
  // Entries of the means, and of the variances: row norm (K, C), column norm (K, C), squeeze norm (K, M), pool norm
  // (C).
  std::int64_t norms() const { return 2 * heads * channels + heads * squeezed + channels; }
};

// The learned tensors in the order in which arrays of pointers hold them; contiguous, of the compute type.
enum Parameter : int {
  row_weight,          // (K, C, W)
  column_weight,       // (K, C, H)
  row_scale,           // (K, C)
  row_shift,           // (K, C)
  column_scale,        // (K, C)
  column_shift,        // (K, C)
  squeeze_weight,      // (K, M, C)
  squeeze_bias,        // (K, M)
  squeeze_scale,       // (K, M)
  squeeze_shift,       // (K, M)
  row_gate_weight,     // (K, C, M)
  row_gate_bias,       // (K, C)
  column_gate_weight,  // (K, C, M)
  column_gate_bias,    // (K, C)
  pool_weight,         // (C, H, W)
  pool_scale,          // (C)
  pool_shift,          // (C)
  parameter_count
};

// Features and whatever has their shape: (N, C, H, W), contiguous, or (N, H, W, C) in memory where `channels_last`.
struct Features {
  const void* data;
  Type type;
  bool channels_last;
};

// Folded weights: every batch norm multiplied into the weights before it. Channels go in tiles of 16, the last one
// filled up with zeros; M is filled up with zeros to a multiple of 16, Mp. In order:
//   for each tile:  row_weight [K][W][16], column_weight [K][H][16], row_shift [K][16], column_shift [K][16],
//                   squeeze_weight [K][16 channels][Mp]
//   for each tile:  row_gate_weight [K][Mp][16], row_gate_bias [K][16], column_gate_weight [K][Mp][16],
//                   column_gate_bias [K][16], pool_weight [H * W][16], pool_shift [16]
//   squeeze_shift [K][Mp]
inline constexpr int tile_channels = 16;
inline std::int64_t tiles(const Sizes& s) { return (s.channels + tile_channels - 1) / tile_channels; }
inline std::int64_t padded(const Sizes& s) { return (s.squeezed + 15) / 16 * 16; }
inline std::int64_t first_block(const Sizes& s) { return s.heads * 16 * (s.positions() + 2 + padded(s)); }
inline std::int64_t second_block(const Sizes& s) { return s.heads * 32 * (padded(s) + 1) + 16 * (s.area() + 1); }
inline std::int64_t folded_size(const Sizes& s) {
  return tiles(s) * (first_block(s) + second_block(s)) + s.heads * padded(s);
}

// Evaluation. Outputs are of the features' type; `rows` (N, K, C, H) and `columns` (N, K, C, W) may both be null.
struct Inference {
  Sizes sizes;
  Features features;
  const void* folded;
  void* embedding;  // (N, C)
  void* rows;
  void* columns;
  void* workspace;
};

// Training, or evaluation that gradients are wanted of. `given` holds means and variances (2, norms) to normalise with;
// null takes those of the batch. What the backward pass needs: `squeezed` (N, K, H + W, M), before its norm, `pooled`
// (N, C), before its norm, and `statistics` (2, norms), the means and (biased) variances used; all of compute type. On
// CPUs processes may share a batch: its statistics are those of all their images.
struct Forward {
  Sizes sizes;
  Features features;
  const void* parameters[parameter_count];
  const void* given;
  double eps;
  void* embedding;
  void* rows;  // null with `columns` where no gates are wanted
  void* columns;
  void* squeezed;
  void* pooled;
  void* statistics;
  void* workspace;
  Processes processes;
};

// `grad_rows` and `grad_columns` may be null, each. Gradients of parameters are of compute type, and all are written;
// where processes share a batch, they are of the own images, to be added up.
struct Backward {
  Sizes sizes;
  Features features;
  const void* parameters[parameter_count];
  const void* squeezed;
  const void* pooled;
  const void* statistics;
  bool batch_statistics;  // whether `statistics` came from the batch, so that gradients flow through them
  double eps;
  const void* grad_embedding;  // (N, C), like the features' type
  const void* grad_rows;
  const void* grad_columns;
  void* grad_features;  // type and layout of the features
  void* gradients[parameter_count];
  void* workspace;
  Processes processes;
};

// Results depend neither on the number of threads nor on which of them does what: no sum is cut by it.
struct Pool {
  // Calls body(begin, end, context) until all of 0..pieces is done, from any number of threads.
  void (*run)(std::int64_t pieces, void (*body)(std::int64_t begin, std::int64_t end, void* context), void* context);
  int threads;
};

// Bytes of workspace that a call needs, with 64 bytes to align it.
namespace cpu {
std::size_t inference_workspace(const Sizes&, Type, int threads);
std::size_t forward_workspace(const Forward&, int threads);
std::size_t backward_workspace(const Backward&, int threads);
void inference(const Inference&, const Pool&);
void forward(const Forward&, const Pool&);
void backward(const Backward&, const Pool&);
// The instruction set that runs: the best this processor has, or the one that the environment's ABAWKIT_CPU names.
const char* instruction_set();
}  // namespace cpu

// Return a cudaError_t, 0 for success. Everything is enqueued on `stream` of the current device; nothing is allocated.
namespace cuda {
std::size_t inference_workspace(const Sizes&, Type);
std::size_t forward_workspace(const Sizes&, Type);
std::size_t backward_workspace(const Sizes&, Type);
int inference(const Inference&, void* stream);
int forward(const Forward&, void* stream);
int backward(const Backward&, void* stream);
const char* error_text(int code);

// Whether the current device can run the kernels at all.
struct Probe {
  int driver;   // the newest CUDA that the driver serves, 13020 for 13.2; 0 where there is no driver
  int runtime;  // the CUDA that this was built with
  int error;    // cudaError_t of asking for a kernel's attributes, which loads its code onto the device
};
Probe probe();
}  // namespace cuda

}  // namespace abawkit
