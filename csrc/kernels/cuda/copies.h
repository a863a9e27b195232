// Copies from global to shared memory that run beside what a thread computes. Source: PTX ISA, "cp.async". On the host
// a copy is done when it is started, which is one of the orders that a device may choose; tests that define
// ABAWKIT_LATE_COPIES may have it done as late as the program allows.
#pragma once

#include "numbers.h"

namespace abawkit::cuda {

#if defined(ABAWKIT_LATE_COPIES)
bool postpone_copy(const void* from, void* to);  // whether it is done later
void close_postponed();
void do_postponed(int groups);  // all but the latest groups
#endif

// 16 bytes, both ends aligned to as many.
template <class T>
ABAWKIT_DEVICE void start_copy(const T* from, T* to) {
#if defined(__CUDA_ARCH__)
  const unsigned shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(from) : "memory");
#else
#if defined(ABAWKIT_LATE_COPIES)
  if (postpone_copy(from, to)) return;
#endif
  *reinterpret_cast<Vector<T>*>(to) = load_vector(from);
#endif
}

// Ends a group of the copies that the thread has started since the last one; it may be empty.
ABAWKIT_DEVICE void close_copies() {
#if defined(__CUDA_ARCH__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#elif defined(ABAWKIT_LATE_COPIES)
  close_postponed();
#endif
}

// Waits for the thread's own copies, but for the latest `groups` groups. A barrier makes them seen by other threads.
template <int groups>
ABAWKIT_DEVICE void wait_copies() {
#if defined(__CUDA_ARCH__)
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
#elif defined(ABAWKIT_LATE_COPIES)
  do_postponed(groups);
#endif
}

}  // namespace abawkit::cuda
