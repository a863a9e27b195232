// The mixed block's kernels, compiled once for each instruction set; ABAWKIT_ISA names it.
#include "mixed_kernels.h"

#include "mixed_inference.h"

namespace abawkit::ABAWKIT_ISA {

void mixed_block(const MixedBlock& call, const Pool& pool) {
  if (call.images == 0) return;
  Arena arena(call.workspace);
  const MixedWorkspace workspace(call, pool.threads, arena);
  MixedPass<float>(call, pool, workspace).run();
}

std::size_t mixed_block_workspace(const MixedBlock& call, int threads) {
  if (call.images == 0) return 0;
  Arena arena(nullptr);
  MixedWorkspace(call, threads, arena);
  return arena.bytes();
}

}  // namespace abawkit::ABAWKIT_ISA
