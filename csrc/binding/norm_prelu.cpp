// The operators `norm_prelu_forward` and `norm_prelu_backward` for CPUs, on torch's stable ABI. Shapes and types are
// checked here, whoever calls: the kernels take pointers on trust.
#include "norm_prelu.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "on_cpu.h"
#include "operands.h"

namespace {

using namespace abawkit;

// What both passes take, checked; its tensors hold what the call points to.
struct NormOperands {
  Tensor x, scale, shift, slope;
  NormPrelu call{};
  NormOperands(const Tensor& given, const Tensor& scales, const Tensor& shifts, const Tensor& slopes, double eps,
               bool synchronised)
      : x(check(given)),
        scale(operand(scales, ScalarType::Float, x.size(1), x, "the scale")),
        shift(operand(shifts, ScalarType::Float, x.size(1), x, "the shift")),
        slope(operand(slopes, ScalarType::Float, x.size(1), x, "the slope")) {
    const int64_t pixels = x.size(0) * x.size(2) * x.size(3);
    STD_TORCH_CHECK(pixels > 1, "abawkit: statistics of a batch need at least 2 values of each channel");
    call = {
        pixels, x.size(1), eps, data(scale), data(shift), data(slope), data(x), nullptr, find_processes(synchronised)};
  }
  static Tensor check(const Tensor& x) {
    STD_TORCH_CHECK(x.is_cpu() && x.dim() == 4 && x.scalar_type() == ScalarType::Float,
                    "abawkit: the input of a norm must be (N, C, H, W), float32, on a CPU");
    STD_TORCH_CHECK(x.numel() > 0, "abawkit: the input of a norm is empty");
    return make_channels_last(x);
  }
  Tensor make_result() const { return empty_channels_last(x, x.size(0), x.size(1), x.size(2), x.size(3)); }
  int64_t statistics() const { return 2 * count_blocks(call.channels) * block_channels; }
};

// The result, and the batch's mean and biased variance as norm_prelu.h has them.
std::tuple<Tensor, Tensor> forward(const Tensor& x, const Tensor& scale, const Tensor& shift, const Tensor& slope,
                                   double eps, bool synchronised) {
  const NormOperands operands(x, scale, shift, slope, eps, synchronised);
  const Tensor out = operands.make_result();
  const Tensor statistics = empty(x, ScalarType::Float, {operands.statistics()});
  NormPreluForward call{operands.call, data(out), data(statistics)};
  const OnCpu where(x);
  const auto memory = where.memory(x, abawkit::cpu::norm_prelu_workspace(call));
  call.workspace = memory.get();
  abawkit::cpu::norm_prelu_forward(call, where.pool);
  return {out, statistics};
}

// The gradients of x, scale, shift and slope.
std::tuple<Tensor, Tensor, Tensor, Tensor> backward(const Tensor& gradient, const Tensor& x, const Tensor& scale,
                                                    const Tensor& shift, const Tensor& slope, const Tensor& statistics,
                                                    double eps, bool synchronised) {
  const NormOperands operands(x, scale, shift, slope, eps, synchronised);
  STD_TORCH_CHECK(gradient.is_cpu() && gradient.dim() == 4 && gradient.scalar_type() == ScalarType::Float,
                  "abawkit: the gradient of a norm must be (N, C, H, W), float32, on a CPU");
  for (int i = 0; i < 4; ++i)
    STD_TORCH_CHECK(gradient.size(i) == x.size(i), "abawkit: the gradient of a norm does not fit its result");
  const Tensor given = make_channels_last(gradient);
  const Tensor batch = operand(statistics, ScalarType::Float, operands.statistics(), x, "the statistics");
  const Tensor own = operands.make_result();
  const auto make = [&] { return empty(x, ScalarType::Float, {x.size(1)}); };
  const Tensor scales = make(), shifts = make(), slopes = make();
  NormPreluBackward call{operands.call, data(batch), data(given), data(own), data(scales), data(shifts), data(slopes)};
  const OnCpu where(x);
  const auto memory = where.memory(x, abawkit::cpu::norm_prelu_workspace(call));
  call.workspace = memory.get();
  abawkit::cpu::norm_prelu_backward(call, where.pool);
  return {own, scales, shifts, slopes};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(abawkit, CPU, m) {
  m.impl("norm_prelu_forward", TORCH_BOX(&forward));
  m.impl("norm_prelu_backward", TORCH_BOX(&backward));
}
