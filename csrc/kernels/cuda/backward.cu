#include "device_launcher.h"
#include "dispatch.h"

namespace abawkit::cuda {

std::size_t backward_workspace(const Sizes& sizes, Type type) { return backward_bytes(sizes, type); }

int backward(const Backward& call, void* stream) {
  DeviceLauncher launcher(stream);
  run_backward(call, launcher);
  return launcher.error();
}

}  // namespace abawkit::cuda
