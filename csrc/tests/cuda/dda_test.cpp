// The CUDA kernels, run on the host, against the oracle.
#include <cstdlib>
#include <utility>

#include "../oracle.h"
#include "recorded_calls.h"

using namespace abawkit;
using namespace abawkit::oracle;

namespace {

using cuda::Order;

// All orders but the ascending one have asynchronous copies done as late as they may be.
Implementation in_order(Order order, const cuda::Variant& variant) {
  return cuda::make_implementation(
      [order](const cuda::HostProgram& program, std::int64_t blocks, int threads, int shared_bytes) {
        cuda::HostLauncher launcher(order);
        if (order != Order::ascending) launcher.with_late_copies();
        launcher.run(program, blocks, threads, shared_bytes);
      },
      variant);
}

int failures = 0, cases = 0, comparisons = 0;
std::map<std::string, double> worst[4];

const bool long_tests = std::getenv("ABAWKIT_LONG_TESTS") != nullptr;

// Compares with the oracle; where `recorded` is set, every access must be right; where `orders` is set, compares the
// bits of three orders of threads and blocks.
void test(const std::string& name, const Case& config, bool orders = true, const cuda::Variant& variant = {},
          bool recorded = true) {
  const Inputs in = make_inputs(config);
  cuda::Recorder recorder;
  recorder.announce();
  const bool record = recorded || long_tests;
  const Outputs outputs =
      run(config, in, record ? cuda::record_calls(recorder, variant) : in_order(Order::ascending, variant));
  for (const auto& fault : recorder.faults()) {
    ++failures;
    std::printf("%s: %s (%ld times)\n", name.c_str(), fault.text.c_str(), static_cast<long>(fault.count));
  }
  failures += compare(name, config, in, outputs, tolerance_of(config), &worst[static_cast<int>(config.type)]);
  ++cases;
  if (!orders) return;
  for (const Order order : {Order::descending, Order::shuffled}) {
    const Outputs other = run(config, in, in_order(order, variant));
    ++comparisons;
    for (const auto& [what, bytes] : outputs)
      if (other.at(what) != bytes) {
        ++failures;
        std::printf("%s: %s: differs with the order of threads, or of copies\n", name.c_str(), what.c_str());
      }
  }
}

// Results have the same bits on all devices: however many processors there are, which decides how many images a block
// takes in evaluation, and however much of the features shared memory holds.
void test_devices(const std::string& name, const Case& config) {
  const Inputs in = make_inputs(config);
  const Outputs outputs = run(config, in, in_order(Order::ascending, {false, 1 << 20}));
  const std::pair<int, int> devices[] = {{1, 227}, {4, 99}, {8, 163}, {1 << 20, 99}};  // processors, KiB of a block
  for (const auto& [processors, kibibytes] : devices) {
    const Outputs other = run(config, in, in_order(Order::shuffled, {false, processors, kibibytes * 1024}));
    ++comparisons;
    for (const auto& [what, bytes] : outputs)
      if (other.at(what) != bytes) {
        ++failures;
        std::printf("%s: %s: differs with the device\n", name.c_str(), what.c_str());
      }
  }
}

const char* name_of(Type type) {
  static const char* const names[] = {"float32", "float64", "bfloat16", "float16"};
  return names[static_cast<int>(type)];
}

// All types and both layouts; flags take turns, so that each meets each type. Half of the cases are recorded.
void test_sizes(const std::string& name, const Sizes& sizes, bool orders, const cuda::Variant& variant = {}) {
  unsigned seed = 1;
  for (const Type type : {Type::float32, Type::float64, Type::bfloat16, Type::float16})
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
        test(name + " " + name_of(type) + (channels_last ? " channels_last" : "") + (given ? " given" : ""), config,
             orders, variant, given != (channels_last == (type == Type::float64 || type == Type::bfloat16)));
      }
}

void test_special(const std::string& name, const Sizes& sizes) {
  for (const Type type : {Type::float32, Type::float64, Type::bfloat16}) {
    Case config;
    config.sizes = sizes;
    config.type = type;
    config.constant = true;
    test(name + " constant channels " + name_of(type), config, false);
    config.constant = false;
    config.ties = true;
    test(name + " ties " + name_of(type), config, false);
    config.ties = false;
    config.given = true;
    for (const int images : {0, 1}) {
      config.sizes.images = images;
      test(name + " images " + std::to_string(images) + " " + name_of(type), config, false);
    }
  }
}

}  // namespace

int main() {
  test_sizes("7x7", {3, 80, 7, 7, 2, 16}, true);
  test_sizes("7x7 general", {3, 80, 7, 7, 2, 16}, false, {true});
  test_sizes("7x7 many", {9, 80, 7, 7, 2, 16}, true, {false, 2});  // several images a block
  test_sizes("7x7 odd", {17, 37, 7, 7, 2, 16}, false);
  test_sizes("4x5", {4, 11, 4, 5, 3, 8}, true);
  test_sizes("1x3", {3, 20, 1, 3, 1, 8}, true);
  test_sizes("one channel", {5, 1, 7, 7, 2, 16}, true);
  test_sizes("1x1", {4, 3, 1, 1, 2, 5}, true);
  test_sizes("wide", {3, 2, 3, 300, 2, 18}, false);
  test_special("7x7", {5, 24, 7, 7, 2, 16});
  test_special("3x4", {5, 6, 3, 4, 3, 8});
  for (const Type type : {Type::float32, Type::bfloat16, Type::float16})
    for (const bool channels_last : {false, true}) {
      Case config;
      config.sizes = {5, channels_last ? 264 : 267, 7, 7, 2, 16};
      config.type = type;
      config.channels_last = channels_last;
      test_devices(std::string("devices ") + name_of(type), config);
    }
  Case large;
  large.sizes = {3, 512, 7, 7, 2, 16};
  test("512x7x7", large);
  large.channels_last = true;
  large.type = Type::bfloat16;
  test("512x7x7 bfloat16 channels_last", large);
  large.sizes.images = 70;  // several images a slot
  large.sizes.channels = 24;
  test("70 images", large);
  large.misaligned = large.aligned_gradient = true;
  test("70 images, only the features misaligned", large);
  for (int type = 0; type < 4; ++type)
    for (const auto& [what, error] : worst[type])
      if (std::getenv("ABAWKIT_VERBOSE")) std::printf("%-9s %-30s %.2g\n", name_of(Type(type)), what.c_str(), error);
  std::printf("%d cases, %d comparisons of orders, %d failures\n", cases, comparisons, failures);
  return failures != 0;
}
