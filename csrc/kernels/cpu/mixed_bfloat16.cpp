// The mixed block with products in bfloat16, compiled once for each instruction set; ABAWKIT_ISA names it.
#include "mixed_inference.h"
#include "mixed_kernels.h"

namespace abawkit::ABAWKIT_ISA {

void mixed_block_bfloat16(const MixedBlock& call, const Pool& pool) {
  if (call.images == 0) return;
  Arena arena(call.workspace);
  const MixedWorkspace workspace(call, pool.threads, arena);
  MixedPass<bfloat16>(call, pool, workspace).run();
}

}  // namespace abawkit::ABAWKIT_ISA
