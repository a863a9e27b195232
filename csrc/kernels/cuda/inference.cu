#include "device_launcher.h"
#include "dispatch.h"

namespace abawkit::cuda {

std::size_t inference_workspace(const Sizes& sizes, Type type) { return inference_bytes(sizes, type); }

int inference(const Inference& call, void* stream) {
  DeviceLauncher launcher(stream);
  run_inference(call, launcher);
  return launcher.error();
}

const char* error_text(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

}  // namespace abawkit::cuda
