// The operator `stem_infer` for CPUs, on torch's stable ABI. Shapes and types are checked here, whoever calls: the
// kernels take pointers on trust.
#include "stem.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstddef>

#include "on_cpu.h"
#include "operands.h"

namespace {

using namespace abawkit;

// Evaluation of the stem, (N, I, H, W) -> (N, C, H', W'), channels last; `packed` as in stem.h.
Tensor stem_infer(const Tensor& x, const Tensor& packed, int64_t channels, int64_t kernel, int64_t stride,
                  int64_t depthwise) {
  STD_TORCH_CHECK(x.is_cpu() && x.dim() == 4 && x.scalar_type() == ScalarType::Float,
                  "abawkit: the input of a stem must be (N, C, H, W), float32, on a CPU");
  STD_TORCH_CHECK(x.size(1) > 0 && x.size(2) > 0 && x.size(3) > 0, "abawkit: the input of a stem is empty");
  for (const int64_t side : {kernel, depthwise})
    STD_TORCH_CHECK(side > 0 && side % 2 == 1 && side <= 31, "abawkit: kernel sizes must be odd, 31 at most");
  STD_TORCH_CHECK(channels > 0 && (stride == 1 || stride == 2), "abawkit: wrong sizes of a stem");
  const Tensor in = make_channels_last(x);
  abawkit::Stem call{};
  call.images = x.size(0);
  call.inputs = x.size(1);
  call.height = x.size(2);
  call.width = x.size(3);
  call.channels = channels;
  call.kernel = kernel;
  call.stride = stride;
  call.depthwise = depthwise;
  const int64_t entries = count_blocks(channels) * call.block_size();
  const Tensor weights = operand(packed, ScalarType::Float, entries, x, "the packed weights");
  const Tensor out = empty_channels_last(x, call.images, channels, call.out_height(), call.out_width());
  if (call.images == 0) return out;
  const OnCpu where(x);
  const auto memory = where.memory(x, abawkit::cpu::stem_workspace(call, where.pool.threads),
                                   static_cast<std::size_t>(where.pool.threads) << 22);
  call.x = data(in);
  call.weights = data(weights);
  call.out = data(out);
  call.workspace = memory.get();
  abawkit::cpu::stem(call, where.pool);
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(abawkit, CPU, m) { m.impl("stem_infer", TORCH_BOX(&stem_infer)); }
