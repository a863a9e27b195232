// The kernels of one instruction set, as a table of functions.
#pragma once

#include "dda.h"
#include "mixed_training.h"
#include "norm_prelu.h"
#include "stem.h"

namespace abawkit::cpu {

struct Table {
  const char* name;
  void (*inference)(const Inference&, const Pool&);
  void (*forward)(const Forward&, const Pool&);
  void (*backward)(const Backward&, const Pool&);
  std::size_t (*inference_workspace)(const Sizes&, Type, int threads);
  std::size_t (*forward_workspace)(const Forward&, int threads);
  std::size_t (*backward_workspace)(const Backward&, int threads);
  void (*mixed_block)(const MixedBlock&, const Pool&);
  void (*mixed_block_bfloat16)(const MixedBlock&, const Pool&);
  std::size_t (*mixed_block_workspace)(const MixedBlock&, int threads);
  void (*mixed_forward)(const MixedForward&, const Pool&);
  std::size_t (*mixed_forward_workspace)(const MixedForward&, int threads);
  void (*mixed_backward)(const MixedBackward&, const Pool&);
  std::size_t (*mixed_backward_workspace)(const MixedBackward&, int threads);
  void (*norm_prelu_forward)(const NormPreluForward&, const Pool&);
  void (*norm_prelu_backward)(const NormPreluBackward&, const Pool&);
  std::size_t (*norm_prelu_workspace)(const NormPrelu&);
  void (*stem)(const Stem&, const Pool&);
  std::size_t (*stem_workspace)(const Stem&, int threads);
};

extern const Table baseline_table;
#ifdef ABAWKIT_X86
extern const Table avx2_table;
#endif
#ifdef ABAWKIT_AVX512
extern const Table avx512_table;
#endif

}  // namespace abawkit::cpu

#ifdef ABAWKIT_AVX512
// For processors that have instructions for bfloat16 beside AVX-512.
namespace abawkit::avx512bf16 {
void mixed_block_bfloat16(const MixedBlock&, const Pool&);
void mixed_forward(const MixedForward&, const Pool&);
void mixed_backward(const MixedBackward&, const Pool&);
}  // namespace abawkit::avx512bf16
#endif
