// The operators `mixed_block_forward`, `mixed_block_backward` and `mixed_block_update` for CPUs, on torch's stable ABI.
// Shapes and types are checked here, whoever calls: the kernels take pointers on trust.
#include "mixed_training.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstddef>
#include <tuple>
#include <vector>

#include "moving.h"
#include "on_cpu.h"
#include "operands.h"

namespace {

using namespace abawkit;

// Tensor by tensor, in the order of MixedParameters.
template <class P>
MixedParameters<P> point(P* const* single, P* const* depthwise) {
  return {single[0], single[1], single[2],  single[3],  single[4],  single[5],  single[6],  single[7],
          single[8], single[9], single[10], single[11], single[12], single[13], single[14], depthwise};
}

// The parameters of a call, checked, and its sizes.
struct BlockOperands {
  MixedShape shape{};
  std::vector<Tensor> tensors;  // hold what the pointers below point to
  std::vector<const float*> pointers;
  std::vector<int64_t> kernels, channels;
  BlockOperands(const Tensor& x, const std::vector<Tensor>& given, int64_t stride, bool residual) {
    STD_TORCH_CHECK(x.is_cpu() && x.dim() == 4 && x.scalar_type() == ScalarType::Float,
                    "abawkit: the input of a mixed block must be (N, C, H, W), float32, on a CPU");
    for (int i = 0; i < 4; ++i) STD_TORCH_CHECK(x.size(i) > 0, "abawkit: the input of a mixed block is empty");
    STD_TORCH_CHECK(x.size(2) <= 1 << 15 && x.size(3) <= 1 << 15, "abawkit: the input of a mixed block is too large");
    STD_TORCH_CHECK(given.size() > mixed_parameter_count, "abawkit: expected ", mixed_parameter_count,
                    " parameters and those of the depthwise convolution");
    STD_TORCH_CHECK(stride == 1 || stride == 2, "abawkit: the stride of a mixed block is 1 or 2");
    for (std::size_t i = mixed_parameter_count; i < given.size(); ++i) {
      const Tensor& w = given[i];
      STD_TORCH_CHECK(w.dim() == 4 && w.size(0) > 0 && w.size(1) == 1 && w.size(2) == w.size(3) && w.size(2) % 2 == 1 &&
                          w.size(2) <= 31,
                      "abawkit: depthwise weights must be (C, 1, K, K), K odd and 31 at most");
      kernels.push_back(w.size(2));
      channels.push_back(w.size(0));
    }
    const int64_t squeezed = given[5].numel(), outputs = given[13].numel();
    STD_TORCH_CHECK(squeezed > 0 && outputs > 0, "abawkit: a mixed block has a bottleneck and outputs");
    STD_TORCH_CHECK(!residual || (stride == 1 && outputs == x.size(1)),
                    "abawkit: a residual block keeps its channels and its resolution");
    shape = {x.size(0), x.size(1), x.size(2), x.size(3), outputs, squeezed, stride, residual, {}};
    shape.splits = {kernels.data(), channels.data(), static_cast<int64_t>(kernels.size())};
    const int64_t expanded = shape.splits.expanded();
    const int64_t entries[mixed_parameter_count] = {expanded * x.size(1),
                                                    expanded,
                                                    expanded,
                                                    expanded,
                                                    squeezed * expanded,
                                                    squeezed,
                                                    squeezed,
                                                    squeezed,
                                                    expanded * squeezed,
                                                    expanded,
                                                    expanded * squeezed,
                                                    expanded,
                                                    outputs * expanded,
                                                    outputs,
                                                    outputs};
    for (std::size_t i = 0; i < given.size(); ++i) {
      const int64_t count = i < mixed_parameter_count ? entries[i] : given[i].numel();
      tensors.push_back(operand(given[i], ScalarType::Float, count, x, "a parameter"));
      pointers.push_back(static_cast<const float*>(tensors.back().data_ptr()));
    }
    STD_TORCH_CHECK(x.size(0) * shape.out_height() * shape.out_width() > 1,
                    "abawkit: statistics of a batch need at least 2 values of each channel");
  }
  MixedParameters<const float> parameters() const {
    return point(pointers.data(), pointers.data() + mixed_parameter_count);
  }
  int64_t expanded_blocks() const { return count_blocks(shape.splits.expanded()); }
  int64_t positions() const { return shape.out_height() + shape.out_width(); }
  int64_t bottleneck() const { return count_blocks(shape.squeezed) * block_channels; }
  int64_t outputs() const { return count_blocks(shape.outputs) * block_channels; }
  int64_t statistics() const { return 2 * (expanded_blocks() * block_channels + bottleneck() + outputs()); }
};

// The result and what the backward pass needs: expanded, values, means, squeezed, projected, statistics.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> forward(const Tensor& x,
                                                                           const std::vector<Tensor>& parameters,
                                                                           int64_t stride, bool residual, double eps,
                                                                           bool bfloat16, bool synchronised) {
  const BlockOperands operands(x, parameters, stride, residual);
  const MixedShape& s = operands.shape;
  const int64_t blocks = operands.expanded_blocks(), height = s.out_height(), width = s.out_width();
  const Tensor in = make_channels_last(x);
  const Tensor out = empty_channels_last(x, s.images, s.outputs, height, width);
  const Tensor expanded = empty(x, ScalarType::Float, {s.images, blocks, s.height * s.width, block_channels});
  const Tensor values = empty(x, ScalarType::Float, {s.images, blocks, height * width, block_channels});
  const Tensor means = empty(x, ScalarType::Float, {s.images, operands.positions(), blocks * block_channels});
  const Tensor squeezed = empty(x, ScalarType::Float, {s.images, operands.positions(), operands.bottleneck()});
  const Tensor projected = empty(x, ScalarType::Float, {s.images, height * width, operands.outputs()});
  const Tensor statistics = empty(x, ScalarType::Float, {operands.statistics()});
  MixedForward call{};
  static_cast<MixedShape&>(call) = s;
  call.parameters = operands.parameters();
  call.eps = eps;
  call.bfloat16 = bfloat16;
  call.processes = find_processes(synchronised);
  call.x = data(in);
  call.out = data(out);
  call.saved = {data(expanded), data(values), data(means), data(squeezed), data(projected), data(statistics)};
  const OnCpu where(x);
  const auto memory = where.memory(x, abawkit::cpu::mixed_forward_workspace(call, where.pool.threads));
  call.workspace = memory.get();
  abawkit::cpu::mixed_forward(call, where.pool);
  return {out, expanded, values, means, squeezed, projected, statistics};
}

// The gradient of the input, which is empty where it is not needed, then those of the parameters.
std::vector<Tensor> backward(const Tensor& gradient, const Tensor& x, const std::vector<Tensor>& parameters,
                             const std::vector<Tensor>& saved, int64_t stride, bool residual, double eps,
                             bool input_gradient, bool bfloat16, bool synchronised) {
  const BlockOperands operands(x, parameters, stride, residual);
  const MixedShape& s = operands.shape;
  const int64_t blocks = operands.expanded_blocks(), area = s.out_height() * s.out_width();
  STD_TORCH_CHECK(gradient.is_cpu() && gradient.dim() == 4 && gradient.scalar_type() == ScalarType::Float &&
                      gradient.numel() == s.images * area * s.outputs,
                  "abawkit: the gradient of a mixed block does not fit its result");
  const int64_t padded = blocks * block_channels;
  const int64_t entries[] = {
      s.images * padded * s.height * s.width,   s.images * padded * area,
      s.images * padded * operands.positions(), s.images * operands.bottleneck() * operands.positions(),
      s.images * operands.outputs() * area,     operands.statistics()};
  STD_TORCH_CHECK(saved.size() == 6, "abawkit: expected 6 tensors of the forward pass");
  std::vector<Tensor> held;
  for (int i = 0; i < 6; ++i) held.push_back(operand(saved[i], ScalarType::Float, entries[i], x, "a saved tensor"));
  const Tensor in = make_channels_last(x), given = make_channels_last(gradient);
  std::vector<Tensor> gradients;
  gradients.push_back(input_gradient ? empty_channels_last(x, s.images, s.inputs, s.height, s.width)
                                     : empty(x, ScalarType::Float, {0}));
  std::vector<float*> pointers;
  for (const Tensor& p : parameters) {
    const auto shape = p.sizes();
    int64_t strides[4], size = 1;
    STD_TORCH_CHECK(shape.size() <= 4, "abawkit: a parameter has too many dimensions");
    for (int d = static_cast<int>(shape.size()) - 1; d >= 0; --d) {
      strides[d] = size;
      size *= shape[d];
    }
    gradients.push_back(empty(x, ScalarType::Float, shape.data(), strides, static_cast<int64_t>(shape.size())));
    pointers.push_back(data(gradients.back()));
  }
  MixedBackward call{};
  static_cast<MixedShape&>(call) = s;
  call.parameters = operands.parameters();
  call.eps = eps;
  call.bfloat16 = bfloat16;
  call.processes = find_processes(synchronised);
  call.x = data(in);
  call.grad_out = data(given);
  call.saved = {data(held[0]), data(held[1]), data(held[2]), data(held[3]), data(held[4]), data(held[5])};
  call.grad_x = input_gradient ? data(gradients[0]) : nullptr;
  call.gradients = point<float>(pointers.data(), pointers.data() + mixed_parameter_count);
  const OnCpu where(x);
  const auto memory = where.memory(x, abawkit::cpu::mixed_backward_workspace(call, where.pool.threads));
  call.workspace = memory.get();
  abawkit::cpu::mixed_backward(call, where.pool);
  return gradients;
}

// Moves running means and variances of batch norms towards those of a batch, as torch's batch norms do: variances
// unbiased. `counts` are the values of each channel that a norm has seen.
void update(const std::vector<Tensor>& running, const Tensor& statistics, const std::vector<int64_t>& counts,
            double momentum) {
  STD_TORCH_CHECK(!counts.empty() && running.size() == 2 * counts.size(),
                  "abawkit: expected two running statistics for each count");
  int64_t entries = 0;
  for (std::size_t i = 0; i < running.size(); ++i) {
    STD_TORCH_CHECK(running[i].is_cpu() && running[i].dim() == 1 && running[i].numel() == running[i / 2 * 2].numel(),
                    "abawkit: running statistics must be pairs of one dimension, on the CPU");
    STD_TORCH_CHECK(moves(running[i].scalar_type()),
                    "abawkit: running statistics must be float32, float64, bfloat16 or float16");
    entries += count_blocks(running[i].numel()) * block_channels;
  }
  const Tensor batch = operand(statistics, ScalarType::Float, entries, statistics, "the statistics");
  const float* at = data(batch);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    STD_TORCH_CHECK(counts[i] > 1, "abawkit: statistics of a batch need at least 2 values of each channel");
    const int64_t padded = count_blocks(running[2 * i].numel()) * block_channels;
    const double n = static_cast<double>(counts[i]);
    move(running[2 * i], at, 1 - momentum, momentum);
    move(running[2 * i + 1], at + padded, 1 - momentum, momentum * n / (n - 1));
    at += 2 * padded;
  }
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(abawkit, CPU, m) {
  m.impl("mixed_block_forward", TORCH_BOX(&forward));
  m.impl("mixed_block_backward", TORCH_BOX(&backward));
  m.impl("mixed_block_update", TORCH_BOX(&update));
}
