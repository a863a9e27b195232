// The operator `mixed_block_infer` for CPUs, on torch's stable ABI. Shapes and types are checked here, whoever calls:
// the kernels take pointers on trust.
#include "mixed_block.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstddef>
#include <vector>

#include "on_cpu.h"
#include "operands.h"

namespace {

using namespace abawkit;

// Evaluation of a mixed block, (N, I, H, W) -> (N, O, H', W'), channels last; `packed` as in mixed_block.h.
Tensor mixed_block_infer(const Tensor& x, const Tensor& packed, const std::vector<int64_t>& kernels,
                         const std::vector<int64_t>& channels, int64_t outputs, int64_t squeezed, int64_t stride,
                         bool residual, bool bfloat16) {
  STD_TORCH_CHECK(x.is_cpu() && x.dim() == 4 && x.scalar_type() == ScalarType::Float,
                  "abawkit: the input of a mixed block must be (N, C, H, W), float32, on a CPU");
  STD_TORCH_CHECK(x.size(1) > 0 && x.size(2) > 0 && x.size(3) > 0, "abawkit: the input of a mixed block is empty");
  STD_TORCH_CHECK(x.size(2) <= 1 << 15 && x.size(3) <= 1 << 15, "abawkit: the input of a mixed block is too large");
  STD_TORCH_CHECK(!kernels.empty() && kernels.size() == channels.size(),
                  "abawkit: expected as many kernel sizes as numbers of channels, and one at least");
  for (std::size_t i = 0; i < kernels.size(); ++i)
    STD_TORCH_CHECK(kernels[i] > 0 && kernels[i] % 2 == 1 && kernels[i] <= 31 && channels[i] > 0,
                    "abawkit: kernel sizes must be odd, 31 at most, with a channel at least");
  STD_TORCH_CHECK(outputs > 0 && squeezed > 0 && (stride == 1 || stride == 2), "abawkit: wrong sizes of a mixed block");
  STD_TORCH_CHECK(!residual || (stride == 1 && outputs == x.size(1)),
                  "abawkit: a residual block keeps its channels and its resolution");
  const Tensor in = make_channels_last(x);
  abawkit::MixedBlock call{};
  call.images = x.size(0);
  call.inputs = x.size(1);
  call.height = x.size(2);
  call.width = x.size(3);
  call.outputs = outputs;
  call.squeezed = squeezed;
  call.stride = stride;
  call.residual = residual;
  call.bfloat16 = bfloat16;
  call.splits = {kernels.data(), channels.data(), static_cast<int64_t>(kernels.size())};
  const Tensor weights = operand(packed, ScalarType::Float, abawkit::packed_size(call), x, "the packed weights");
  const Tensor out = empty_channels_last(x, call.images, outputs, call.out_height(), call.out_width());
  if (call.images == 0) return out;
  const OnCpu where(x);
  const auto memory = where.memory(x, where.bytes(call), static_cast<std::size_t>(where.pool.threads) << 22);
  call.x = data(in);
  call.weights = data(weights);
  call.out = data(out);
  call.workspace = memory.get();
  where(call);
  return out;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(abawkit, CPU, m) { m.impl("mixed_block_infer", TORCH_BOX(&mixed_block_infer)); }
