// The CUDA backend of dda.h with its programs run on the host, for a CUDA runtime whose device memory is the host's. It
// takes the place of what nvcc compiles from csrc/kernels/cuda/*.cu.
#include <cstdlib>
#include <vector>

#include "cuda/dispatch.h"
#include "runtime/operators.h"
#include "tests/cuda/host_launcher.h"

namespace abawkit::cuda {

std::size_t inference_workspace(const Sizes& sizes, Type type) { return inference_bytes(sizes, type); }
std::size_t forward_workspace(const Sizes& sizes, Type type) { return forward_bytes(sizes, type); }
std::size_t backward_workspace(const Sizes& sizes, Type type) { return backward_bytes(sizes, type); }

int inference(const Inference& c, void* stream) {
  const std::vector<const void*> memory = {c.features.data, c.folded, c.embedding, c.rows, c.columns, c.workspace};
  return standin::queue_operator(stream, "inference", memory, [c] {
    HostLauncher launcher;
    run_inference(c, launcher);
  });
}

int forward(const Forward& c, void* stream) {
  std::vector<const void*> memory = {c.features.data, c.given,  c.embedding,  c.rows,     c.columns,
                                     c.squeezed,      c.pooled, c.statistics, c.workspace};
  memory.insert(memory.end(), c.parameters, c.parameters + parameter_count);
  return standin::queue_operator(stream, "forward", memory, [c] {
    HostLauncher launcher;
    run_forward(c, launcher);
  });
}

int backward(const Backward& c, void* stream) {
  std::vector<const void*> memory = {c.features.data, c.squeezed,     c.pooled,        c.statistics, c.grad_embedding,
                                     c.grad_rows,     c.grad_columns, c.grad_features, c.workspace};
  memory.insert(memory.end(), c.parameters, c.parameters + parameter_count);
  memory.insert(memory.end(), c.gradients, c.gradients + parameter_count);
  return standin::queue_operator(stream, "backward", memory, [c] {
    HostLauncher launcher;
    run_backward(c, launcher);
  });
}

const char* error_text(int code) { return standin::error_text(code); }

// STANDIN_KERNEL_ERROR is what a GPU says for whose architecture there is no code: 209.
Probe probe() {
  const char* const error = std::getenv("STANDIN_KERNEL_ERROR");
  return {standin::driver_version(), standin::driver_version(), error ? std::atoi(error) : 0};
}

}  // namespace abawkit::cuda
