// Copies that are done as late as they may be show what copies that are done at once hide: a wait that is missing, or
// that waits for too few groups, and a buffer that is read while it is being filled.
#define ABAWKIT_LATE_COPIES
#include "cuda/copies.h"

#include <cstdio>
#include <vector>

#include "host_launcher.h"

using namespace abawkit::cuda;

namespace {

constexpr int threads = 8, rounds = 3;

// Adds up what lies in memory, a round's 16 bytes of each thread at a time, one round ahead in the other buffer.
template <int waits_for, bool one_buffer>
struct AddAhead {
  static constexpr int before = 1, during = 2, after = 0, last = 0, most_threads = threads, least_blocks = 1;
  struct Arguments {
    const float* from;
    float* sums;
  };
  struct Thread {
    float sum;
  };
  static std::int64_t rounds(const Arguments&, const Where&) { return ::rounds; }
  static float* buffer(const Where& at, std::int64_t round) {
    return reinterpret_cast<float*>(at.shared) + (one_buffer ? 0 : round % 2 * threads * 4) + at.thread * 4;
  }
  static void copy(const Arguments& a, const Where& at, std::int64_t round) {
    if (round < ::rounds) start_copy(a.from + (round * threads + at.thread) * 4, buffer(at, round));
    close_copies();
  }
  static void phase(Phase<0>, const Arguments& a, const Where& at, Thread& thread) {
    thread.sum = 0;
    copy(a, at, 0);
  }
  static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    copy(a, at, at.round + 1);
    if constexpr (waits_for >= 0) wait_copies<waits_for>();
  }
  static void phase(Phase<2>, const Arguments& a, const Where& at, Thread& thread) {
    for (int i = 0; i < 4; ++i) thread.sum += buffer(at, at.round)[i];
    if (at.round == ::rounds - 1) a.sums[at.thread] = thread.sum;
  }
};

template <class Program>
std::vector<float> run(bool late) {
  std::vector<float> from(rounds * threads * 4), sums(threads);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i + 1);
  HostLauncher launcher;
  if (late) launcher.with_late_copies();
  launcher.launch<Program>(1, threads, 2 * threads * 16, {from.data(), sums.data()});
  return sums;
}

int failures = 0;

void check(const char* what, bool holds) {
  failures += !holds;
  if (!holds) std::printf("%s\n", what);
}

}  // namespace

int main() {
  using Right = AddAhead<1, false>;
  std::vector<float> expected(threads);
  for (int i = 0; i < rounds * threads * 4; ++i) expected[i / 4 % threads] += static_cast<float>(i + 1);
  check("copies at once: wrong sums", run<Right>(false) == expected);
  check("late copies: wrong sums", run<Right>(true) == expected);
  check("a missing wait was not found", run<AddAhead<-1, false>>(true) != expected);
  check("a wait for too few groups was not found", run<AddAhead<2, false>>(true) != expected);
  check("one buffer, filled while it is read: not found", run<AddAhead<1, true>>(false) != expected);
  std::printf("copies: %d failures\n", failures);
  return failures != 0;
}
