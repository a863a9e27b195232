// Which barriers of which programs keep threads apart. Tests leave out each barrier in turn: the fault must be found,
// unless it stands here that there is none.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "host_kernels.h"

namespace abawkit::cuda {

struct UnneededBarrier {
  const char* program;  // as its name begins
  int phase;            // the barrier behind it; `every` for all
  const char* reason;
};
inline constexpr int every = -1;

inline const std::vector<UnneededBarrier>& unneeded_barriers() {
  static const char* const alone = "one phase, no shared memory";
  static const char* const own = "no shared memory: a thread has its own channel and meets no other";
  static const char* const state = "the phase touches nothing but the thread's state and what no other thread touches";
  static const std::vector<UnneededBarrier> all = {
      {"Transpose<", every, alone},
      {"Unfold<", every, alone},
      {"Activate<", every, alone},
      {"ActivateBackward<", every, alone},
      {"SqueezeMoments<", every, alone},
      {"SqueezeNormBackward<", every, alone},
      {"SqueezeWeightBackward<", every, alone},
      {"Outer<", every, alone},
      {"Sums<Any", every, own},
      {"Attend<Any", every, own},
      {"AttendBackward<Any", every, own},
      {"FeaturesBackward<Any", every, own},
      {"AttendBackward<Fixed", 0, state},
      {"AttendBackward<Fixed", 4, state},
      {"FeaturesBackward<Fixed", 0, state},
      {"FeaturesBackward<Fixed", 5, state},
  };
  return all;
}

inline bool is_needed(const std::string& program, int phase) {
  for (const auto& each : unneeded_barriers())
    if (program.rfind(each.program, 0) == 0 && (each.phase == every || each.phase == phase)) return false;
  return true;
}

// A program's name without the type of its numbers, on which no barrier depends.
inline std::string family_of(std::string program) {
  for (const std::string type : {"BFloat16", "float", "double"})
    for (std::size_t at = program.find(type); at != std::string::npos; at = program.find(type))
      program.replace(at, type.size(), "T");
  return program;
}

// Cases whose launches have several blocks, and blocks several rounds.
struct BarrierCase {
  oracle::Case config;
  Variant variant;
};

inline std::vector<BarrierCase> barrier_cases() {
  std::vector<BarrierCase> cases;
  const auto add = [&](const Sizes& sizes, Type type, const Variant& variant) {
    for (const bool channels_last : {false, true}) {
      BarrierCase each{{}, variant};
      each.config.sizes = sizes;
      each.config.type = type;
      each.config.channels_last = channels_last;
      each.config.misaligned = each.config.aligned_gradient = true;  // read and written in different orders
      cases.push_back(each);
    }
  };
  add({3, 130, 7, 7, 2, 16}, Type::float32, {false, 1});    // several chunks of channels; two images in evaluation
  add({66, 3, 7, 7, 2, 16}, Type::bfloat16, {false, 100});  // several images after one another; one in evaluation
  add({1, 258, 7, 7, 2, 16}, Type::float32, {false, 100});  // several chunks of an image alone
  add({66, 2, 3, 2, 2, 18}, Type::float32, {true, 4});
  return cases;
}

// The programs that a case launches, and how many phases each has.
inline std::map<std::string, int> programs_of(const BarrierCase& each) {
  std::map<std::string, int> programs;
  const auto note = [&](const HostProgram& program, std::int64_t blocks, int, int) {
    if (blocks) programs[program.name] = static_cast<int>(program.phases.size());
  };
  oracle::run(each.config, oracle::make_inputs(each.config), make_implementation(note, each.variant));
  return programs;
}

}  // namespace abawkit::cuda
