// What mixed_kernels.cpp, mixed_training.cpp, norm_prelu.cpp and stem.cpp give to the table of an instruction set.
#pragma once

#include "mixed_training.h"
#include "norm_prelu.h"
#include "stem.h"

namespace abawkit::ABAWKIT_ISA {

void mixed_block(const MixedBlock&, const Pool&);
void mixed_block_bfloat16(const MixedBlock&, const Pool&);
std::size_t mixed_block_workspace(const MixedBlock&, int threads);
void mixed_forward(const MixedForward&, const Pool&);
std::size_t mixed_forward_workspace(const MixedForward&, int threads);
void mixed_backward(const MixedBackward&, const Pool&);
std::size_t mixed_backward_workspace(const MixedBackward&, int threads);
void norm_prelu_forward(const NormPreluForward&, const Pool&);
void norm_prelu_backward(const NormPreluBackward&, const Pool&);
std::size_t norm_prelu_workspace(const NormPrelu&);
void stem(const Stem&, const Pool&);
std::size_t stem_workspace(const Stem&, int threads);

}  // namespace abawkit::ABAWKIT_ISA
