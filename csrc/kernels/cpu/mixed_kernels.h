// What mixed_kernels.cpp and mixed_training.cpp give to the table of an instruction set.
#pragma once

#include "mixed_training.h"

namespace abawkit::ABAWKIT_ISA {

void mixed_block(const MixedBlock&, const Pool&);
std::size_t mixed_block_workspace(const MixedBlock&, int threads);
void mixed_forward(const MixedForward&, const Pool&);
std::size_t mixed_forward_workspace(const MixedForward&, int threads);
void mixed_backward(const MixedBackward&, const Pool&);
std::size_t mixed_backward_workspace(const MixedBackward&, int threads);

}  // namespace abawkit::ABAWKIT_ISA
