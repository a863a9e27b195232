// Programs: kernels that run on a CUDA device and, thread by thread, on the host, where tests run them.
//
// A program has Arguments, a Thread (what a thread keeps from phase to phase) and phases
//   static void phase(Phase<i>, const Arguments&, const Where&, Thread&)
// with a barrier after each. The first `before` of them run once, the next `during` of them rounds(arguments, where)
// times (the same number in all threads of a block), the next `after` once, the `last` as often as those `during`.
//
// Two things that threads do together have a form for one thread at a time: products of a warp (mma.h), where a thread
// of the host reads all of both matrices, and copies that run beside the computation (copies.h), which on the host are
// done at once: a phase that starts copies writes to shared memory that nobody else touches until the phase that waits
// for them has ended.
#pragma once

#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#define ABAWKIT_DEVICE __host__ __device__ __forceinline__
#define ABAWKIT_UNROLL _Pragma("unroll")
#define ABAWKIT_UNROLL_4 _Pragma("unroll 4")
#define ABAWKIT_LOOP _Pragma("unroll 1")
#else
#define ABAWKIT_DEVICE inline
#define ABAWKIT_UNROLL
#define ABAWKIT_UNROLL_4
#define ABAWKIT_LOOP
#endif

namespace abawkit::cuda {

template <int i>
using Phase = std::integral_constant<int, i>;

struct Where {
  std::int64_t block;
  int thread;
  int threads;  // of the block
  std::int64_t round;
  unsigned char* shared;  // aligned to 16 bytes
};

// A program of one phase, whose threads don't meet.
struct Independent {
  static constexpr int before = 1, during = 0, after = 0, last = 0, most_threads = 256, least_blocks = 1;
  struct Thread {};
  template <class Arguments>
  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments&, const Where&) {
    return 0;
  }
  ABAWKIT_DEVICE static std::int64_t index(const Where& at) { return at.block * at.threads + at.thread; }
};

ABAWKIT_DEVICE constexpr std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The same number, of which the compiler knows nothing: keeps it from computing addresses in front of a loop, which
// costs more registers than it saves time.
ABAWKIT_DEVICE int opaque(int value) {
#if defined(__CUDA_ARCH__)
  asm volatile("" : "+r"(value));
#endif
  return value;
}

// Loads stay on their side of this, where having them all early would cost more registers than there are.
ABAWKIT_DEVICE void keep_order() {
#if defined(__CUDA_ARCH__)
  asm volatile("" ::: "memory");
#endif
}

ABAWKIT_DEVICE std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

}  // namespace abawkit::cuda
