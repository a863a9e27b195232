// Faults that the recorder must find: of programs that each do one wrong thing, and of the kernels' own programs with
// each of their barriers left out.
#include <cstdio>
#include <cstdlib>
#include <set>

#include "barriers.h"
#include "faulty_programs.h"
#include "recorded_calls.h"

using namespace abawkit;
using namespace abawkit::cuda;

namespace {

int failures = 0, controls = 0;

// Two blocks of each program must show its kind of fault, and no other.
void test_faulty(const faulty::FaultyProgram& each) {
  constexpr std::int64_t count = 128;
  std::vector<float> input(count, 1.0f), output(count + 1, 2.0f);
  Recorder recorder;
  recorder.begin_call();
  recorder.add("input", input.data(), count * sizeof(float), Role::input);
  recorder.add("output", output.data(), count * sizeof(float), Role::result);
  const HostProgram program = each.erase({input.data(), output.data(), count});
  run_recorded(program, count / 64, 64, each.shared_bytes, &recorder);
  recorder.end_call();
  std::set<std::string> kinds;
  for (const auto& fault : recorder.faults()) kinds.insert(fault.kind);
  std::string found;
  for (const auto& kind : kinds) found += (found.empty() ? "" : ", ") + kind;
  ++controls;
  if (found == each.fault) return;
  ++failures;
  std::printf("%s: expected \"%s\", found \"%s\"\n", program.name.c_str(), each.fault, found.c_str());
  for (const auto& fault : recorder.faults()) std::printf("  %s\n", fault.text.c_str());
}

// Leaves out the barrier behind one phase of all programs at a time: each of them must show a race in one of the cases,
// but for those that are known not to need it.
void test_barriers() {
  std::map<std::pair<std::string, int>, bool> caught;
  for (const BarrierCase& each : barrier_cases()) {
    const oracle::Inputs inputs = oracle::make_inputs(each.config);
    const auto programs = programs_of(each);
    int most = 0;
    for (const auto& [program, phases] : programs) most = std::max(most, phases);
    for (int phase = 0; phase < most; ++phase) {
      Recorder recorder;
      recorder.leave_out_barrier(phase);
      oracle::run(each.config, inputs, record_calls(recorder, each.variant, phase + 1));
      std::set<std::string> racing;
      for (const auto& fault : recorder.faults())
        if (fault.kind == "race") racing.insert(fault.program);
      for (const auto& [program, phases] : programs)
        if (phase < phases) caught[{family_of(program), phase}] |= racing.count(program) > 0;
    }
  }
  for (const auto& [barrier, found] : caught) {
    ++controls;
    if (found == is_needed(barrier.first, barrier.second)) continue;
    ++failures;
    std::printf("%s: the barrier behind phase %d was left out, %s\n", barrier.first.c_str(), barrier.second,
                found ? "and a race was found, although barriers.h has it as not needed"
                      : "and no race was found: it is not needed, or the cases of barriers.h don't show why");
  }
}

}  // namespace

int main() {
  for (const auto& each : faulty::all_programs()) test_faulty(each);
  test_barriers();
  std::printf("%d controls, %d failures\n", controls, failures);
  return failures != 0;
}
