// The CUDA kernels as an implementation for the oracle, with every access to memory reported (see host_kernels.cpp).
#pragma once

#include <functional>

#include "../oracle.h"
#include "host_program.h"

namespace abawkit::cuda {

using RunProgram = std::function<void(const HostProgram&, std::int64_t blocks, int threads, int shared_bytes)>;

// What of a device decides how evaluation is cut: its processors, and the bytes of shared memory that a block may have
// (99 KiB where the compute capability is 8.6, 163 where it is 8.0, 227 where it is 9.0). `general` asks for the
// instance of any sizes.
struct Variant {
  bool general = false;
  int processors = 4;
  int shared_memory = 227 * 1024;
};

// Every launch of a call goes to `run`.
oracle::Implementation make_implementation(const RunProgram& run, const Variant& variant = {});

}  // namespace abawkit::cuda
