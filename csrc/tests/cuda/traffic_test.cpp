// What the programs for the published network's sizes move: passes over the features, sectors that are read or written
// in vain, conflicts in the banks of shared memory. No more than what stands here, and no less: a row that a faster
// program no longer needs is an error too. ABAWKIT_VERBOSE prints all counts.
#include "traffic.h"

#include <cstdio>
#include <cstdlib>

#include "barriers.h"
#include "recorded_calls.h"

using namespace abawkit;
using namespace abawkit::cuda;

namespace {

// How often each operator reads the features and writes their gradient, as a whole.
struct Passes {
  const char* call;
  double reads, writes;
};
constexpr Passes passes_over_features[] = {{"inference", 1, 0}, {"forward", 2, 0}, {"backward", 3, 1}};

// Sectors per sector's worth of data, or passes through the banks of shared memory per pass that the size of an access
// needs: 1 in all that does not stand here. Names as they begin; a program without the type of its numbers.
struct Waste {
  const char* program;
  int phase;  // -1 for all
  const char* memory;
  double most;
};
constexpr Waste waste[] = {
    // Weights and gradients of parameters are in the caller's order, (outer, C, inner).
    {"Transpose<", 0, "", 8},
    {"AddRows<", 1, "gradient of ", 8},
    {"AttendBackward<Fixed", 2, "grad_", 7},
    {"Outer<Fixed", 0, "workspace", 1.34},
    {"SqueezeWeightBackward<Fixed", 0, "workspace", 1.12},
    // 16 channels of bfloat16 fill one sector: a block of few channels takes half of one.
    {"PoolNorm<", 2, "embedding", 2},
    {"PoolNormBackward<", -1, "grad_embedding", 2},
    // Features stay bfloat16 in shared memory, two of them in a bank.
    {"Sums<Fixed", 1, "shared memory", 2},
    {"Attend<Fixed", 1, "shared memory", 2},
    {"AttendBackward<Fixed", 2, "shared memory", 1.1},
    {"FeaturesBackward<Fixed", 2, "shared memory", 2},
    {"Fused<Fixed", 1, "shared memory", 2},
    // Entry by entry what goes to memory as a vector.
    {"Attend<Fixed", 2, "shared memory", 7},
    {"Fused<Fixed", 6, "shared memory", 1.44},
    {"Fused<Fixed", 7, "shared memory", 1.64},
    {"Fused<Fixed", 8, "shared memory", 2},
    // Products of a warp: each thread of the host reads both matrices whole, so these are no figures of a device.
    {"ContractFixed<Fixed", 0, "", 8},
    {"Fused<Fixed", 2, "folded", 8},
    {"Fused<Fixed", 3, "shared memory", 3.25},
    {"Fused<Fixed", 6, "folded", 8},
};

int failures = 0;
double found[sizeof waste / sizeof waste[0]] = {};  // the most of each row

bool begins(const std::string& name, const char* start) { return name.rfind(start, 0) == 0; }

void check_waste(const std::string& name, const Traffic::Key& key, const Moved& moved) {
  const bool shared = moved.passes > 0;
  const double ratio =
      shared ? double(moved.passes) / double(moved.passes - moved.conflicts) : 32. * moved.sectors / moved.bytes;
  const std::string program = family_of(key.program);
  double most = 1;
  for (std::size_t i = 0; i < sizeof waste / sizeof waste[0]; ++i)
    if (begins(program, waste[i].program) && (key.phase == waste[i].phase || waste[i].phase < 0) &&
        begins(key.memory, waste[i].memory)) {
      most = waste[i].most;
      found[i] = std::max(found[i], ratio);
    }
  if (std::getenv("ABAWKIT_VERBOSE"))
    std::printf("%-34s %-32s phase %d %-32s %-5s %9ld bytes in %7ld accesses, %5.2f\n", name.c_str(), program.c_str(),
                key.phase, key.memory.c_str(), key.write ? "write" : "read", long(moved.bytes), long(moved.accesses),
                ratio);
  // A few accesses at the ends of an array may share a sector with nothing.
  if (ratio <= most + 0.01) return;
  ++failures;
  std::printf("%s: {\"%s\", %d, \"%s\", %.2f}: at most %.2f\n", name.c_str(), program.c_str(), key.phase,
              key.memory.c_str(), ratio, most);
}

void check_call(const std::string& name, const Passes& passes, const oracle::Case& config, const Traffic& traffic) {
  const double whole = double(config.sizes.images * config.sizes.channels * config.sizes.area() * size_of(config.type));
  double reads = 0, writes = 0;
  for (const auto& [key, moved] : traffic.moved()) {
    check_waste(name + " " + passes.call, key, moved);
    if (key.memory == "features") reads += moved.bytes / whole;
    if (key.memory == "grad_features") writes += moved.bytes / whole;
  }
  if (reads == passes.reads && writes == passes.writes) return;
  ++failures;
  std::printf("%s: {\"%s\", %g, %g}: expected %g and %g\n", name.c_str(), passes.call, reads, writes, passes.reads,
              passes.writes);
}

void test(const oracle::Case& config, const Variant& variant) {
  const std::string name = std::string(config.type == Type::float32 ? "float32" : "bfloat16") +
                           (config.channels_last ? " channels_last" : "");
  Traffic traffic;
  Recorder recorder(&traffic);
  const oracle::Implementation recorded = record_calls(recorder, variant);
  oracle::Implementation checked = recorded;
  const auto counted = [&](const auto& operation, const Passes& passes) {
    return [&](const auto& call) {
      traffic.forget();
      operation(call);
      check_call(name, passes, config, traffic);
    };
  };
  checked.inference = counted(recorded.inference, passes_over_features[0]);
  checked.forward = counted(recorded.forward, passes_over_features[1]);
  checked.backward = counted(recorded.backward, passes_over_features[2]);
  oracle::run(config, oracle::make_inputs(config), checked);
  for (const auto& fault : recorder.faults()) {
    ++failures;
    std::printf("%s: %s\n", name.c_str(), fault.text.c_str());
  }
}

// Counts of one warp, worked by hand.
void test_counts() {
  struct Example {
    const char* name;
    int bytes, first, stride;  // of a thread's access, the first thread's offset, and from thread to thread
    std::int64_t touched, sectors, passes, conflicts;
  };
  const Example examples[] = {
      {"neighbours", 4, 0, 4, 128, 4, 1, 0},
      {"neighbours, one entry off", 4, 4, 4, 128, 5, 1, 0},
      {"every second", 4, 0, 8, 128, 8, 2, 1},
      {"the same", 4, 8, 0, 4, 1, 1, 0},
      {"a bank each, rows apart", 4, 0, 132, 128, 32, 1, 0},
      {"one bank", 4, 0, 128, 128, 32, 32, 31},
      {"halves of words", 2, 0, 2, 64, 2, 1, 0},
      {"pairs", 8, 0, 8, 256, 8, 2, 0},
      {"vectors", 16, 0, 16, 512, 16, 4, 0},
      {"every second vector", 16, 0, 32, 512, 32, 8, 4},
      {"three pairs", 24, 0, 24, 768, 3 * 24, 6, 0},
  };
  const std::string memory = "memory";
  for (const Example& each : examples)
    for (const Role role : {Role::input, Role::shared}) {
      Traffic traffic;
      traffic.begin_phase("program", 0);
      for (int thread = 0; thread < 32; ++thread) {
        traffic.begin_thread(thread);
        traffic.access(memory, role, each.first + thread * each.stride, each.bytes, false, nullptr);
      }
      traffic.end_phase();
      Moved moved;
      for (const auto& [key, one] : traffic.moved()) moved += one;
      const bool right = moved.bytes == each.touched &&
                         (role == Role::shared ? moved.passes == each.passes && moved.conflicts == each.conflicts
                                               : moved.sectors == each.sectors);
      if (right) continue;
      ++failures;
      std::printf("%s: %ld bytes, %ld sectors, %ld passes, %ld conflicts\n", each.name, long(moved.bytes),
                  long(moved.sectors), long(moved.passes), long(moved.conflicts));
    }
}

// A loop's rounds are accesses of their own; threads that leave it early are missing from the last ones.
void test_rounds() {
  const std::string memory = "memory";
  Traffic traffic;
  traffic.begin_phase("program", 0);
  for (int thread = 0; thread < 64; ++thread) {
    traffic.begin_thread(thread);
    for (int round = 0; round < (thread % 32 < 8 ? 3 : 2); ++round)
      traffic.access(memory, Role::input, round * 4096 + thread * 4, 4, true, nullptr);
  }
  traffic.end_phase();
  const Moved moved = traffic.moved().begin()->second;
  if (moved.accesses == 2 * 3 && moved.bytes == 2 * (2 * 128 + 32) && moved.sectors == 2 * (2 * 4 + 1)) return;
  ++failures;
  std::printf("rounds: %ld accesses, %ld bytes, %ld sectors\n", long(moved.accesses), long(moved.bytes),
              long(moved.sectors));
}

}  // namespace

int main() {
  test_counts();
  test_rounds();
  for (const Type type : {Type::float32, Type::bfloat16})
    for (const bool channels_last : {false, true}) {
      oracle::Case config;
      config.sizes = {4, 128, 7, 7, 2, 16};
      config.type = type;
      config.channels_last = channels_last;
      test(config, {false, channels_last ? 1 : 4});  // four images a block in evaluation, or one
    }
  for (std::size_t i = 0; i < sizeof waste / sizeof waste[0]; ++i)
    if (found[i] < waste[i].most - 0.1) {
      ++failures;
      std::printf("{\"%s\", %d, \"%s\", %g}: now %.2f, so the row can be tightened, or goes\n", waste[i].program,
                  waste[i].phase, waste[i].memory, waste[i].most, found[i]);
    }
  std::printf("traffic: %d failures\n", failures);
  return failures != 0;
}
