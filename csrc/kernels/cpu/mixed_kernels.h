// What mixed_kernels.cpp gives to the table of an instruction set.
#pragma once

#include "mixed_block.h"

namespace abawkit::ABAWKIT_ISA {

void mixed_block(const MixedBlock&, const Pool&);
std::size_t mixed_block_workspace(const MixedBlock&, int threads);

}  // namespace abawkit::ABAWKIT_ISA
