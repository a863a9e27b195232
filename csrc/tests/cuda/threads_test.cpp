// The CUDA kernels on real threads under ThreadSanitizer, which makes the exit code 66 where two of them race.
//   cuda_threads_test            compares the bits with those of threads that run one after another
//   cuda_threads_test controls   leaves out each barrier that is needed: ThreadSanitizer must report it
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "barriers.h"
#include "host_launcher.h"
#include "thread_launcher.h"

using namespace abawkit;
using namespace abawkit::cuda;

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}

namespace {

std::atomic<bool> controlling{false}, reported{false};
thread_local bool ignoring = false;

// One report is enough: from it on, this thread's accesses are not looked at.
void ignore_accesses() {
  if (ignoring) return;
  ignoring = true;
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
void watch_accesses() {
  if (!ignoring) return;
  ignoring = false;
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
}

const bool long_tests = std::getenv("ABAWKIT_LONG_TESTS") != nullptr;

void run_alone(const HostProgram& program, std::int64_t blocks, int threads, int shared_bytes) {
  HostLauncher().run(program, blocks, threads, shared_bytes);
}
void run_on_threads(const HostProgram& program, std::int64_t blocks, int threads, int shared_bytes) {
  const auto barrier = [](int, const auto& pass) { pass(); };
  ThreadLauncher().run(program, blocks, threads, shared_bytes, barrier, [] {});
}

int test_case(const char* name, const oracle::Case& config, const Variant& variant) {
  const oracle::Inputs inputs = oracle::make_inputs(config);
  const oracle::Outputs expected = oracle::run(config, inputs, make_implementation(run_alone, variant));
  int failures = 0;
  for (const auto& [what, bytes] : oracle::run(config, inputs, make_implementation(run_on_threads, variant)))
    if (expected.at(what) != bytes) {
      ++failures;
      std::printf("%s: %s: other bits on threads\n", name, what.c_str());
    }
  return failures;
}

int test_cases() {
  struct Sized {
    const char* name;
    Sizes sizes;
    Type type;
    Variant variant;
  };
  std::vector<Sized> all = {{"7x7 float32", {3, 66, 7, 7, 2, 16}, Type::float32, {false, 4}},
                            {"7x7 bfloat16", {5, 8, 7, 7, 2, 16}, Type::bfloat16, {false, 1}},
                            {"4x5 float32", {3, 5, 4, 5, 3, 8}, Type::float32, {false, 4}},
                            {"7x7 float64", {3, 5, 7, 7, 2, 16}, Type::float64, {false, 4}}};
  if (long_tests) {
    all.push_back({"7x7 float32, 66 images", {66, 80, 7, 7, 2, 16}, Type::float32, {false, 4}});
    all.push_back({"7x7 float16", {9, 150, 7, 7, 2, 16}, Type::float16, {false, 1}});
    all.push_back({"3x2 float32, 66 images", {66, 70, 3, 2, 2, 18}, Type::float32, {false, 4}});
    all.push_back({"3x300 float32", {3, 2, 3, 300, 2, 18}, Type::float32, {false, 4}});
  }
  int failures = 0, cases = 0;
  for (const Sized& each : all)
    for (const bool channels_last : {false, true})
      for (const bool given : {false, true}) {
        // Else each layout with one kind of statistics, and but for the first sizes one layout.
        const bool usual = &each == &all.front() || channels_last == (each.type == Type::bfloat16);
        if (!long_tests && (given != channels_last || !usual)) continue;
        oracle::Case config;
        config.sizes = each.sizes;
        config.type = each.type;
        config.channels_last = channels_last;
        config.given = given;
        config.misaligned = given == channels_last;
        failures += test_case(each.name, config, each.variant);
        ++cases;
      }
  std::printf("%d cases, %d failures\n", cases, failures);
  return failures != 0;
}

// Whether a race is reported where the programs of one family run without the barrier behind a phase: their first
// blocks, one at a time. No other program runs, as what is in memory changes nothing about who touches it.
bool is_caught(const BarrierCase& each, const oracle::Inputs& inputs, const std::string& family, int left_out) {
  constexpr std::int64_t most_blocks = 6;
  reported = false;
  const auto run = [&](const HostProgram& program, std::int64_t blocks, int threads, int shared_bytes) {
    if (family_of(program.name) != family || reported) return;
    const auto barrier = [&](int phase, const auto& pass) {
      if (phase != left_out) pass();
      if (reported) ignore_accesses();
    };
    ThreadLauncher(1).run(program, smaller(blocks, most_blocks), threads, shared_bytes, barrier, watch_accesses);
  };
  oracle::run(each.config, inputs, make_implementation(run, each.variant));
  return reported;
}

int test_controls() {
  const int nowhere = open("/dev/null", O_WRONLY);
  dup2(nowhere, STDERR_FILENO);
  controlling = true;
  std::map<std::pair<std::string, int>, std::set<int>> barriers;  // to the cases that have them
  const std::vector<BarrierCase> cases = barrier_cases();
  std::vector<oracle::Inputs> inputs;
  for (const BarrierCase& each : cases) inputs.push_back(oracle::make_inputs(each.config));
  for (int i = 0; i < static_cast<int>(cases.size()); ++i)
    for (const auto& [program, phases] : programs_of(cases[i]))
      for (int phase = 0; phase < phases; ++phase) barriers[{family_of(program), phase}].insert(i);
  int failures = 0, controls = 0;
  for (const auto& [barrier, numbers] : barriers) {
    const auto& [family, phase] = barrier;
    const bool needed = is_needed(family, phase);
    if (!needed && !long_tests) continue;
    bool caught = false;
    for (const int number : numbers) caught = caught || is_caught(cases[number], inputs[number], family, phase);
    ++controls;
    if (caught == needed) continue;
    ++failures;
    std::printf("%s: the barrier behind phase %d was left out, and %s\n", family.c_str(), phase,
                caught ? "a race was reported, although barriers.h has it as not needed" : "no race was reported");
  }
  std::printf("%d controls, %d failures\n", controls, failures);
  return failures != 0;
}

}  // namespace

// ThreadSanitizer calls it for each report.
extern "C" __attribute__((visibility("default"))) void __tsan_on_report(void*) {
  if (!controlling) return;
  reported = true;
  ignore_accesses();
}

int main(int count, char** arguments) {
  const bool controls = count > 1 && std::string(arguments[1]) == "controls";
  if (controls && !std::getenv("TSAN_OPTIONS")) {
    // Reports are expected: none may be taken for an earlier one, and they make no exit code.
    setenv("TSAN_OPTIONS", "exitcode=0 symbolize=0 suppress_equal_stacks=0 suppress_equal_addresses=0", 1);
    execv("/proc/self/exe", arguments);
  }
  return controls ? test_controls() : test_cases();
}
