// The stem's kernels, compiled once for each instruction set; ABAWKIT_ISA names it.
#include "mixed_kernels.h"
#include "stem_inference.h"

namespace abawkit::ABAWKIT_ISA {

void stem(const Stem& call, const Pool& pool) {
  if (call.images == 0) return;
  Arena arena(call.workspace);
  const StemWorkspace workspace(call, pool.threads, arena);
  StemPass(call, pool, workspace).run();
}

std::size_t stem_workspace(const Stem& call, int threads) {
  if (call.images == 0) return 0;
  Arena arena(nullptr);
  StemWorkspace(call, threads, arena);
  return arena.bytes();
}

}  // namespace abawkit::ABAWKIT_ISA
