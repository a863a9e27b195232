// What the compiler calls for each access to memory in code compiled with -fsanitize=thread, in place of
// ThreadSanitizer's library. Copies by the C library, which it calls nothing for, come here through the linker's
// --wrap.
#include <cstddef>
#include <cstdint>

#include "recorder.h"

namespace {

// The recorder may itself use functions of the standard library that were compiled with the kernels.
inline void note(const void* at, std::size_t bytes, bool write, const void* where) {
  using abawkit::cuda::active_recorder;
  abawkit::cuda::Recorder* const recorder = active_recorder;
  if (!recorder || !bytes) return;
  active_recorder = nullptr;
  recorder->access(at, bytes, write, where);
  active_recorder = recorder;
}

}  // namespace

extern "C" {

#define ABAWKIT_CALLBACKS(bytes)                                                                       \
  void __tsan_read##bytes(void* at) { note(at, bytes, false, __builtin_return_address(0)); }           \
  void __tsan_write##bytes(void* at) { note(at, bytes, true, __builtin_return_address(0)); }           \
  void __tsan_unaligned_read##bytes(void* at) { note(at, bytes, false, __builtin_return_address(0)); } \
  void __tsan_unaligned_write##bytes(void* at) { note(at, bytes, true, __builtin_return_address(0)); }
ABAWKIT_CALLBACKS(1)
ABAWKIT_CALLBACKS(2)
ABAWKIT_CALLBACKS(4)
ABAWKIT_CALLBACKS(8)
ABAWKIT_CALLBACKS(16)
#undef ABAWKIT_CALLBACKS

void __tsan_read_range(void* at, std::size_t bytes) { note(at, bytes, false, __builtin_return_address(0)); }
void __tsan_write_range(void* at, std::size_t bytes) { note(at, bytes, true, __builtin_return_address(0)); }
void __tsan_vptr_update(void*, void*) {}
void __tsan_vptr_read(void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit(void) {}
void __tsan_init(void) {}

void* __real_memcpy(void* to, const void* from, std::size_t bytes);
void* __real_memmove(void* to, const void* from, std::size_t bytes);
void* __real_memset(void* to, int value, std::size_t bytes);

void* __wrap_memcpy(void* to, const void* from, std::size_t bytes) {
  note(from, bytes, false, __builtin_return_address(0));
  note(to, bytes, true, __builtin_return_address(0));
  return __real_memcpy(to, from, bytes);
}
void* __wrap_memmove(void* to, const void* from, std::size_t bytes) {
  note(from, bytes, false, __builtin_return_address(0));
  note(to, bytes, true, __builtin_return_address(0));
  return __real_memmove(to, from, bytes);
}
void* __wrap_memset(void* to, int value, std::size_t bytes) {
  note(to, bytes, true, __builtin_return_address(0));
  return __real_memset(to, value, bytes);
}

}  // extern "C"
