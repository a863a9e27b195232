// Chooses the instruction set when the first kernel runs.
#include <cstdlib>
#include <cstring>

#include "table.h"

namespace abawkit::cpu {
namespace {

const Table& best() {
#ifdef ABAWKIT_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  // A set that this processor lacks is never taken, whatever the environment says.
  const char* wanted = std::getenv("ABAWKIT_CPU");
  const auto asked = [&](const Table& table) { return wanted != nullptr && std::strcmp(wanted, table.name) == 0; };
  if (asked(baseline_table)) return baseline_table;
  if (avx2 && asked(avx2_table)) return avx2_table;
#ifdef ABAWKIT_AVX512
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512) return avx512_table;
#endif
  if (avx2) return avx2_table;
#endif
  return baseline_table;
}

const Table& table() {
  static const Table& chosen = best();
  return chosen;
}

}  // namespace

bool has_bfloat16_products() {
#ifdef ABAWKIT_AVX512
  static const bool found = &table() == &avx512_table && __builtin_cpu_supports("avx512bf16");
  return found;
#else
  return false;
#endif
}

const char* instruction_set() { return table().name; }
void inference(const Inference& call, const Pool& pool) { table().inference(call, pool); }
void forward(const Forward& call, const Pool& pool) { table().forward(call, pool); }
void backward(const Backward& call, const Pool& pool) { table().backward(call, pool); }
std::size_t inference_workspace(const Sizes& sizes, Type type, int threads) {
  return table().inference_workspace(sizes, type, threads);
}
std::size_t forward_workspace(const Forward& call, int threads) { return table().forward_workspace(call, threads); }
std::size_t backward_workspace(const Backward& call, int threads) { return table().backward_workspace(call, threads); }
void mixed_block(const MixedBlock& call, const Pool& pool) {
  if (!call.bfloat16) return table().mixed_block(call, pool);
#ifdef ABAWKIT_AVX512
  if (has_bfloat16_products()) return avx512bf16::mixed_block_bfloat16(call, pool);
#endif
  table().mixed_block_bfloat16(call, pool);
}
std::size_t mixed_block_workspace(const MixedBlock& call, int threads) {
  return table().mixed_block_workspace(call, threads);
}
void mixed_forward(const MixedForward& call, const Pool& pool) {
#ifdef ABAWKIT_AVX512
  if (call.bfloat16 && has_bfloat16_products()) return avx512bf16::mixed_forward(call, pool);
#endif
  table().mixed_forward(call, pool);
}
std::size_t mixed_forward_workspace(const MixedForward& call, int threads) {
  return table().mixed_forward_workspace(call, threads);
}
void mixed_backward(const MixedBackward& call, const Pool& pool) {
#ifdef ABAWKIT_AVX512
  if (call.bfloat16 && has_bfloat16_products()) return avx512bf16::mixed_backward(call, pool);
#endif
  table().mixed_backward(call, pool);
}
std::size_t mixed_backward_workspace(const MixedBackward& call, int threads) {
  return table().mixed_backward_workspace(call, threads);
}
void norm_prelu_forward(const NormPreluForward& call, const Pool& pool) { table().norm_prelu_forward(call, pool); }
void norm_prelu_backward(const NormPreluBackward& call, const Pool& pool) { table().norm_prelu_backward(call, pool); }
std::size_t norm_prelu_workspace(const NormPrelu& call) { return table().norm_prelu_workspace(call); }
void stem(const Stem& call, const Pool& pool) { table().stem(call, pool); }
std::size_t stem_workspace(const Stem& call, int threads) { return table().stem_workspace(call, threads); }

}  // namespace abawkit::cpu
