// Batch norm with PReLU, compiled once for each instruction set; ABAWKIT_ISA names it.
#include "mixed_kernels.h"
#include "norm_prelu_passes.h"

namespace abawkit::ABAWKIT_ISA {

std::size_t norm_prelu_workspace(const NormPrelu& call) {
  Arena arena(nullptr);
  NormPreluMemory(call, arena);
  return arena.bytes();
}

void norm_prelu_forward(const NormPreluForward& call, const Pool& pool) {
  Arena arena(call.workspace);
  const NormPreluMemory memory(call, arena);
  NormPreluPass(call, pool, memory).forward(call.out, call.statistics);
}

void norm_prelu_backward(const NormPreluBackward& call, const Pool& pool) {
  Arena arena(call.workspace);
  const NormPreluMemory memory(call, arena);
  NormPreluPass(call, pool, memory).backward(call);
}

}  // namespace abawkit::ABAWKIT_ISA
