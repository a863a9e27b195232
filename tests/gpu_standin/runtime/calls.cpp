// What was asked of the runtime: a count for each kind of call, and the operators of ours in their order. Python reads
// both through ctypes.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <sstream>

#include "standin.h"

namespace standin {

namespace {

std::mutex mutex;
std::map<std::string, long> counts;
std::ostringstream operators;
thread_local cudaError_t last_error = cudaSuccess;

// Copies what fits of a text, with its end; returns the size that all of it needs.
std::size_t copy_text(const std::string& text, char* to, std::size_t size) {
  if (size > 0) {
    const std::size_t length = text.size() < size - 1 ? text.size() : size - 1;
    std::memcpy(to, text.data(), length);
    to[length] = 0;
  }
  return text.size() + 1;
}

}  // namespace

void count(const std::string& call, long times) {
  const std::lock_guard lock(mutex);
  counts[call] += times;
}

cudaError_t fail(cudaError_t error) {
  last_error = error;
  return error;
}

void refuse(const char* function) {
  std::fprintf(stderr, "stand-in runtime: %s is called and not provided\n", function);
  std::abort();
}

int queue_operator(void* stream, const char* name, const std::vector<const void*>& memory, Work work) {
  const auto to = static_cast<cudaStream_t>(stream);
  const int device = device_of(to);
  for (const void* address : memory) {
    if (address == nullptr) continue;
    const Memory found = find_memory(address);
    if (found.place != Place::device || found.device != device) return fail(cudaErrorIllegalAddress);
  }
  {
    const std::lock_guard lock(mutex);
    operators << name << '\t' << stream << '\t' << device << '\n';
  }
  return queue(to, name, std::move(work));
}

const char* error_text(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

int driver_version() {
  int version = 0;
  cudaDriverGetVersion(&version);
  return version;
}

}  // namespace standin

extern "C" {

// Lines of a call and its count, divided by a tab.
std::size_t standin_counts(char* to, std::size_t size) {
  const std::lock_guard lock(standin::mutex);
  std::ostringstream text;
  for (const auto& [call, times] : standin::counts) text << call << '\t' << times << '\n';
  return standin::copy_text(text.str(), to, size);
}

// Lines of an operator's name, its stream and its device, divided by tabs.
std::size_t standin_operators(char* to, std::size_t size) {
  const std::lock_guard lock(standin::mutex);
  return standin::copy_text(standin::operators.str(), to, size);
}

void standin_clear() {
  const std::lock_guard lock(standin::mutex);
  standin::counts.clear();
  standin::operators.str("");
}

// Queues a function of Python's on a stream.
int standin_queue(void* stream, void (*function)()) {
  return standin::queue(static_cast<cudaStream_t>(stream), "host", function);
}

void standin_refuse(const char* function) { standin::refuse(function); }

void standin_count(const char* call) { standin::count(call); }

cudaError_t cudaGetLastError() {
  const cudaError_t error = standin::last_error;
  standin::last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() { return standin::last_error; }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorIllegalAddress:
      return "an illegal memory access was encountered";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNoKernelImageForDevice:
      return "no kernel image is available for execution on the device";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNotSupported:
      return "operation not supported";
    default:
      return "another error of the stand-in runtime";
  }
}

const char* cudaGetErrorName(cudaError_t error) { return cudaGetErrorString(error); }
}
