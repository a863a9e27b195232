#include "device_launcher.h"
#include "dispatch.h"

namespace abawkit::cuda {

std::size_t forward_workspace(const Sizes& sizes, Type type) { return forward_bytes(sizes, type); }

int forward(const Forward& call, void* stream) {
  DeviceLauncher launcher(stream);
  run_forward(call, launcher);
  return launcher.error();
}

}  // namespace abawkit::cuda
