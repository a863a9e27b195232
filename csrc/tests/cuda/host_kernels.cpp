// The one place where the kernels are compiled for their tests, with -fsanitize=thread: the compiler calls a function
// for each access to memory. recorder_callbacks.cpp defines these functions, and so does ThreadSanitizer itself.
#include "host_kernels.h"

// Inlined as on the device: each access of the source then has an address of its own, and the compiler reports no
// accesses in arguments of calls.
#undef ABAWKIT_DEVICE
#define ABAWKIT_DEVICE inline __attribute__((always_inline))
#include "cuda/dispatch.h"

namespace abawkit::cuda {

namespace {

struct ErasingLauncher {
  const RunProgram& run;
  const Variant& variant;
  int processors() const { return variant.processors; }
  int shared_memory() const { return variant.shared_memory; }
  template <class Program>
  void launch(std::int64_t blocks, int threads, int shared_bytes, const typename Program::Arguments& arguments) {
    run(erase_program<Program>(arguments), blocks, threads, shared_bytes);
  }
};

}  // namespace

oracle::Implementation make_implementation(const RunProgram& run, const Variant& variant) {
  const bool general = variant.general;
  oracle::Implementation it;
  it.inference_workspace = [=](const Sizes& s, Type type) { return inference_bytes(s, type, general); };
  it.forward_workspace = [=](const Sizes& s, Type type) { return forward_bytes(s, type); };
  it.backward_workspace = [=](const Sizes& s, Type type) { return backward_bytes(s, type, general); };
  it.inference = [=](const Inference& call) {
    ErasingLauncher launcher{run, variant};
    run_inference(call, launcher, general);
  };
  it.forward = [=](const Forward& call) {
    ErasingLauncher launcher{run, variant};
    run_forward(call, launcher, general);
  };
  it.backward = [=](const Backward& call) {
    ErasingLauncher launcher{run, variant};
    run_backward(call, launcher, general);
  };
  return it;
}

}  // namespace abawkit::cuda
