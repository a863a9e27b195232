#include "faulty_programs.h"

#include <cstring>

namespace abawkit::cuda::faulty {

namespace {

struct Base {
  static constexpr int before = 2, during = 0, after = 0, last = 0, most_threads = 64, shared_bytes = 64 * 4;
  using Arguments = faulty::Arguments;
  struct Thread {
    float kept, other;
  };
  static std::int64_t rounds(const Arguments&, const Where&) { return 0; }
  static float* shared(const Where& at) { return reinterpret_cast<float*>(at.shared); }
  static std::int64_t index(const Where& at) { return at.block * 64 + at.thread; }
  static void phase(Phase<0>, const Arguments& a, const Where& at, Thread& thread) {
    thread.kept = a.input[index(at)];
    shared(at)[at.thread] = thread.kept;
  }
  static void phase(Phase<1>, const Arguments& a, const Where& at, Thread& thread) {
    a.output[index(at)] = thread.kept + shared(at)[63 - at.thread];
  }
};

struct Right : Base {};

// Reads in the phase in which another thread writes.
struct ReadsTooSoon : Base {
  using Base::phase;
  static void phase(Phase<0>, const Arguments& a, const Where& at, Thread& thread) {
    thread.kept = at.thread ? shared(at)[at.thread - 1] : 0.0f;
    shared(at)[at.thread] = a.input[index(at)];
  }
};

// All threads write the same value: right, and a race.
struct WritesTwice : Base {
  using Base::phase;
  static void phase(Phase<0>, const Arguments& a, const Where& at, Thread& thread) {
    Base::phase(Phase<0>(), a, at, thread);
    if (at.thread < 2) shared(at)[0] = a.input[at.block * 64];
  }
};

// Two blocks write to one entry.
struct BlocksMeet : Base {
  using Base::phase;
  static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    a.output[(index(at) + 32) % a.count / 64 * 64 + at.thread] = 1.0f;
    if (at.thread == 0) a.output[0] = 1.0f;
  }
};

// A block reads what another one writes.
struct BlocksRead : Base {
  using Base::phase;
  static void phase(Phase<1>, const Arguments& a, const Where& at, Thread& thread) {
    a.output[index(at)] = thread.kept;
    if (at.block) thread.kept = a.output[index(at) - 64];
  }
};

struct ReadsUnwrittenShared : Base {
  using Base::phase;
  static void phase(Phase<0>, const Arguments& a, const Where& at, Thread& thread) {
    thread.kept = a.input[index(at)];
    if (at.thread != 5) shared(at)[at.thread] = thread.kept;
  }
};

// Copies by the C library: no access that the compiler reports.
struct CopiesUnwrittenShared : Base {
  using Base::phase;
  static void phase(Phase<0>, const Arguments& a, const Where& at, Thread& thread) {
    float three[3];
    std::memcpy(three, shared(at) + at.thread / 4 * 3, sizeof three);
    thread.kept = three[0] == 0.0f ? 0.0f : a.input[index(at)];
    thread.other = three[1];
  }
  static void phase(Phase<1>, const Arguments& a, const Where& at, Thread& thread) {
    a.output[index(at)] = thread.kept;
  }
};

struct ReadsUnwrittenOutput : Base {
  using Base::phase;
  static void phase(Phase<1>, const Arguments& a, const Where& at, Thread& thread) {
    a.output[index(at)] += thread.kept;
  }
};

// What a thread keeps from an earlier block, or from nowhere.
struct ReadsUnwrittenState : Base {
  using Base::phase;
  static void phase(Phase<1>, const Arguments& a, const Where& at, Thread& thread) {
    a.output[index(at)] = thread.other;
  }
};

struct ReadsBeyondInput : Base {
  using Base::phase;
  static void phase(Phase<0>, const Arguments& a, const Where& at, Thread& thread) {
    Base::phase(Phase<0>(), a, at, thread);
    thread.kept = a.input[index(at) + 1];
  }
};

struct ReadsBeyondShared : Base {
  using Base::phase;
  static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    a.output[index(at)] = shared(at)[at.thread + 1];
  }
};

struct WritesBeyondOutput : Base {
  using Base::phase;
  static void phase(Phase<1>, const Arguments& a, const Where& at, Thread& thread) {
    a.output[index(at)] = thread.kept;
    if (index(at) == a.count - 1) a.output[a.count] = 0.0f;
  }
};

struct WritesToOtherState : Base {
  using Base::phase;
  static void phase(Phase<1>, const Arguments& a, const Where& at, Thread& thread) {
    a.output[index(at)] = thread.kept;
    if (at.thread == 1) (&thread)[1].kept = 0.0f;
  }
};

struct WritesToInput : Base {
  using Base::phase;
  static void phase(Phase<0>, const Arguments& a, const Where& at, Thread& thread) {
    Base::phase(Phase<0>(), a, at, thread);
    const_cast<float*>(a.input)[index(at)] = thread.kept;
  }
};

struct LeavesOutputOut : Base {
  using Base::phase;
  static void phase(Phase<1>, const Arguments& a, const Where& at, Thread& thread) {
    if (at.thread != 7) a.output[index(at)] = thread.kept;
  }
};

// In another phase, so that it is no race.
struct WritesOutputAgain : Base {
  using Base::phase;
  static void phase(Phase<0>, const Arguments& a, const Where& at, Thread& thread) {
    Base::phase(Phase<0>(), a, at, thread);
    if (at.thread == 0) a.output[index(at)] = thread.kept;
  }
};

template <class Program>
FaultyProgram make(const char* fault) {
  return {fault, &erase_program<Program>, Program::shared_bytes};
}

}  // namespace

std::vector<FaultyProgram> all_programs() {
  return {make<Right>(""),
          make<ReadsTooSoon>("race"),
          make<WritesTwice>("race"),
          make<BlocksMeet>("race, result"),
          make<BlocksRead>("race"),
          make<ReadsUnwrittenShared>("uninitialised"),
          make<CopiesUnwrittenShared>("uninitialised"),
          make<ReadsUnwrittenOutput>("uninitialised"),
          make<ReadsUnwrittenState>("uninitialised"),
          make<ReadsBeyondInput>("out of bounds"),
          make<ReadsBeyondShared>("out of bounds"),
          make<WritesBeyondOutput>("out of bounds"),
          make<WritesToOtherState>("out of bounds"),
          make<WritesToInput>("constant"),
          make<LeavesOutputOut>("result"),
          make<WritesOutputAgain>("result")};
}

}  // namespace abawkit::cuda::faulty
