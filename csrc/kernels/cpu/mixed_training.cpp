// The mixed block's kernels for training, compiled once for each instruction set; ABAWKIT_ISA names it.
#include "mixed_backward.h"
#include "mixed_forward.h"
#include "mixed_kernels.h"

namespace abawkit::ABAWKIT_ISA {

void mixed_forward(const MixedForward& call, const Pool& pool) {
  Arena arena(call.workspace);
  const ForwardMemory memory(call, pool.threads, arena);
  MixedForwardPass(call, pool, memory).run();
}

std::size_t mixed_forward_workspace(const MixedForward& call, int threads) {
  Arena arena(nullptr);
  ForwardMemory(call, threads, arena);
  return arena.bytes();
}

void mixed_backward(const MixedBackward& call, const Pool& pool) {
  Arena arena(call.workspace);
  const BackwardMemory memory(call, pool.threads, arena);
  MixedBackwardPass(call, pool, memory).run();
}

std::size_t mixed_backward_workspace(const MixedBackward& call, int threads) {
  Arena arena(nullptr);
  BackwardMemory(call, threads, arena);
  return arena.bytes();
}

}  // namespace abawkit::ABAWKIT_ISA
