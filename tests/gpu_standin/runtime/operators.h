// What the stand-in runtime offers to operators whose code runs on the host. Needs no header of CUDA's.
#pragma once

#include <functional>
#include <vector>

namespace standin {

// Work that is queued on a stream.
using Work = std::function<void()>;

// Queues an operator and notes its name, stream and device for the tests; while its stream is being captured, the work
// becomes part of the graph. `memory` is what it reads and writes: all that is not null must lie on the stream's
// device. Returns a cudaError_t.
int queue_operator(void* stream, const char* name, const std::vector<const void*>& memory, Work work);

// Words for a cudaError_t.
const char* error_text(int code);

// The newest CUDA that the driver serves, 13000 for 13.0.
int driver_version();

}  // namespace standin
