// The CUDA kernels on the host, with a recorder that knows the memory of each call: exactly what dda.h grants.
#pragma once

#include "host_kernels.h"
#include "recorder.h"

namespace abawkit::cuda {

inline void run_recorded(const HostProgram& program, std::int64_t blocks, int threads, int shared_bytes,
                         Recorder* recorder) {
  const HostLauncher usual;
  HostLauncher(Order::ascending, usual.processors(), usual.shared_memory(), recorder)
      .run(program, blocks, threads, shared_bytes);
}

// Programs of fewer phases than `least_phases` run unrecorded.
inline oracle::Implementation record_calls(Recorder& recorder, const Variant& variant = {}, int least_phases = 0) {
  const auto run = [&recorder, least_phases](const HostProgram& program, std::int64_t blocks, int threads,
                                             int shared_bytes) {
    const bool recorded = static_cast<int>(program.phases.size()) >= least_phases;
    run_recorded(program, blocks, threads, shared_bytes, recorded ? &recorder : nullptr);
  };
  const oracle::Implementation kernels = make_implementation(run, variant);
  oracle::Implementation it = kernels;
  struct Counts {
    std::size_t features, pooled, rows, columns, squeezed, storage, compute;
    Counts(const Sizes& s, Type type)
        : features(s.images * s.channels * s.area()),
          pooled(s.images * s.channels),
          rows(pooled * s.heads * s.height),
          columns(pooled * s.heads * s.width),
          squeezed(s.images * s.heads * s.positions() * s.squeezed),
          storage(size_of(type)),
          compute(size_of(oracle::compute_type(type))) {}
  };
  it.inference = [&recorder, kernels](const Inference& call) {
    const Sizes& s = call.sizes;
    const Type type = call.features.type;
    const Counts n(s, type);
    recorder.begin_call();
    recorder.add("features", call.features.data, n.features * n.storage, Role::input);
    recorder.add("folded", call.folded, folded_size(s) * n.compute, Role::input);
    recorder.add("embedding", call.embedding, n.pooled * n.storage, Role::result);
    recorder.add("rows", call.rows, n.rows * n.storage, Role::result);
    recorder.add("columns", call.columns, n.columns * n.storage, Role::result);
    recorder.add("workspace", call.workspace, kernels.inference_workspace(s, type), Role::workspace);
    kernels.inference(call);
    recorder.end_call();
  };
  const auto add_parameters = [&recorder](const Sizes& s, const void* const* data, std::size_t bytes,
                                          const std::string& prefix, Role role) {
    for (int i = 0; i < parameter_count; ++i)
      recorder.add(prefix + oracle::parameter_name(i), data[i], oracle::parameter_size(s, i) * bytes, role);
  };
  it.forward = [&recorder, kernels, add_parameters](const Forward& call) {
    const Sizes& s = call.sizes;
    const Type type = call.features.type;
    const Counts n(s, type);
    recorder.begin_call();
    recorder.add("features", call.features.data, n.features * n.storage, Role::input);
    add_parameters(s, call.parameters, n.compute, "", Role::input);
    recorder.add("given", call.given, 2 * s.norms() * n.compute, Role::input);
    recorder.add("embedding", call.embedding, n.pooled * n.storage, Role::result);
    recorder.add("rows", call.rows, n.rows * n.storage, Role::result);
    recorder.add("columns", call.columns, n.columns * n.storage, Role::result);
    recorder.add("squeezed", call.squeezed, n.squeezed * n.compute, Role::result);
    recorder.add("pooled", call.pooled, n.pooled * n.compute, Role::result);
    recorder.add("statistics", call.statistics, 2 * s.norms() * n.compute, Role::result);
    recorder.add("workspace", call.workspace, kernels.forward_workspace(s, type), Role::workspace);
    kernels.forward(call);
    recorder.end_call();
  };
  it.backward = [&recorder, kernels, add_parameters](const Backward& call) {
    const Sizes& s = call.sizes;
    const Type type = call.features.type;
    const Counts n(s, type);
    recorder.begin_call();
    recorder.add("features", call.features.data, n.features * n.storage, Role::input);
    add_parameters(s, call.parameters, n.compute, "", Role::input);
    recorder.add("squeezed", call.squeezed, n.squeezed * n.compute, Role::input);
    recorder.add("pooled", call.pooled, n.pooled * n.compute, Role::input);
    recorder.add("statistics", call.statistics, 2 * s.norms() * n.compute, Role::input);
    recorder.add("grad_embedding", call.grad_embedding, n.pooled * n.storage, Role::input);
    recorder.add("grad_rows", call.grad_rows, n.rows * n.storage, Role::input);
    recorder.add("grad_columns", call.grad_columns, n.columns * n.storage, Role::input);
    recorder.add("grad_features", call.grad_features, n.features * n.storage, Role::result);
    add_parameters(s, call.gradients, n.compute, "gradient of ", Role::result);
    recorder.add("workspace", call.workspace, kernels.backward_workspace(s, type), Role::workspace);
    kernels.backward(call);
    recorder.end_call();
  };
  return it;
}

}  // namespace abawkit::cuda
