// The CPU kernels of the instruction set that ABAWKIT_CPU names, against the oracle.
#include <cstdlib>
#include <thread>

#include "../oracle.h"
#include "twins.h"

using namespace abawkit;
using namespace abawkit::oracle;

namespace {

// Pools that hand out pieces one at a time, all at once, backwards, or to two threads.
using Run = void (*)(std::int64_t, void (*)(std::int64_t, std::int64_t, void*), void*);
void all_at_once(std::int64_t pieces, void (*body)(std::int64_t, std::int64_t, void*), void* context) {
  body(0, pieces, context);
}
void backwards(std::int64_t pieces, void (*body)(std::int64_t, std::int64_t, void*), void* context) {
  for (std::int64_t i = pieces - 1; i >= 0; --i) body(i, i + 1, context);
}
void two_threads(std::int64_t pieces, void (*body)(std::int64_t, std::int64_t, void*), void* context) {
  std::thread other([=] { body(0, pieces / 2, context); });
  body(pieces / 2, pieces, context);
  other.join();
}

Implementation cpu_kernels(Run run, int threads, const Processes& processes = {}) {
  const Pool pool{run, threads};
  Implementation it;
  it.inference_workspace = [=](const Sizes& s, Type type) { return cpu::inference_workspace(s, type, threads); };
  const auto count = [=](auto call, const auto& bytes, const Sizes& s, Type type) {
    call.sizes = s;
    call.features.type = type;
    call.processes = processes;
    return bytes(call, threads);
  };
  it.forward_workspace = [=](const Sizes& s, Type type) { return count(Forward{}, cpu::forward_workspace, s, type); };
  it.backward_workspace = [=](const Sizes& s, Type type) {
    return count(Backward{}, cpu::backward_workspace, s, type);
  };
  it.inference = [=](const Inference& call) { cpu::inference(call, pool); };
  it.forward = [=](Forward call) {
    call.processes = processes;
    cpu::forward(call, pool);
  };
  it.backward = [=](Backward call) {
    call.processes = processes;
    cpu::backward(call, pool);
  };
  return it;
}

int failures = 0, cases = 0;

// Compares with the oracle, and the bits for other numbers of threads and orders of work.
void test(const std::string& name, const Case& config) {
  const Inputs in = make_inputs(config);
  const Outputs outputs = run(config, in, cpu_kernels(all_at_once, 1));
  failures += compare(name, config, in, outputs, tolerance_of(config));
  ++cases;
  for (const auto& other : {cpu_kernels(backwards, 3), cpu_kernels(two_threads, 2)})
    for (const auto& [what, bytes] : run(config, in, other))
      if (outputs.at(what) != bytes) {
        ++failures;
        std::printf("%s: %s: differs with the threads\n", name.c_str(), what.c_str());
      }
  if (config.given) return;  // no statistics of a batch
  for (const auto& [pool, threads] : {std::pair<Run, int>{all_at_once, 1}, {two_threads, 2}})
    failures += compare(name + ", two processes", config, in, run(config, in, cpu_kernels(pool, threads, twins)),
                        tolerance_of(config));
  if (!throws([&] { run(config, in, cpu_kernels(all_at_once, 1, lost)); })) {
    ++failures;
    std::printf("%s: goes on without the other process\n", name.c_str());
  }
}

void test_sizes(const std::string& name, const Sizes& sizes) {
  unsigned seed = 1;
  for (const Type type : {Type::float32, Type::float64, Type::bfloat16})
    for (const bool channels_last : {false, true})
      for (const bool given : {false, true}) {
        Case config;
        config.sizes = sizes;
        config.type = type;
        config.channels_last = channels_last;
        config.given = given;
        config.seed = ++seed;
        config.gates = seed % 3 != 0;
        config.grad_rows = seed % 4 != 1;
        config.grad_columns = seed % 5 != 2;
        config.misaligned = seed % 2 == channels_last;
        test(name + " type " + std::to_string(static_cast<int>(type)) + (channels_last ? " channels_last" : "") +
                 (given ? " given" : ""),
             config);
      }
}

void test_special(const std::string& name, const Sizes& sizes) {
  for (const Type type : {Type::float32, Type::float64, Type::bfloat16}) {
    Case config;
    config.sizes = sizes;
    config.type = type;
    config.constant = true;
    test(name + " constant channels", config);
    config.constant = false;
    config.ties = true;
    test(name + " ties", config);
    config.ties = false;
    config.given = true;
    for (const int images : {0, 1}) {
      config.sizes.images = images;
      test(name + " images " + std::to_string(images), config);
    }
  }
}

}  // namespace

int main() {
  const char* wanted = std::getenv("ABAWKIT_CPU");
  if (wanted != nullptr && std::string(wanted) != cpu::instruction_set()) {
    std::printf("this processor has no %s\n", wanted);
    return 77;  // skipped
  }
  test_sizes("7x7", {3, 80, 7, 7, 2, 16});
  test_sizes("7x7 odd", {17, 37, 7, 7, 2, 16});
  test_sizes("4x5", {4, 11, 4, 5, 3, 8});
  test_sizes("1x3", {3, 20, 1, 3, 1, 8});
  test_sizes("one channel", {5, 1, 7, 7, 2, 16});
  test_sizes("1x1", {4, 3, 1, 1, 2, 5});
  test_sizes("wide", {3, 2, 3, 70, 2, 18});
  test_special("7x7", {5, 24, 7, 7, 2, 16});
  test_special("3x4", {5, 6, 3, 4, 3, 8});
  Case large;
  large.sizes = {9, 512, 7, 7, 2, 16};
  test("512x7x7", large);
  std::printf("%s: %d cases, %d failures\n", cpu::instruction_set(), cases, failures);
  return failures != 0;
}
