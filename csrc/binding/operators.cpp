// The operators of abawkit/ops/torch_library.py for CPUs and GPUs, on torch's stable ABI: one binary for many versions.
//
// Shapes and types are checked here once more, whoever calls: the kernels take pointers on trust.
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "dda.h"
#include "moving.h"
#include "on_cpu.h"
#include "operands.h"

#ifdef ABAWKIT_WITH_CUDA
#include <dlfcn.h>

#include <exception>
#endif

namespace {

using namespace abawkit;

#ifdef ABAWKIT_WITH_CUDA
// The other place: the current stream of the features' GPU.
using GetCurrentStream = AOTITorchError (*)(int32_t device, void** stream);

// Only libtorch_cuda.so defines this function, and torch keeps the names of that library out of the global scope. So
// neither the loader nor a weak symbol finds it: it is looked up in the library itself, which a build of torch for CPUs
// has not loaded.
GetCurrentStream find_current_stream() {
  static const auto function = []() -> GetCurrentStream {
    void* const library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) return nullptr;
    return reinterpret_cast<GetCurrentStream>(dlsym(library, "aoti_torch_get_current_cuda_stream"));
  }();
  return function;
}

struct OnCuda {
  explicit OnCuda(const Tensor& features) : OnCuda(features.get_device_index()) {}
  explicit OnCuda(int32_t device) : get_stream(find_current_stream()), guard(checked(device)) {
    TORCH_ERROR_CODE_CHECK(get_stream(device, &stream));
  }
  std::size_t bytes(const abawkit::Inference& c) const {
    return abawkit::cuda::inference_workspace(c.sizes, c.features.type);
  }
  std::size_t bytes(const abawkit::Forward& c) const {
    return abawkit::cuda::forward_workspace(c.sizes, c.features.type);
  }
  std::size_t bytes(const abawkit::Backward& c) const {
    return abawkit::cuda::backward_workspace(c.sizes, c.features.type);
  }
  static Processes processes(bool synchronised) {
    STD_TORCH_CHECK(!synchronised, "abawkit: on GPUs, statistics are those of one process");
    return {};
  }
  // Torch's allocator keeps it until the stream is done with it.
  struct Memory {
    Tensor tensor;
    void* get() const { return tensor.data_ptr(); }
  };
  static Memory memory(const Tensor& features, std::size_t bytes) {
    return {empty(features, ScalarType::Byte, {static_cast<int64_t>(bytes)})};
  }
  static void check(int code) { STD_TORCH_CHECK(code == 0, "abawkit: CUDA error: ", abawkit::cuda::error_text(code)); }
  void operator()(const abawkit::Inference& c) const { check(abawkit::cuda::inference(c, stream)); }
  void operator()(const abawkit::Forward& c) const { check(abawkit::cuda::forward(c, stream)); }
  void operator()(const abawkit::Backward& c) const { check(abawkit::cuda::backward(c, stream)); }
  // Before the guard is made: its own message for a build for CPUs is of no help.
  int32_t checked(int32_t device) const {
    STD_TORCH_CHECK(get_stream != nullptr, "abawkit: this torch has no CUDA stream: it is a build for CPUs");
    return device;
  }
  GetCurrentStream get_stream;
  torch::stable::accelerator::DeviceGuard guard;
  void* stream = nullptr;
};
#endif

template <class Where>
std::tuple<Tensor, Tensor, Tensor> inference(const Tensor& features, const Tensor& folded, int64_t heads,
                                             int64_t squeezed, bool gates) {
  const Where where(features);
  const Input x(features);
  abawkit::Inference call{};
  call.sizes = sizes_of(x.tensor, heads, squeezed);
  call.features = x.features();
  const Sizes& s = call.sizes;
  const ScalarType type = x.tensor.scalar_type();
  const Tensor weights =
      operand(folded, compute_of(call.features.type), abawkit::folded_size(s), x.tensor, "the folded weights");
  call.folded = weights.data_ptr();
  const Tensor embedding = empty(features, type, {s.images, s.channels});
  const int64_t written = gates ? s.images : 0;
  const Tensor rows = empty(features, type, {written, s.heads, s.channels, s.height});
  const Tensor columns = empty(features, type, {written, s.heads, s.channels, s.width});
  call.embedding = embedding.data_ptr();
  call.rows = gates ? rows.data_ptr() : nullptr;
  call.columns = gates ? columns.data_ptr() : nullptr;
  const auto memory = where.memory(features, where.bytes(call));
  call.workspace = memory.get();
  if (s.images > 0) where(call);
  return {embedding, rows, columns};
}

template <class Where>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> forward(const Tensor& features,
                                                                   const std::vector<Tensor>& parameters,
                                                                   const std::optional<Tensor>& given, double eps,
                                                                   bool gates, bool synchronised) {
  const Where where(features);
  const Input x(features);
  const Operands operands(parameters, x);
  abawkit::Forward call{};
  call.sizes = operands.sizes;
  call.features = x.features();
  const Sizes& s = call.sizes;
  const ScalarType type = x.tensor.scalar_type(), compute = compute_of(call.features.type);
  STD_TORCH_CHECK(given.has_value() || s.images > 1, "abawkit: statistics of a batch need at least 2 images");
  operands.point(call.parameters);
  call.processes = where.processes(synchronised && !given.has_value());
  std::optional<Tensor> statistics_given;
  if (given.has_value()) {
    statistics_given = operand(*given, compute, 2 * s.norms(), x.tensor, "the statistics");
    call.given = statistics_given->data_ptr();
  }
  call.eps = eps;
  const Tensor embedding = empty(features, type, {s.images, s.channels});
  const int64_t written = gates ? s.images : 0;
  const Tensor rows = empty(features, type, {written, s.heads, s.channels, s.height});
  const Tensor columns = empty(features, type, {written, s.heads, s.channels, s.width});
  const Tensor squeezed = empty(features, compute, {s.images, s.heads, s.positions(), s.squeezed});
  const Tensor pooled = empty(features, compute, {s.images, s.channels});
  const Tensor statistics = empty(features, compute, {2, s.norms()});
  call.embedding = embedding.data_ptr();
  call.rows = gates ? rows.data_ptr() : nullptr;
  call.columns = gates ? columns.data_ptr() : nullptr;
  call.squeezed = squeezed.data_ptr();
  call.pooled = pooled.data_ptr();
  call.statistics = statistics.data_ptr();
  const auto memory = where.memory(features, where.bytes(call));
  call.workspace = memory.get();
  where(call);
  return {embedding, rows, columns, squeezed, pooled, statistics};
}

// The gradient of the features, then those of the parameters.
template <class Where>
std::vector<Tensor> backward(const Tensor& grad_embedding, const std::optional<Tensor>& grad_rows,
                             const std::optional<Tensor>& grad_columns, const Tensor& features,
                             const std::vector<Tensor>& parameters, const Tensor& squeezed, const Tensor& pooled,
                             const Tensor& statistics, bool batch_statistics, double eps, bool synchronised) {
  const Where where(features);
  const Input x(features);
  const Operands operands(parameters, x);
  abawkit::Backward call{};
  call.sizes = operands.sizes;
  call.features = x.features();
  const Sizes& s = call.sizes;
  const ScalarType type = x.tensor.scalar_type(), compute = compute_of(call.features.type);
  operands.point(call.parameters);
  std::vector<Tensor> held;  // for as long as the kernels are being launched
  const auto hold = [&](const Tensor& t, ScalarType of, int64_t entries, const char* name) {
    held.push_back(operand(t, of, entries, x.tensor, name));
    return held.back().data_ptr();
  };
  const int64_t kc = s.heads * s.channels;
  call.squeezed = hold(squeezed, compute, s.images * s.heads * s.positions() * s.squeezed, "squeezed");
  call.pooled = hold(pooled, compute, s.images * s.channels, "pooled");
  call.statistics = hold(statistics, compute, 2 * s.norms(), "statistics");
  call.batch_statistics = batch_statistics;
  call.processes = where.processes(synchronised && batch_statistics);
  call.eps = eps;
  call.grad_embedding = hold(grad_embedding, type, s.images * s.channels, "grad_embedding");
  if (grad_rows.has_value()) call.grad_rows = hold(*grad_rows, type, s.images * kc * s.height, "grad_rows");
  if (grad_columns.has_value()) call.grad_columns = hold(*grad_columns, type, s.images * kc * s.width, "grad_columns");
  std::vector<Tensor> gradients;
  gradients.reserve(1 + abawkit::parameter_count);
  gradients.push_back(x.empty_like());
  call.grad_features = gradients[0].data_ptr();
  for (int i = 0; i < abawkit::parameter_count; ++i) {
    const auto shape = parameters[i].sizes();
    int64_t strides[4], stride = 1;
    STD_TORCH_CHECK(shape.size() <= 4, "abawkit: a parameter has too many dimensions");
    for (int d = static_cast<int>(shape.size()) - 1; d >= 0; --d) {
      strides[d] = stride;
      stride *= shape[d];
    }
    gradients.push_back(empty(features, compute, shape.data(), strides, static_cast<int64_t>(shape.size())));
    call.gradients[i] = gradients.back().data_ptr();
  }
  const auto memory = where.memory(features, where.bytes(call));
  call.workspace = memory.get();
  where(call);
  return gradients;
}

// Moves running statistics in place towards those of a batch, as torch's batch norms do: variances unbiased.
void update(const std::vector<Tensor>& running, const Tensor& statistics, int64_t images, int64_t height, int64_t width,
            double momentum) {
  const int64_t counts[] = {images * height, images * width, images * (height + width), images};
  STD_TORCH_CHECK(running.size() == 8, "abawkit: expected 8 running statistics");
  STD_TORCH_CHECK(images > 1, "abawkit: statistics of a batch need at least 2 images");
  int64_t norms = 0;
  for (int i = 0; i < 8; ++i) {
    STD_TORCH_CHECK(running[i].is_cpu() && running[i].dim() == 1 && running[i].numel() == running[i / 2 * 2].numel(),
                    "abawkit: running statistics must be pairs of one dimension, on the CPU");
    STD_TORCH_CHECK(abawkit::moves(running[i].scalar_type()),
                    "abawkit: running statistics must be float32, float64, bfloat16 or float16");
    if (i % 2 == 0) norms += running[i].numel();
  }
  const ScalarType type = statistics.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  const Tensor batch = operand(statistics, type, 2 * norms, running[0], "the statistics");
  const auto all = [&](const auto* mean) {
    for (int i = 0; i < 4; ++i) {
      const double n = static_cast<double>(counts[i]);
      abawkit::move(running[2 * i], mean, 1 - momentum, momentum);
      abawkit::move(running[2 * i + 1], mean + norms, 1 - momentum, momentum * n / (n - 1));
      mean += running[2 * i].numel();
    }
  };
  if (type == ScalarType::Double)
    all(static_cast<const double*>(batch.data_ptr()));
  else
    all(static_cast<const float*>(batch.data_ptr()));
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(abawkit, CPU, m) {
  m.impl("dda_inference", TORCH_BOX(&inference<OnCpu>));
  m.impl("dda_forward", TORCH_BOX(&forward<OnCpu>));
  m.impl("dda_backward", TORCH_BOX(&backward<OnCpu>));
  m.impl("dda_update", TORCH_BOX(&update));
}

#ifdef ABAWKIT_WITH_CUDA
STABLE_TORCH_LIBRARY_IMPL(abawkit, CUDA, m) {
  m.impl("dda_inference", TORCH_BOX(&inference<OnCuda>));
  m.impl("dda_forward", TORCH_BOX(&forward<OnCuda>));
  m.impl("dda_backward", TORCH_BOX(&backward<OnCuda>));
}
#endif

// Asked by Python through ctypes: the instruction set that the CPU kernels run with here.
extern "C" __attribute__((visibility("default"))) const char* abawkit_instruction_set() {
  return abawkit::cpu::instruction_set();
}
extern "C" __attribute__((visibility("default"))) bool abawkit_has_bfloat16_products() {
  return abawkit::cpu::has_bfloat16_products();
}
// Set by Python through ctypes: adds up the sums of all processes; see `abawkit::Processes`.
extern "C" __attribute__((visibility("default"))) void abawkit_set_sum(int (*sum)(double*, std::int64_t)) {
  abawkit::known_processes = {sum};
}

#ifdef ABAWKIT_WITH_CUDA
// Asked by Python through ctypes: why the CUDA kernels can't run on a device, or an empty text. `driver` and `runtime`
// become the newest CUDA that the driver serves and the CUDA of this binary, 13020 for 13.2; 0 where unknown.
extern "C" __attribute__((visibility("default"))) const char* abawkit_cuda_refusal(int32_t device, int* driver,
                                                                                   int* runtime) {
  thread_local std::string text;
  text.clear();
  *driver = *runtime = 0;
  if (find_current_stream() == nullptr) return "this torch is a build for CPUs";
  try {
    const OnCuda where(device);
    const abawkit::cuda::Probe found = abawkit::cuda::probe();
    *driver = found.driver;
    *runtime = found.runtime;
    if (found.error != 0) text = abawkit::cuda::error_text(found.error);
  } catch (const std::exception& error) {
    text = error.what();
  }
  return text.c_str();
}
#endif
