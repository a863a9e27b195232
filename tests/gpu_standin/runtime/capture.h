// Capture of streams into graphs: the state that streams and graphs share.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "standin.h"

namespace standin {

struct Node {
  std::string name;
  Work work;  // empty for a kernel of torch's, which does nothing here
};

struct Graph {
  std::vector<Node> nodes;
};

struct Capture {
  unsigned long long id;
  cudaStreamCaptureMode mode;
  cudaStream_t origin;
  std::unique_ptr<Graph> graph = std::make_unique<Graph>();
  bool valid = true;
  bool active = true;  // until cudaStreamEndCapture
};

// Default streams are those of no handle, and the two that the headers number.
inline bool is_default(cudaStream_t stream) { return reinterpret_cast<std::uintptr_t>(stream) <= 2; }

// An operation that a capture forbids ends it.
cudaError_t fail_capture(const std::shared_ptr<Capture>& capture);

}  // namespace standin

struct CUstream_st {
  int device;
  int priority;
  std::shared_ptr<standin::Capture> capture;
};

struct CUevent_st {
  std::shared_ptr<standin::Capture> capture;  // of the stream that it was recorded on
};
